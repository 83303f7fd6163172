//go:build linux && (amd64 || arm64)

package sandbox

// WithoutLandlock makes a launcher believe its kernel has no Landlock.
func (l *Launcher) WithoutLandlock() { l.host.Landlock = 0 }

// WithoutSeccomp makes a launcher believe its kernel has no filters.
func (l *Launcher) WithoutSeccomp() { l.host.Seccomp = false }
