package sandbox

import (
	"fmt"
	"strings"
)

// Wall is one thing that stands between a child and everything else.
type Wall struct {
	Name   string `json:"name"`
	Up     bool   `json:"up"`
	Detail string `json:"detail"` // what was tried and what happened, or why it is down
}

// The names of walls, as reports show them.
const (
	WallStart       = "start"             // a child could be started behind walls at all
	WallUser        = "user-namespace"    // own user namespace, not uid 0 on the host
	WallProcesses   = "pid-namespace"     // sees and signals only its own processes; dies as a whole
	WallFiles       = "mount-namespace"   // sees the runtime read-only, /private and /tmp, nothing else
	WallNetwork     = "network-namespace" // no interface: no loopback, no metadata address, no abstract sockets
	WallIPC         = "ipc-namespace"
	WallUTS         = "uts-namespace"
	WallMemory      = "server-memory" // environment and memory of Headgate cannot be read
	WallPrivileges  = "privileges"    // no capability, no way to gain one
	WallLimits      = "limits"
	WallDescriptors = "descriptors" // 0, 1, 2 and no other
	WallLandlock    = "landlock"
	WallSeccomp     = "seccomp"
)

// Report says which walls are up.
type Report struct {
	Level Level  `json:"level"`
	Walls []Wall `json:"walls"`
}

// reportOf grades the walls.
func reportOf(walls []Wall) Report {
	r := Report{Level: Full, Walls: walls}
	for _, w := range walls {
		switch {
		case w.Up:
		case w.Name == WallLandlock || w.Name == WallSeccomp:
			r.Level = max(r.Level, Basic)
		default:
			r.Level = None
		}
	}
	if len(walls) == 0 {
		r.Level = None
	}
	return r
}

// Down returns the walls that are not up.
func (r Report) Down() []Wall {
	var down []Wall
	for _, w := range r.Walls {
		if !w.Up {
			down = append(down, w)
		}
	}
	return down
}

// Check returns nil when the report covers the required level, else ErrLevel
// with the walls that are missing.
func (r Report) Check(required Level) error {
	if r.Level.Covers(required) {
		return nil
	}
	var missing []string
	for _, w := range r.Down() {
		missing = append(missing, fmt.Sprintf("%s (%s)", w.Name, w.Detail))
	}
	return ErrLevel.Saying("Hosting of stdio servers is off: the level %s is required and this host gives %s. Missing: %s.",
		required, r.Level, strings.Join(missing, "; "))
}
