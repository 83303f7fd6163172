package sandbox

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// HelperArg is the argument that makes our own program a helper of this
// package: main hands what follows it to HelperMain before anything else.
const HelperArg = "sandbox-helper"

const retryAttest = time.Minute

// Config is what a Launcher needs.
type Config struct {
	// Executable is our own program. Attest runs it inside the walls.
	Executable string
	// Dial connects to a host a child may reach; it is the guard of the
	// network and must refuse special addresses. Nil refuses everything.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Log  *slog.Logger
	Now  func() time.Time
}

// Launcher starts processes and knows those that run.
type Launcher struct {
	config Config
	host   host

	attested sync.Mutex // held while attesting, so it happens once
	report   *Report
	reported time.Time

	mu      sync.Mutex
	running map[*Process]struct{}
	closed  bool
}

// NewLauncher looks at the host. It starts nothing.
func NewLauncher(c Config) (*Launcher, error) {
	path, err := filepath.EvalSymlinks(c.Executable)
	if err != nil {
		return nil, ErrSpec.Saying("The path of Headgate's own program cannot be resolved.").Because(err)
	}
	c.Executable = path
	return &Launcher{config: c, host: lookAtHost(), running: map[*Process]struct{}{}}, nil
}

// Start runs a child. It returns once the child's program was executed behind
// all its walls. Failures are ErrSpec, ErrLevel, ErrStart, ErrClosed.
func (l *Launcher) Start(ctx context.Context, spec Spec) (*Process, error) {
	spec, err := spec.checked()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if spec.Level != None {
		report, err := l.Attest(ctx)
		if err != nil {
			return nil, err
		}
		if err := report.Check(spec.Level); err != nil {
			return nil, err
		}
	}
	return l.start(ctx, spec)
}

// start runs a checked spec without asking for the level.
func (l *Launcher) start(ctx context.Context, spec Spec) (*Process, error) {
	if err := os.MkdirAll(spec.WorkDir, 0o700); err != nil {
		return nil, ErrStart.Saying("The work directory could not be made.").Because(err)
	}
	began := time.Now()
	start := l.startWalled
	if spec.Level == None {
		start = l.startPlain
	}
	p, err := start(ctx, spec)
	if err != nil {
		return nil, err
	}
	p.took = time.Since(began)
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.running[p] = struct{}{}
	}
	l.mu.Unlock()
	p.begin(l.ended)
	if closed {
		p.Stop(ctx)
		return nil, ErrClosed
	}
	return p, nil
}

// ended is called by a process that has nothing left.
func (l *Launcher) ended(p *Process) {
	l.mu.Lock()
	delete(l.running, p)
	l.mu.Unlock()
	if exit := p.Exit(); exit.Reason != Stopped {
		l.config.Log.Info("stdio server ended", "server", p.name, "exit", exit.String())
	}
}

// Attest tries the walls from inside with a child of our own and returns what
// it found. A good report stands for the life of the launcher, one of level
// None for a minute: the cause may have passed. An error means the attempt
// itself was cut short.
func (l *Launcher) Attest(ctx context.Context) (Report, error) {
	l.attested.Lock()
	defer l.attested.Unlock()
	if l.report != nil && (l.report.Level != None || l.config.Now().Sub(l.reported) < retryAttest) {
		return *l.report, nil
	}
	report, err := l.attest(ctx)
	if err != nil {
		return Report{}, err
	}
	l.report, l.reported = &report, l.config.Now()
	return report, nil
}

// Known returns what Attest found last, without trying or waiting for
// anything; false before the first time and while it is trying.
func (l *Launcher) Known() (Report, bool) {
	if !l.attested.TryLock() {
		return Report{}, false
	}
	defer l.attested.Unlock()
	if l.report == nil {
		return Report{}, false
	}
	return *l.report, true
}

// Running returns the processes that run.
func (l *Launcher) Running() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*Process, 0, len(l.running))
	for p := range l.running {
		list = append(list, p)
	}
	return list
}

// Close stops every process and refuses new ones. When it returns nothing is left.
func (l *Launcher) Close(ctx context.Context) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range l.Running() {
		all.Go(func() { p.Stop(ctx) })
	}
	all.Wait()
}
