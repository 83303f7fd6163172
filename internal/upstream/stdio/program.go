package stdio

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
)

const (
	maxSessions = 2048
	sessionIdle = 2 * time.Hour
	keptStarts  = 64
)

// known is what is known of the era of a program.
type known uint8

const (
	unprobed known = iota
	legacy
	modern
)

// program is a server's program for one set of credentials: asleep, starting
// or running.
type program struct {
	host    *Host
	key     key
	server  *catalog.Server
	binding *catalog.Binding
	dir     string        // its work directory
	probed  atomic.Uint32 // known
	writing atomic.Bool   // what is remembered is about to be written
	facts   atomic.Pointer[facts]
	lists   lists

	mu        sync.Mutex
	conn      *conn
	starting  *starting
	retired   bool
	sessions  map[string]*session
	listens   map[*listen]struct{}
	busy      int // requests under way that keep it awake
	used      time.Time
	streak    int
	crashes   []time.Time
	notBefore time.Time
	tripped   bool

	starts   int
	took     []time.Duration // of the last starts, from the wish to the handshake
	spawned  time.Duration   // what the walls and the exec of the last one took
	lastLogs []sandbox.LogLine
	lastExit *sandbox.Exit
	lastErr  error
}

// starting is a start under way.
type starting struct {
	done chan struct{}
	conn *conn
	err  error
}

func newProgram(h *Host, k key, s *catalog.Server, b *catalog.Binding) *program {
	return &program{host: h, key: k, server: s, binding: b, sessions: map[string]*session{}, listens: map[*listen]struct{}{}, used: h.opts.Now()}
}

func (p *program) era() known { return known(p.probed.Load()) }

func (p *program) learn(e mcp.Era) {
	p.probed.Store(uint32(map[mcp.Era]known{mcp.Legacy: legacy, mcp.Modern: modern}[e]))
}

// running returns the child if there is one.
func (p *program) running() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// connect returns the child, starting it if need be. The start goes on when
// the caller leaves: others wait for it.
func (p *program) connect(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if c := p.conn; c != nil {
		p.mu.Unlock()
		return c, nil
	}
	s := p.starting
	if s == nil {
		rest := p.rest(p.host.opts.Now())
		if p.retired || rest > patience {
			retired := p.retired
			p.mu.Unlock()
			if retired {
				return nil, ErrClosed
			}
			return nil, ErrResting.After(rest)
		}
		s = &starting{done: make(chan struct{})}
		p.starting = s
		if !p.host.spawn(func() { p.start(s, rest) }) {
			p.starting, s.err = nil, ErrClosed
			close(s.done)
		}
	}
	p.mu.Unlock()
	select {
	case <-s.done:
		return s.conn, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// start starts the program for all who wait.
func (p *program) start(s *starting, rest time.Duration) {
	ctx, cancel := context.WithTimeout(p.host.ctx, p.host.opts.StartTime)
	defer cancel()
	err := pause(ctx, rest)
	began := p.host.opts.Now()
	if err == nil {
		s.conn, err = p.launch(ctx)
	}
	now := p.host.opts.Now()
	p.mu.Lock()
	p.starting = nil
	switch {
	case err != nil:
		s.err, p.lastErr = err, err
		p.failed(now, 0)
		p.host.opts.Log.Warn("a stdio server did not start", "server", p.server.Slug, "error", err)
	case p.retired:
		s.conn.stopping, s.err = true, ErrClosed
	default:
		p.started(s.conn, now.Sub(began))
	}
	p.mu.Unlock()
	switch {
	case s.err == nil:
		s.conn.restore()
	case s.conn != nil:
		s.conn.stop()
	}
	close(s.done)
}

// started notes a child that is ready. The lock is held.
func (p *program) started(c *conn, took time.Duration) {
	c.ready = p.host.opts.Now()
	p.conn, p.lastErr, p.used = c, nil, c.ready
	p.starts++
	p.took = append(p.took, took)
	if len(p.took) > keptStarts {
		p.took = p.took[1:]
	}
	p.spawned = c.proc.Took()
	f := c.facts.Load()
	p.facts.Store(f)
	p.learn(f.era)
	c.live = true
	if c.told { // it ended at this very moment
		p.conn = nil
		p.failed(c.ready, 0)
	}
}

// ended is told by a child's reader that nothing is left of it.
func (p *program) ended(c *conn) {
	p.keep(c.proc)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c {
		p.conn = nil
	}
	c.told = true
	if c.live && !c.stopping {
		now := p.host.opts.Now()
		p.failed(now, now.Sub(c.began))
	}
}

// keep remembers how a child ended and what it wrote last.
func (p *program) keep(proc *sandbox.Process) {
	exit, logs := proc.Exit(), proc.Logs()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastExit, p.lastLogs = &exit, logs
}

// sleep stops the child, unless a request is under way; when it returns nothing
// is left of it.
func (p *program) sleep(ctx context.Context, idle time.Duration) {
	p.mu.Lock()
	c := p.conn
	if c == nil || p.busy > 0 || p.host.opts.Now().Sub(p.used) < idle {
		p.mu.Unlock()
		return
	}
	p.conn, c.stopping = nil, true
	p.mu.Unlock()
	c.proc.Stop(ctx)
}

// retire ends the program for good: what is under way has a moment to end.
func (p *program) retire(ctx context.Context, grace time.Duration) {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		c, busy := p.conn, p.busy
		if busy == 0 && c != nil {
			c.stopping = true
		}
		p.mu.Unlock()
		if busy == 0 {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-deadline.C:
		case <-ctx.Done():
		}
		break
	}
	p.mu.Lock()
	c := p.conn
	if p.conn = nil; c != nil {
		c.stopping = true
	}
	p.mu.Unlock()
	if c != nil {
		c.proc.Stop(ctx)
	}
	p.closeAll()
}

// closeAll ends every stream.
func (p *program) closeAll() {
	p.mu.Lock()
	sessions, listens := p.sessions, p.listens
	p.sessions, p.listens = map[string]*session{}, map[*listen]struct{}{}
	p.mu.Unlock()
	for _, s := range sessions {
		s.close(nil)
	}
	for l := range listens {
		l.end()
	}
}

// enter and leave mark a request that keeps the child awake.
func (p *program) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
}

func (p *program) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.used = p.host.opts.Now()
}

// expire ends the sessions that were not used for long, and reports whether
// nobody has used the program since the moment.
func (p *program) expire(now time.Time, unusedFor time.Duration) (unused bool) {
	for _, s := range p.everybody() {
		if !s.streaming() && now.Unix()-s.used.Load() > int64(sessionIdle/time.Second) {
			p.part(s.id)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn == nil && p.starting == nil && p.busy == 0 && len(p.sessions) == 0 && len(p.listens) == 0 &&
		now.Sub(p.used) > unusedFor && !now.Before(p.notBefore)
}

func percentile(list []time.Duration, of float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(of*float64(len(sorted))), len(sorted)-1)]
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
