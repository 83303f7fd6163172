package sandbox

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"headgate/internal/sandbox/egress"
)

// Level says how many walls stand around a child. The zero value is the
// strongest, so that nothing is weak by being forgotten.
type Level uint8

// The levels, from strong to none.
const (
	// Full is every wall of Report.
	Full Level = iota
	// Basic is Full without Landlock or seccomp, for kernels that lack them.
	Basic
	// None is a plain child process: a developer's own machine, by explicit choice.
	None
)

var levelNames = [...]string{Full: "full", Basic: "basic", None: "none"}

// String returns the level's name in settings and reports.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "unknown"
}

// ParseLevel reads a level's name.
func ParseLevel(name string) (Level, error) {
	if i := slices.Index(levelNames[:], name); i >= 0 {
		return Level(i), nil
	}
	return Full, ErrSpec.Saying("A sandbox level is full, basic or none.")
}

// MarshalText and UnmarshalText use the names.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a name, see ParseLevel.
func (l *Level) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLevel(string(text))
	return err
}

// Covers reports whether l has all the walls that required has.
func (l Level) Covers(required Level) bool { return l <= required }

// Spec describes one child. It comes from the operator's catalog, never from a
// tenant. When Headgate runs as root the child has a uid of its own, so what it
// is to read must be readable by everyone; WorkDir is given to it.
type Spec struct {
	Name      string            // for logs only
	Argv      []string          // absolute program and its arguments; never a shell's words
	Env       map[string]string // all there is, besides HOME, PATH, TMPDIR and the proxy's variables
	WorkDir   string            // absolute; created, private to this child, seen inside as /private
	ReadOnly  []string          // absolute paths seen at the same place, read-only
	ReadWrite []string          // absolute paths seen at the same place
	Limits    Limits
	Network   Network
	Level     Level // what must be up, or Start refuses
}

// Network says what a child may reach. Empty is nothing.
type Network struct {
	// AllowHosts are names (api.example.com), names below a name
	// (*.example.com), each with an optional port; without, 80 and 443.
	AllowHosts []string
}

// Limits bound a child. A zero field takes its default.
type Limits struct {
	Data      int64         // bytes of data of one process (512 MiB)
	Memory    int64         // bytes of resident memory of all processes together (512 MiB)
	FileSize  int64         // bytes of one file (256 MiB)
	Disk      int64         // bytes below WorkDir (512 MiB)
	Temp      int64         // bytes below /tmp and /dev/shm together, in memory (64 MiB)
	Files     int64         // open files of one process (256)
	Processes int64         // processes and threads together (64)
	CPU       time.Duration // processor time of one process; 0 is without end
}

const mib = 1 << 20

func (l Limits) withDefaults() Limits {
	set := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.Data, 512*mib)
	set(&l.Memory, 512*mib)
	set(&l.FileSize, 256*mib)
	set(&l.Disk, 512*mib)
	set(&l.Temp, 64*mib)
	set(&l.Files, 256)
	set(&l.Processes, 64)
	return l
}

const (
	maxArgs  = 256
	maxPaths = 64
	maxBytes = 64 << 10 // arguments and environment together
)

// checked returns the spec with defaults, or why it cannot be hosted.
func (s Spec) checked() (Spec, error) {
	s.Limits = s.Limits.withDefaults()
	if len(s.Argv) == 0 || !cleanAbs(s.Argv[0]) {
		return s, ErrSpec.Saying("The program must be an absolute path.")
	}
	if len(s.Argv)+len(s.Env) > maxArgs || len(s.ReadOnly)+len(s.ReadWrite) > maxPaths {
		return s, ErrSpec.Saying("There are too many arguments, variables or paths.")
	}
	if !cleanAbs(s.WorkDir) {
		return s, ErrSpec.Saying("The work directory must be an absolute path.")
	}
	for _, path := range slices.Concat(s.ReadOnly, s.ReadWrite) {
		if !cleanAbs(path) {
			return s, ErrSpec.Saying("Paths shown to a server must be absolute, clean, and not the root.")
		}
	}
	size := 0
	for _, arg := range s.Argv {
		size += len(arg)
		if strings.ContainsRune(arg, 0) {
			return s, ErrSpec.Saying("An argument contains a NUL.")
		}
	}
	for name, value := range s.Env {
		size += len(name) + len(value)
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return s, ErrSpec.Saying("A variable has a bad name or contains a NUL.")
		}
	}
	if size > maxBytes {
		return s, ErrSpec.Saying("Arguments and environment are larger than 64 KiB.")
	}
	if min(s.Limits.Data, s.Limits.Memory, s.Limits.FileSize, s.Limits.Disk, s.Limits.Temp, s.Limits.Files, s.Limits.Processes, int64(s.Limits.CPU)) < 0 {
		return s, ErrSpec.Saying("A limit is negative.")
	}
	if _, err := egress.Parse(s.Network.AllowHosts); err != nil {
		return s, ErrSpec.Saying("%s", err)
	}
	if s.Level > None {
		return s, ErrSpec.Saying("A sandbox level is full, basic or none.")
	}
	return s, nil
}

func cleanAbs(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && filepath.Dir(path) != path && !strings.ContainsRune(path, 0)
}

// environ returns the child's whole environment, sorted.
func (s Spec) environ(extra map[string]string) []string {
	all := map[string]string{}
	for name, value := range extra {
		all[name] = value
	}
	for name, value := range s.Env {
		all[name] = value
	}
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
