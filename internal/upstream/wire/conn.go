package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"headgate/internal/rawio"
)

// inlineMax is the largest message for which room is made to go out in one write;
// a larger one goes out in one writev.
const inlineMax = 64 << 10

var longAgo = time.Unix(1, 0)

// conn is a connection to an upstream: in use by one exchange, or idle.
type conn struct {
	pool      *Pool
	host      *host
	io        net.Conn // what messages go through: tcp, or secure
	tcp       net.Conn
	secure    *tls.Conn // nil on a plain connection
	raw       syscall.RawConn
	asker     asker // nil where none is known
	look      look
	index     int   // in pool.conns
	idleSince int64 // by the watch's clock

	mu       sync.Mutex // the watch and the exchange meet here
	ctx      context.Context
	deadline time.Time
	verdict  error // why the watch ended the exchange
}

// asker looks, writes and waits in one go; it is rawio's.
type asker interface {
	Ask(p []byte, more ...[]byte) (int, error)
}

// dial makes the connection for which the caller holds a place in h.
func (p *Pool) dial(ctx context.Context, r *Request, h *host) (*conn, error) {
	c := &conn{pool: p, host: h}
	if err := c.connect(ctx, r); err != nil {
		p.leave(h)
		return nil, ErrDial.Because(err)
	}
	p.mu.Lock()
	c.index = len(p.conns)
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	return c, nil
}

func (c *conn) connect(ctx context.Context, r *Request) error {
	ctx, cancel := withDeadline(ctx, r.Deadline)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	tcp, err := c.pool.dialer(ctx, "tcp", r.Target.addr)
	if err != nil {
		return err
	}
	tcp = rawio.TCP(tcp)
	c.tcp, c.io = tcp, tcp
	if sc, ok := tcp.(syscall.Conn); ok {
		if c.raw, err = sc.SyscallConn(); err != nil {
			tcp.Close()
			return err
		}
	}
	c.look.prepare()
	if !r.Target.secure {
		c.asker, _ = tcp.(asker)
	} else {
		config := c.pool.opts.TLS.Clone()
		config.ServerName = r.Target.host
		c.secure = tls.Client(tcp, config)
		c.io = c.secure
		if err := c.secure.HandshakeContext(ctx); err != nil {
			tcp.Close()
			return err
		}
	}
	return nil
}

// replace makes a fresh connection in the place of one that took nothing.
func (p *Pool) replace(ctx context.Context, r *Request, old *conn) (*conn, error) {
	old.mu.Lock()
	old.ctx = nil
	old.mu.Unlock()
	p.drop(old)
	return p.dial(ctx, r, old.host)
}

// begin puts the connection under watch for one exchange.
func (c *conn) begin(ctx context.Context, deadline time.Time) {
	c.mu.Lock()
	c.ctx, c.deadline = ctx, deadline
	c.mu.Unlock()
	c.pool.watch.nudgeAsleep()
}

// intact reports that the watch has not ended the exchange, and that the bytes
// written are known: TLS may have sent a part of a record it reports as nothing.
func (c *conn) intact() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict == nil && c.secure == nil
}

// ask writes a message to a connection that was idle. It returns rawio.ErrStale,
// with nothing written, when that has ended or has bytes to read, which would be
// the answer to nothing.
func (c *conn) ask(msg []byte, rest [][]byte) (int, error) {
	switch {
	case c.asker != nil:
		return c.asker.Ask(msg, rest...)
	case c.raw != nil && c.look.readable(c.raw):
		return 0, rawio.ErrStale
	}
	return c.write(msg, rest)
}

// write writes a message, if possible with one system call.
func (c *conn) write(msg []byte, rest [][]byte) (int, error) {
	if len(rest) == 0 {
		return c.io.Write(msg)
	}
	parts := append(net.Buffers{msg}, rest...)
	n, err := parts.WriteTo(c.io)
	return int(n), err
}

// Read implements source.
func (c *conn) Read(p []byte) (int, error) { return c.io.Read(p) }

// glance implements source.
func (c *conn) glance(p []byte) int {
	switch {
	case c.raw == nil:
		return 0
	case c.secure == nil:
		return c.look.read(c.raw, p)
	}
	until := longAgo // only what TLS holds already
	if c.look.readable(c.raw) {
		until = time.Now().Add(time.Millisecond) // a record has begun to come in; its rest is on the way
	}
	if !c.setReadDeadline(until) {
		return 0
	}
	n, _ := c.secure.Read(p)
	c.setReadDeadline(time.Time{})
	return n
}

// setReadDeadline does so unless the watch has set its own, which must stay.
func (c *conn) setReadDeadline(d time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict == nil && c.tcp.SetReadDeadline(d) == nil
}

// fault implements source.
func (c *conn) fault(err error) error {
	switch cause := c.cause(err); {
	case errors.Is(cause, context.DeadlineExceeded):
		return ErrTimeout.Because(cause)
	case cause == io.EOF:
		return ErrSent.Because(errEarlyEnd)
	default:
		return ErrSent.Because(cause)
	}
}

// cause returns why reading or writing failed: the watch's reason, else err.
func (c *conn) cause(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdict != nil {
		return c.verdict
	}
	return err
}

// finish implements source.
func (c *conn) finish(reuse bool) {
	c.mu.Lock()
	c.ctx = nil
	reuse = reuse && c.verdict == nil
	c.mu.Unlock()
	if reuse && c.clean() {
		c.pool.put(c)
	} else {
		c.pool.discard(c)
	}
}

// clean reports that TLS holds no bytes past the answer. On a plain connection
// such bytes are still in the kernel, where the next send sees them.
func (c *conn) clean() bool {
	if c.secure == nil {
		return true
	}
	var one [1]byte
	c.secure.SetReadDeadline(longAgo) // serves what is held, and never waits
	n, err := c.secure.Read(one[:])
	c.secure.SetReadDeadline(time.Time{})
	var timeout net.Error
	return n == 0 && errors.As(err, &timeout) && timeout.Timeout()
}

func withDeadline(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}
