package lane

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config makes a Lane.
type Config struct {
	Handler http.Handler
	Paths   []string // "/mcp": it and everything below it

	HeadTimeout time.Duration // for a head; 10 s when 0
	ReadTimeout time.Duration // for head and body at most; a minute when 0
	IdleTimeout time.Duration // between requests; 2 minutes when 0

	// ConnContext is http.Server's: it may add to the context of a connection.
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// Context may add to the context of a request.
	Context func(ctx context.Context) context.Context

	Log *slog.Logger
}

// Lane is in front of one net/http server on one listener. Make it with New.
type Lane struct {
	cfg   Config
	ln    net.Listener
	cold  chan taken    // to net/http
	done  chan struct{} // closed when nothing is taken any more
	close sync.Once
	err   error // of closing ln

	mu    sync.Mutex
	conns map[*conn]struct{}
	gone  chan struct{} // closed when draining and the last connection has gone
	wake  chan struct{} // for a sweeper that has nothing to look at

	draining atomic.Bool
	now      atomic.Pointer[moment]
	outs     sync.Pool // of *buffer
	ins      sync.Pool // of *[firstBuffer]byte, that streams let go of
}

// taken is what net/http's Accept returns.
type taken struct {
	conn net.Conn
	err  error
}

// New begins to take connections from ln. A net/http server must serve Cold.
func New(ln net.Listener, cfg Config) *Lane {
	cfg.HeadTimeout = cmp.Or(cfg.HeadTimeout, 10*time.Second)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, time.Minute)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lane{cfg: cfg, ln: ln, cold: make(chan taken), done: make(chan struct{}), conns: map[*conn]struct{}{},
		gone: make(chan struct{}), wake: make(chan struct{}, 1), outs: sync.Pool{New: func() any { return new(buffer) }},
		ins: sync.Pool{New: func() any { return new([firstBuffer]byte) }}}
	go l.accept()
	go l.sweep()
	return l
}

// accept serves each new connection. Errors are net/http's to judge: it waits
// a little after those that pass, and then so do we.
func (l *Lane) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			select {
			case l.cold <- taken{err: err}:
				continue
			case <-l.done:
				return
			}
		}
		if c := l.add(c); c != nil {
			go c.serve()
		}
	}
}

// add takes in a connection, or closes it when it came too late.
func (l *Lane) add(nc net.Conn) *conn {
	c := newConn(l, nc)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining.Load() {
		_ = nc.Close()
		return nil
	}
	l.conns[c] = struct{}{}
	if len(l.conns) == 1 { // the sweeper slept
		l.note(c.since)
		l.nudge()
	}
	return c
}

func (l *Lane) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.emptied()
}

// emptied tells who waits for it that the last connection has gone; the caller
// holds the lock.
func (l *Lane) emptied() {
	if len(l.conns) > 0 || !l.draining.Load() {
		return
	}
	select {
	case <-l.gone:
	default:
		close(l.gone)
		l.nudge()
	}
}

// Cold is the listener of the connections that are not for the lane.
func (l *Lane) Cold() net.Listener { return coldListener{l} }

type coldListener struct{ l *Lane }

func (c coldListener) Accept() (net.Conn, error) {
	select {
	case t := <-c.l.cold:
		return t.conn, t.err
	case <-c.l.done:
		return nil, net.ErrClosed
	}
}

func (c coldListener) Addr() net.Addr { return c.l.ln.Addr() }

// Close stops taking connections, on the lane too: there is one listener.
func (c coldListener) Close() error { return c.l.stop() }

// stop closes the listener and every connection that does not serve a request.
// The others end with the answer they are giving.
func (l *Lane) stop() error {
	l.close.Do(func() {
		l.draining.Store(true)
		l.err = l.ln.Close()
		close(l.done)
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			c.endIdle()
		}
		l.emptied()
	})
	return l.err
}

// Shutdown stops and waits for requests in flight, as http.Server's does.
func (l *Lane) Shutdown(ctx context.Context) error {
	err := l.stop()
	select {
	case <-l.gone:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops and cuts off requests in flight. It does not wait for their
// handlers.
func (l *Lane) Close() error {
	err := l.stop()
	var ends []context.CancelFunc
	l.mu.Lock()
	for c := range l.conns {
		ends = append(ends, c.cut())
	}
	l.mu.Unlock()
	for _, end := range ends {
		end()
	}
	return err
}

func (l *Lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
