package lane

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

const (
	firstBuffer = 8 << 10 // a head and a small body; what a connection keeps between requests
	fewest      = 4       // bytes after which net/http looks at a next request

	// leastRate is what a body must come in with, on average, after
	// Config.HeadTimeout.
	leastRate = 16 << 10 // bytes a second

	// lingering is how long a connection that is closed over an unread body
	// goes on reading, so that the answer is not lost in a reset.
	lingering = 500 * time.Millisecond
)

// conn is a connection that has sent nothing unusual yet. One goroutine serves
// it; the sweeper and Close meet that goroutine under mu.
type conn struct {
	lane *Lane
	net  net.Conn
	raw  syscall.RawConn
	look look
	ctx  context.Context

	buf        []byte // nil before the first byte and under a stream
	start, end int    // of what was read and not used yet
	head       head
	served     bool
	kept       kept
	header     http.Header // of answers
	vec        net.Buffers

	mu     sync.Mutex
	phase  phase
	since  time.Time
	due    time.Time          // of the body
	cancel context.CancelFunc // the request in flight; nil when that was done
}

func newConn(l *Lane, nc net.Conn) *conn {
	c := &conn{lane: l, net: nc, ctx: connContext{context.Background(), nc.LocalAddr()}, header: http.Header{}, since: time.Now()}
	if l.cfg.ConnContext != nil {
		c.ctx = l.cfg.ConnContext(c.ctx, nc)
	}
	if sc, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn() // without one, hang-ups go unnoticed
	}
	c.kept.init(nc.RemoteAddr().String())
	return c
}

// connContext is what net/http would tell handlers of a connection.
type connContext struct {
	context.Context
	local net.Addr
}

func (c connContext) Value(k any) any {
	if k == http.LocalAddrContextKey {
		return c.local
	}
	return c.Context.Value(k)
}

// serve answers requests until the connection is net/http's, or ends.
func (c *conn) serve() {
	defer c.leave()
	for {
		switch c.next() {
		case hot:
			if !c.answer() {
				return
			}
		case cold:
			c.handOver()
			return
		default:
			return
		}
	}
}

// leave closes the connection, unless it is net/http's by now.
func (c *conn) leave() {
	if c.net != nil {
		c.mu.Lock()
		c.shut()
		c.mu.Unlock()
		c.lane.remove(c)
	}
}

// handOver gives the connection to net/http, with all it has sent that was not
// answered.
func (c *conn) handOver() {
	if !c.become(serving, time.Now()) { // from here on nobody closes it but us
		return
	}
	cold := &replay{Conn: c.net, rest: bytes.Clone(c.buf[c.start:c.end])}
	c.lane.remove(c)
	c.net = nil
	select {
	case c.lane.cold <- taken{conn: cold}:
	case <-c.lane.done:
		_ = cold.Close()
	}
}

// next reads a head.
func (c *conn) next() verdict {
	c.head.reset()
	if c.served && !c.overlook() {
		return over
	}
	for waiting := !c.served; ; {
		if c.start < c.end {
			if v := c.read(); v != more {
				return v
			}
		}
		if !waiting { // the head's time begins with its first bytes
			waiting = true
			if !c.become(heading, time.Now()) {
				return over
			}
		}
		if !c.fill() {
			if c.start < c.end {
				return cold // what half a head means is net/http's to say
			}
			return over
		}
	}
}

// read judges what has come in of a head.
func (c *conn) read() verdict {
	b := c.buf[c.start:c.end]
	if c.head.end == 0 && c.kept.past.again(b, &c.head) {
		return hot
	}
	return c.head.read(b, c.lane.cfg.Paths)
}

// overlook waits for a next request and passes over line ends before it, as
// net/http does after a POST and after nothing else.
func (c *conn) overlook() bool {
	for c.end-c.start < fewest {
		if !c.fill() {
			return false
		}
	}
	if c.kept.request.Method != http.MethodPost {
		return true
	}
	for range fewest {
		if b := c.buf[c.start]; b != '\r' && b != '\n' {
			break
		}
		c.start++
	}
	return true
}

// fill reads more into the buffer, which has room for a head at most.
func (c *conn) fill() bool {
	switch {
	case c.start == c.end:
		c.start, c.end = 0, 0
		if c.buf == nil {
			c.buf = c.lane.ins.Get().(*[firstBuffer]byte)[:]
		}
	case c.end == len(c.buf) && c.start > 0:
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	case c.end == len(c.buf):
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, _ := c.net.Read(c.buf[c.end:]) // an error without bytes comes again
	c.end += n
	return n > 0
}

// answer serves the request whose head was read. It reports whether the
// connection may serve another.
func (c *conn) answer() bool {
	ctx, cancel := context.WithCancel(c.ctx)
	if !c.begin(cancel) {
		cancel()
		return false
	}
	t := &turn{}
	if c.lane.cfg.Context != nil {
		ctx = c.lane.cfg.Context(ctx)
	}
	r := c.request(ctx, t)
	c.start += c.head.end
	c.served = true
	whole := c.run(&t.response, r)
	cancel()
	if !whole {
		return false // the answer is cut off
	}
	clean := t.finish()
	if !clean || !c.become(idle, c.lane.now.Load().at) {
		if t.body.unread() {
			c.linger()
		}
		return false
	}
	c.spare()
	return true
}

// begin puts the request under watch.
func (c *conn) begin(cancel context.CancelFunc) bool {
	now := c.lane.now.Load().at
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == closed {
		return false
	}
	c.phase, c.since, c.cancel = serving, now, cancel
	c.due = now.Add(tick + min(c.lane.cfg.ReadTimeout, c.lane.cfg.HeadTimeout+time.Duration(c.head.length)*time.Second/leastRate))
	return true
}

// run calls the handler. A panic ends the connection, not the process.
func (c *conn) run(w http.ResponseWriter, r *http.Request) (ok bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a sentinel, never wrapped
			c.lane.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "handler panicked",
				slog.String("error", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
		}
	}()
	c.lane.cfg.Handler.ServeHTTP(w, r)
	return true
}

// fail cancels the request: its client does not take its answer.
func (c *conn) fail() {
	c.mu.Lock()
	end := c.cancel
	c.cancel = nil
	c.mu.Unlock()
	if end != nil {
		end()
	}
}

// linger closes our side and reads on for a moment.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(time.Now().Add(lingering)) != nil {
		return
	}
	for {
		if _, err := c.net.Read(c.buf); err != nil {
			return
		}
	}
}

// spare keeps no more of a large head than of a usual one.
func (c *conn) spare() {
	if c.head.end > firstBuffer {
		c.kept.forget()
	}
	if len(c.buf) <= firstBuffer || c.end-c.start > firstBuffer {
		return
	}
	rest := c.buf[c.start:c.end]
	c.buf = make([]byte, firstBuffer)
	c.start, c.end = 0, copy(c.buf, rest)
}

// replay is a connection whose first bytes have been read.
type replay struct {
	net.Conn
	rest []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

// CloseWrite lets net/http close gently after a refused body.
func (r *replay) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}
