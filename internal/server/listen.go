package server

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"headgate/internal/rawio"
)

const (
	// stall is how long a client may take in nothing of an answer.
	stall = time.Minute
	// chunk is what it must take in that time.
	chunk = 256 << 10
	// lingering is how many refused connections may wait for their close.
	lingering = 64
)

const busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Retry-After: 1\r\nConnection: close\r\nContent-Length: 32\r\n\r\nToo many connections; try again."

// capped is a listener that holds at most max connections and answers the next
// ones 503. Go's accept loop alone would run out of descriptors and then stall
// everybody.
type capped struct {
	net.Listener
	max     int64
	open    atomic.Int64
	linger  chan struct{}
	metrics metrics
	plain   bool // HTTP in the clear: the 503 can be read
}

func newCapped(ln net.Listener, max int, m metrics, plain bool) *capped {
	return &capped{Listener: ln, max: int64(max), linger: make(chan struct{}, lingering), metrics: m, plain: plain}
}

func (l *capped) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			l.metrics.connections.Inc()
			return &conn{Conn: rawio.TCP(c), owner: l}, nil
		}
		l.open.Add(-1)
		l.metrics.shed.Inc()
		l.refuse(c)
	}
}

// refuse says 503 and closes. An immediate close would reset the connection
// under a request still on its way, and the client would never see the answer,
// so a bounded number of them wait a moment for the client to close first.
func (l *capped) refuse(c net.Conn) {
	select {
	case l.linger <- struct{}{}:
	default:
		_ = c.Close()
		return
	}
	go func() {
		defer func() { _ = c.Close(); <-l.linger }()
		if !l.plain || c.SetDeadline(time.Now().Add(time.Second)) != nil {
			return
		}
		if _, err := c.Write([]byte(busy)); err != nil {
			return
		}
		if tcp, ok := c.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
			buf := make([]byte, 1024)
			for range 64 {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}
	}()
}

// conn is a counted connection whose writes must make progress. The server has
// no WriteTimeout, because streams last; this is what drops a client that has
// stopped reading. The deadline is renewed coarsely, so that it costs a small
// answer nothing but a look at the clock.
type conn struct {
	net.Conn
	owner   *capped
	closed  atomic.Bool
	renewed atomic.Int64 // nanoseconds since longAgo; 0 before the first time
}

func (c *conn) Write(p []byte) (int, error) {
	done := 0
	for {
		if err := c.renew(); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(p[done:min(len(p), done+chunk)])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// renew sets the write deadline when the one there is has grown old.
func (c *conn) renew() error {
	age := time.Since(longAgo)
	if age-time.Duration(c.renewed.Load()) <= stall/4 {
		return nil
	}
	c.renewed.Store(int64(age))
	return c.Conn.SetWriteDeadline(time.Now().Add(stall))
}

// longAgo is before all connections. What has passed since is half the price
// of the time.
var longAgo = time.Now().Add(-time.Hour)

// SetWriteDeadline sets a handler's own deadline. Taking it away brings back
// ours: net/http does so after every request.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.renewed.Store(0)
	} else {
		c.renewed.Store(int64(time.Since(longAgo)))
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// WriteBuffers writes parts of an answer with one system call, unless they are
// more than a client must take at once.
func (c *conn) WriteBuffers(parts *net.Buffers) (done int64, err error) {
	size := 0
	for _, p := range *parts {
		size += len(p)
	}
	if size <= chunk {
		if err := c.renew(); err != nil {
			return 0, err
		}
		if raw, ok := c.Conn.(interface {
			WriteBuffers(*net.Buffers) (int64, error)
		}); ok {
			return raw.WriteBuffers(parts)
		}
		return parts.WriteTo(c.Conn) // net's own way, or one Write for each
	}
	for _, p := range *parts {
		n, err := c.Write(p)
		if done += int64(n); err != nil {
			return done, err
		}
	}
	return done, nil
}

// SyscallConn lets the fast lane look for hang-ups.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.owner.open.Add(-1)
		c.owner.metrics.connections.Dec()
	}
	return c.Conn.Close()
}

// CloseWrite lets the server close gently after a refused body.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
