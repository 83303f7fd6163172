package stdio

import (
	"strings"
	"time"

	"headgate/internal/fault"
	"headgate/internal/sandbox"
)

// State is what a program does.
type State string

// The states.
const (
	Asleep   State = "asleep"
	Starting State = "starting"
	Running  State = "running"
	Resting  State = "resting" // after ends in a row
)

// Status is what may be shown of a program.
type Status struct {
	User     string // whose it is; "" when the organization shares it
	State    State
	Since    time.Time // of a running child
	Era      string    // "" as long as it was never started
	Revision string
	Report   *sandbox.Report // walls of the running child
	Calls    int             // under way
	Sessions int
	Memory   int64         // bytes its processes take, as of a moment ago
	Spent    time.Duration // processor time of the running child

	Starts   int
	StartP50 time.Duration // from the wish to the end of the handshake
	StartP95 time.Duration
	Spawn    time.Duration // of the last start: the walls and the exec alone
	Streak   int           // ends in a row that nobody asked for
	NextTry  time.Time     // while it rests
	LastExit *sandbox.Exit
	Failure  *fault.Error // why the last start failed
}

// Status shows the programs of a server, by its catalog key, in the version
// that is in force and in those that are ending.
func (h *Host) Status(server string) []Status {
	var list []Status
	for _, p := range h.all() {
		if p.key.server == server {
			list = append(list, p.status())
		}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if err := h.refused[server]; err != nil && len(list) == 0 {
		list = append(list, Status{State: Asleep, Failure: fault.Of(err)})
	}
	return list
}

func (p *program) status() Status {
	p.mu.Lock()
	c := p.conn
	s := Status{User: p.binding.User, State: Asleep, Sessions: len(p.sessions), Starts: p.starts, StartP50: percentile(p.took, 0.5),
		StartP95: percentile(p.took, 0.95), Spawn: p.spawned, Streak: p.streak, LastExit: p.lastExit, Failure: fault.Of(p.lastErr)}
	switch now := p.host.opts.Now(); {
	case c != nil:
		s.State, s.Since = Running, c.ready
	case p.starting != nil:
		s.State = Starting
	case now.Before(p.notBefore):
		s.State, s.NextTry = Resting, p.notBefore
	}
	p.mu.Unlock()
	if f := p.facts.Load(); f != nil {
		s.Era, s.Revision = f.era.String(), string(f.revision)
	}
	if c != nil {
		report := c.proc.Attest()
		s.Report = &report
		s.Memory, s.Spent = c.proc.Resident(), c.proc.Spent()
		c.mu.Lock()
		s.Calls = len(c.calls)
		c.mu.Unlock()
	}
	return s
}

func (p *program) lastUse() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Logs returns what the server's programs wrote to standard error last: those
// of the organization and of the user, not those of other users. Where a child
// has ended, its last lines are kept.
func (h *Host) Logs(server, user string) []sandbox.LogLine {
	var lines []sandbox.LogLine
	for _, p := range h.all() {
		if p.key.server != server || p.binding.User != "" && p.binding.User != user {
			continue
		}
		p.mu.Lock()
		c, kept := p.conn, p.lastLogs
		p.mu.Unlock()
		lines = append(lines, kept...)
		if c != nil {
			lines = append(lines, c.proc.Logs()...)
		}
	}
	return lines
}

// Stats counts what the host keeps.
type Stats struct {
	Programs, Running, Sessions int
	Memory                      int64 // bytes of all children together
	Off                         bool  // this host was found to give fewer walls than are required
}

// Stats returns how much the host keeps.
func (h *Host) Stats() (s Stats) {
	for _, p := range h.all() {
		s.Programs++
		p.mu.Lock()
		s.Sessions += len(p.sessions)
		if p.conn != nil {
			s.Running++
			s.Memory += p.conn.proc.Resident()
		}
		p.mu.Unlock()
	}
	if report, known := h.opts.Launcher.Known(); known && h.opts.Level != sandbox.None {
		s.Off = report.Check(h.opts.Level) != nil
	}
	return s
}

// Summary says in a line whether programs may be started on this host and which
// walls are missing. It tries nothing, and names no more of the host than that.
func (h *Host) Summary() string {
	report, known := h.opts.Launcher.Known()
	switch {
	case h.opts.Level == sandbox.None:
		return "stdio: on, without walls, as sandbox-level says"
	case !known:
		return "stdio: on once the walls are tried, with the first program"
	case report.Check(h.opts.Level) == nil:
		return "stdio: on, with the walls of level " + report.Level.String()
	}
	var missing []string
	for _, w := range report.Down() {
		missing = append(missing, w.Name)
	}
	return "stdio: off, without " + strings.Join(missing, ", ") + " (headgate sandbox check says why)"
}

// PIDs returns the process ids of the inits of a server's children.
func (h *Host) PIDs(server string) (pids []int) {
	for _, p := range h.all() {
		if c := p.running(); c != nil && p.key.server == server {
			pids = append(pids, c.proc.PID())
		}
	}
	return pids
}
