//go:build linux && (amd64 || arm64)

package sandbox

// WithoutLandlock makes a launcher believe its kernel has no Landlock.
func (l *Launcher) WithoutLandlock() { l.host.landlock = 0 }

// WithoutSeccomp makes a launcher believe its kernel has no filters.
func (l *Launcher) WithoutSeccomp() { l.host.seccomp = false }

// UsableUIDs picks uids for children out of a uid map.
func UsableUIDs(uidMap string) (from, count uint64) {
	r := usableUIDs(uidMap)
	return r.from, r.count
}
