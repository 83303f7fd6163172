package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"headgate/internal/rawio"
)

// Options bounds a Pool. The zero value is good.
type Options struct {
	MaxConns    int           // per scheme and authority, in use and idle; 512 when 0. Further requests queue
	MaxIdle     int           // per scheme and authority; 64 when 0
	MaxIdleAll  int           // over all of them; 2048 when 0
	IdleTimeout time.Duration // 90 s when 0
	TLS         *tls.Config   // what to trust, for tests; certificates are always verified
}

const (
	maxWaiting     = 4096 // per target; more than that is refused at once
	connectTimeout = 10 * time.Second
)

var (
	errPoolClosed = errors.New("the pool is closed")
	errQueueFull  = errors.New("too many requests wait for a connection")
)

// Pool is a Client with its own HTTP/1.1 connections. Close it when done.
type Pool struct {
	dialer Dial
	opts   Options
	rc     recycler

	mu     sync.Mutex
	hosts  map[string]*host
	conns  []*conn // all of them, for the watch
	idle   int     // how many of them are idle
	closed bool

	watch watch
}

// host is the connections of one scheme and authority.
type host struct {
	key     string
	open    int          // connections, and dials under way; never above MaxConns
	idle    []*conn      // the one used last is at the end
	waiters []chan *conn // first come, first served; each takes one value: a connection, or nil for leave to dial
}

// NewPool returns a pool that connects with dial.
func NewPool(dial Dial, o Options) *Pool {
	o = o.filled()
	o.TLS.NextProtos = []string{"http/1.1"}
	p := &Pool{dialer: dial, opts: o, hosts: map[string]*host{}}
	p.watch.start(p)
	return p
}

func (o Options) filled() Options {
	o.MaxConns = cmp.Or(max(o.MaxConns, 0), 512)
	o.MaxIdle = cmp.Or(max(o.MaxIdle, 0), 64)
	o.MaxIdleAll = cmp.Or(max(o.MaxIdleAll, 0), 2048)
	o.IdleTimeout = cmp.Or(max(o.IdleTimeout, 0), 90*time.Second)
	o.TLS = tlsConfig(o.TLS)
	return o
}

func tlsConfig(given *tls.Config) *tls.Config {
	c := given.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.InsecureSkipVerify = false
	if c.ClientSessionCache == nil {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	}
	return c
}

// Do implements Client.
func (p *Pool) Do(ctx context.Context, r *Request) (*Response, error) {
	head, body, err := r.check()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, ErrDial.Because(err)
	}
	if !r.Deadline.IsZero() && time.Until(r.Deadline) <= 0 {
		return nil, ErrDial.Because(context.DeadlineExceeded)
	}
	if r.Target.inside != nil {
		return p.enter(ctx, r)
	}
	hint := &r.Target.hint
	size := head
	if head+body <= inlineMax {
		size += body
	}
	resp := p.rc.response(nil, max(size, classes[hint.Load()]))
	resp.hint = hint
	if err := p.exchange(ctx, r, resp, body); err != nil {
		resp.Release()
		return nil, err
	}
	return resp, nil
}

// exchange sends the request and reads the head of the answer, both in the
// response's buffer: a request is gone when its answer comes.
func (p *Pool) exchange(ctx context.Context, r *Request, resp *Response, body int) error {
	msg := r.appendHead(resp.buf.b[:0], body)
	rest := r.Body
	if len(msg)+body <= len(resp.buf.b) {
		for _, part := range rest {
			msg = append(msg, part...)
		}
		rest = nil
	}
	c, n, err := p.send(ctx, r, msg, rest)
	if c == nil {
		return err
	}
	resp.src = c
	if err != nil {
		return resp.early(c, n, err)
	}
	return resp.readHead()
}

// send writes a message on an idle connection that still lives, or on a fresh
// one. There is no connection when none was to be had.
func (p *Pool) send(ctx context.Context, r *Request, msg []byte, rest [][]byte) (c *conn, n int, err error) {
	for {
		var reused bool
		if c, reused, err = p.acquire(ctx, r); err != nil {
			return nil, 0, err
		}
		c.begin(ctx, r.Deadline)
		if !reused {
			n, err = c.write(msg, rest)
			return c, n, err
		}
		n, err = c.ask(msg, rest)
		if err == rawio.ErrStale {
			c.finish(false)
			continue
		}
		if err != nil && n == 0 && c.intact() {
			// Not a byte was taken, so the request may go out on another connection.
			if c, err = p.replace(ctx, r, c); err != nil {
				return nil, 0, err
			}
			c.begin(ctx, r.Deadline)
			n, err = c.write(msg, rest)
		}
		return c, n, err
	}
}

// early handles a request that could not be written whole. A server may refuse
// a large body before it has read it; then its answer counts.
func (r *Response) early(c *conn, sent int, err error) error {
	if sent == 0 && c.secure == nil {
		return r.fail(ErrDial.Because(c.cause(err)))
	}
	err = c.fault(err)
	r.spoiled = true
	if r.readHead() == nil && r.Status >= 400 {
		return nil
	}
	return err
}

// acquire returns a connection; reused says that it has been used before, and
// may have ended since.
func (p *Pool) acquire(ctx context.Context, r *Request) (c *conn, reused bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, ErrDial.Because(errPoolClosed)
	}
	h := p.hosts[r.Target.key]
	if h == nil {
		h = &host{key: r.Target.key}
		p.hosts[h.key] = h
	}
	switch n := len(h.idle); {
	case n > 0:
		c = h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		p.idle--
		p.mu.Unlock()
	case h.open < p.opts.MaxConns:
		h.open++
		p.mu.Unlock()
	default:
		if c, err = p.wait(ctx, r, h); err != nil { // unlocks
			return nil, false, err
		}
	}
	if c != nil {
		return c, true, nil
	}
	c, err = p.dial(ctx, r, h)
	return c, false, err
}

// wait queues for a connection or, with a nil result, for leave to dial. It is
// called with the lock and gives it up.
func (p *Pool) wait(ctx context.Context, r *Request, h *host) (*conn, error) {
	if len(h.waiters) >= maxWaiting {
		p.mu.Unlock()
		return nil, ErrDial.Because(errQueueFull)
	}
	w := make(chan *conn, 1)
	h.waiters = append(h.waiters, w)
	p.mu.Unlock()

	ctx, cancel := withDeadline(ctx, r.Deadline)
	defer cancel()
	select {
	case c := <-w:
		return c, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	for i, other := range h.waiters {
		if other == w {
			h.waiters = append(h.waiters[:i], h.waiters[i+1:]...)
			p.mu.Unlock()
			return nil, ErrDial.Because(ctx.Err())
		}
	}
	p.mu.Unlock()
	if c := <-w; c != nil { // it was served in the same moment: pass it on
		p.put(c)
	} else {
		p.leave(h)
	}
	return nil, ErrDial.Because(ctx.Err())
}

// put makes a connection idle, or gives it to whoever waits first.
func (p *Pool) put(c *conn) {
	h := c.host
	p.mu.Lock()
	switch {
	case p.closed:
	case len(h.waiters) > 0:
		h.serve(c)
		p.mu.Unlock()
		return
	case len(h.idle) < p.opts.MaxIdle && p.idle < p.opts.MaxIdleAll:
		c.idleSince = p.watch.clock.Load()
		h.idle = append(h.idle, c)
		p.idle++
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.discard(c)
}

// discard closes a connection that is not idle and frees its place.
func (p *Pool) discard(c *conn) {
	p.drop(c)
	p.leave(c.host)
}

// drop closes a connection and keeps its place.
func (p *Pool) drop(c *conn) {
	c.tcp.Close() // without a TLS farewell, which could block
	p.mu.Lock()
	last := len(p.conns) - 1
	p.conns[c.index] = p.conns[last]
	p.conns[c.index].index = c.index
	p.conns[last] = nil
	p.conns = p.conns[:last]
	p.mu.Unlock()
}

// leave gives the place of one connection to whoever waits first, or frees it.
func (p *Pool) leave(h *host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(h.waiters) > 0 {
		h.serve(nil)
		return
	}
	if h.open--; h.open == 0 && p.hosts[h.key] == h {
		delete(p.hosts, h.key)
	}
}

func (h *host) serve(c *conn) {
	w := h.waiters[0]
	h.waiters[0] = nil
	h.waiters = h.waiters[1:]
	w <- c
}

// Stats is how many connections a pool has.
type Stats struct{ Open, Idle, Waiting int }

// Stats counts over all targets.
func (p *Pool) Stats() (s Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		s.Open += h.open
		s.Idle += len(h.idle)
		s.Waiting += len(h.waiters)
	}
	return s
}

// Close closes idle connections, refuses new requests and ends the watch once
// the requests under way have ended. It does not wait for them.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	var idle []*conn
	for _, h := range p.hosts {
		idle = append(idle, h.idle...)
		h.idle = nil
	}
	p.idle = 0
	p.mu.Unlock()
	for _, c := range idle {
		p.discard(c)
	}
	p.watch.nudge()
}
