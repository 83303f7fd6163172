package stdio

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/sandbox"
)

// Options are what a Host needs. Zero bounds mean the defaults.
type Options struct {
	Launcher *sandbox.Launcher
	Level    sandbox.Level // what must be up; with fewer walls nothing starts
	Resolver *catalog.Resolver
	// Spec describes the program of a server as a binding configures it. Beside
	// its work directory the host keeps what it remembers of it.
	Spec    func(ctx context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error)
	Version string // of this program, for clientInfo
	Log     *slog.Logger
	Now     func() time.Time

	Idle         time.Duration // 10 minutes: then an unused child is stopped
	Reading      time.Duration // 30 seconds: a child that reads nothing for as long is ended
	Probe        time.Duration // 5 seconds: for an answer to server/discover, and for a sign of life
	StartTime    time.Duration // 60 seconds: the queue, the walls and the handshake together
	Starts       int           // 4 at once
	Queue        int           // 256 that wait
	Programs     int           // 256 children at once
	PerWorkspace int           // 32 of them in one workspace
}

func (o *Options) fill() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		at *time.Duration
		or time.Duration
	}{{&o.Idle, 10 * time.Minute}, {&o.Reading, 30 * time.Second}, {&o.Probe, 5 * time.Second}, {&o.StartTime, time.Minute}} {
		if *d.at == 0 {
			*d.at = d.or
		}
	}
	for _, n := range []struct {
		at *int
		or int
	}{{&o.Starts, 4}, {&o.Queue, 256}, {&o.Programs, 256}, {&o.PerWorkspace, 32}} {
		if *n.at == 0 {
			*n.at = n.or
		}
	}
}

const (
	drainTime  = 5 * time.Second // for calls under way when a server was changed
	unusedTime = time.Hour       // then a program is forgotten
	maxRefused = 1024
)

// key names a program: another version, or other credentials, is another one.
type key struct {
	server   string
	version  int64
	identity string
}

// Host has every program of every stdio server.
type Host struct {
	opts   Options
	ctx    context.Context // ends when Close gives up waiting
	cancel context.CancelFunc
	starts chan struct{}
	waits  atomic.Int32
	doubts chan struct{} // of one: something in the store has changed

	mu       sync.RWMutex
	programs map[key]*program
	dirs     map[string]chan struct{} // work directories in use; closed when free
	doubtful map[*program]bool
	refused  map[string]error // by server: why its program could not even be described
	closed   bool
	tasks    sync.WaitGroup
}

// NewHost returns a host that runs nothing yet. Close it when done.
func NewHost(o Options) *Host {
	o.fill()
	h := &Host{opts: o, starts: make(chan struct{}, o.Starts), doubts: make(chan struct{}, 1),
		programs: map[key]*program{}, dirs: map[string]chan struct{}{}, doubtful: map[*program]bool{}, refused: map[string]error{}}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Run stops idle children and those of servers that were changed or removed,
// until the context ends.
func (h *Host) Run(ctx context.Context) error {
	tick := time.NewTicker(max(min(h.opts.Idle/4, 15*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			h.Sweep()
		case <-h.doubts:
			h.check(ctx)
		}
	}
}

// Close stops every child; when it returns nothing is left. A context that
// ends early makes it kill at once.
func (h *Host) Close(ctx context.Context) {
	h.mu.Lock()
	h.closed = true
	programs := h.programs
	h.programs = map[key]*program{}
	h.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range programs {
		all.Go(func() { p.retire(ctx, 0) })
	}
	all.Wait()
	h.cancel()
	h.tasks.Wait()
}

// spawn runs f beside the callers; false once the host has closed.
func (h *Host) spawn(f func()) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return false
	}
	h.tasks.Go(f)
	return true
}

// Ready returns nil when programs may be started on this host, else why not.
func (h *Host) Ready(ctx context.Context) error {
	_, err := h.level(ctx)
	return err
}

// Attest says which walls this host gives, and how many are required.
func (h *Host) Attest(ctx context.Context) (report sandbox.Report, required sandbox.Level, err error) {
	report, err = h.opts.Launcher.Attest(ctx)
	return report, h.opts.Level, err
}

// level is how children are run: the strongest that the host gives, never
// below what is required; none only when the operator asked for it.
func (h *Host) level(ctx context.Context) (sandbox.Level, error) {
	if h.opts.Level == sandbox.None {
		return sandbox.None, nil
	}
	report, err := h.opts.Launcher.Attest(ctx)
	if err == nil {
		err = report.Check(h.opts.Level)
	}
	return report.Level, err
}

// Open implements upstream.Channel. It fails where the program cannot be
// started at all: too few walls, not installed, not configured.
func (h *Host) Open(ctx context.Context, s *catalog.Server, b *catalog.Binding) (http.Handler, error) {
	spec, err := h.describe(ctx, s, b)
	if err != nil {
		return nil, err
	}
	return &handle{h, key{s.Key(), s.Version, b.Identity}, s, b, spec.WorkDir}, nil
}

// Wake implements upstream.Waker: it starts a server's program if it does not
// run.
func (h *Host) Wake(ctx context.Context, s *catalog.Server, b *catalog.Binding) error {
	spec, err := h.describe(ctx, s, b)
	if err != nil {
		return err
	}
	p := h.program(&handle{h, key{s.Key(), s.Version, b.Identity}, s, b, spec.WorkDir})
	if p == nil {
		return ErrClosed
	}
	p.enter()
	defer p.leave()
	_, err = p.connect(ctx)
	return err
}

// handle is what the hub keeps: it finds the program of the moment.
type handle struct {
	host    *Host
	key     key
	server  *catalog.Server
	binding *catalog.Binding
	dir     string
}

// ServeHTTP implements http.Handler.
func (d *handle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := d.host.current(r.Context(), d)
	if p == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.ServeHTTP(w, r)
}

// current is the program of a handle; nil for a version or for credentials that
// are no longer in force: whoever still listens to those must not start them.
func (h *Host) current(ctx context.Context, d *handle) *program {
	h.mu.RLock()
	p := h.programs[d.key]
	h.mu.RUnlock()
	if p == nil && (h.opts.Resolver == nil || h.holds(ctx, newProgram(h, d.key, d.server, d.binding))) {
		p = h.program(d)
	}
	return p
}

// program finds or makes a program; nil once the host has closed.
func (h *Host) program(d *handle) *program {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	p := h.programs[d.key]
	if p == nil {
		p = newProgram(h, d.key, d.server, d.binding)
		p.dir = d.dir
		p.recall()
		h.programs[d.key] = p
	}
	return p
}

// spec describes a program, with the walls it will be behind.
func (h *Host) spec(ctx context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
	level, err := h.level(ctx)
	if err != nil {
		return sandbox.Spec{}, err
	}
	spec, err := h.opts.Spec(ctx, s, b)
	spec.Level, spec.Name = level, s.Slug
	return spec, err
}

// describe is spec for a program that nobody has asked for yet. It remembers why
// that failed, for there is no program that could.
func (h *Host) describe(ctx context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
	spec, err := h.spec(ctx, s, b)
	if ctx.Err() != nil {
		return spec, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		delete(h.refused, s.Key())
	case len(h.refused) < maxRefused:
		h.refused[s.Key()] = err
	}
	return spec, err
}

// queue waits for a turn to start a program.
func (h *Host) queue(ctx context.Context) (leave func(), err error) {
	if int(h.waits.Add(1)) > h.opts.Queue+h.opts.Starts {
		h.waits.Add(-1)
		return nil, ErrBusy
	}
	select {
	case h.starts <- struct{}{}:
		return func() { <-h.starts; h.waits.Add(-1) }, nil
	case <-ctx.Done():
		h.waits.Add(-1)
		return nil, ErrBusy.Because(ctx.Err())
	}
}

// claim waits until a work directory is free: two programs never share one.
func (h *Host) claim(ctx context.Context, dir string) (free func(), err error) {
	for {
		h.mu.Lock()
		taken := h.dirs[dir]
		if taken == nil {
			mine := make(chan struct{})
			h.dirs[dir] = mine
			h.mu.Unlock()
			return func() {
				h.mu.Lock()
				delete(h.dirs, dir)
				h.mu.Unlock()
				close(mine)
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// all lists the programs.
func (h *Host) all() []*program {
	h.mu.RLock()
	defer h.mu.RUnlock()
	list := make([]*program, 0, len(h.programs))
	for _, p := range h.programs {
		list = append(list, p)
	}
	return list
}

// Sweep stops idle children and forgets programs that nobody uses. Run does it
// every now and then.
func (h *Host) Sweep() {
	now := h.opts.Now()
	for _, p := range h.all() {
		if c := p.running(); c != nil && c.stuck(h.opts.Reading) {
			h.opts.Log.Warn("a stdio server does not read its input, so it was ended", "server", p.server.Slug)
			h.spawn(func() { c.stopFor(sandbox.Deaf, "it did not read its input") })
		}
		h.spawn(func() { p.sleep(h.ctx, h.opts.Idle) })
		if p.expire(now, unusedTime) {
			h.mu.Lock()
			if h.programs[p.key] == p {
				delete(h.programs, p.key)
			}
			h.mu.Unlock()
		}
	}
}

// room makes sure that one more program may run, if need be by stopping the
// one that was not used for longest.
func (h *Host) room(ctx context.Context, s *catalog.Server) error {
	var here, all []*program
	for _, p := range h.all() {
		if p.running() == nil {
			continue
		}
		all = append(all, p)
		if p.server.Organization == s.Organization && p.server.Workspace == s.Workspace {
			here = append(here, p)
		}
	}
	for _, b := range []struct {
		list []*program
		most int
	}{{here, h.opts.PerWorkspace}, {all, h.opts.Programs}} {
		if len(b.list) < b.most {
			continue
		}
		slices.SortFunc(b.list, func(a, b *program) int { return a.lastUse().Compare(b.lastUse()) })
		if !slices.ContainsFunc(b.list, func(p *program) bool {
			p.sleep(ctx, 0)
			return p.running() == nil
		}) {
			return ErrBusy
		}
	}
	return nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }
