package lane

import (
	"context"
	"time"
)

// tick is how late a deadline or a hang-up may be noticed. Most requests are
// answered before a look at their connections meets them.
const tick = 250 * time.Millisecond

var longAgo = time.Unix(1, 0)

// sweep ends what is late, until the lane is closed and empty. One look at all
// connections four times a second costs far less than setting a deadline three
// times, and starting a reader that waits for a hang-up, for each request.
func (l *Lane) sweep() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var ends []context.CancelFunc
	for {
		var next <-chan time.Time // nothing to look at: sleep
		l.mu.Lock()
		if len(l.conns) > 0 {
			next = ticker.C
		}
		l.mu.Unlock()
		select {
		case <-l.gone:
			return
		case <-l.wake:
		case <-next:
			now := time.Now() // a tick that was waited for late tells when it was due
			l.note(now)
			ends = l.look(now, ends[:0])
			for _, end := range ends {
				end()
			}
			clear(ends)
		}
	}
}

// look judges every connection and adds what cancels the requests whose
// clients have gone.
func (l *Lane) look(now time.Time, ends []context.CancelFunc) []context.CancelFunc {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if end := c.judge(now); end != nil {
			ends = append(ends, end)
		}
	}
	return ends
}

// phase is what a connection is doing.
type phase uint8

const (
	heading phase = iota // waiting for the rest of a head, or for the first
	idle                 // between requests
	serving
	reading // serving, and waiting for the rest of a body
	closed
)

// judge ends what took too long. It returns what cancels the request if the
// client has hung up.
func (c *conn) judge(now time.Time) context.CancelFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch age := now.Sub(c.since); c.phase {
	case heading:
		if age > c.lane.cfg.HeadTimeout {
			c.shut()
		}
	case idle:
		if age > c.lane.cfg.IdleTimeout {
			c.shut()
		}
	case reading:
		if now.After(c.due) {
			_ = c.net.SetReadDeadline(longAgo) // the handler reads an error, and may still answer
		}
	case serving:
		if c.cancel != nil && c.look.hungUp(c.raw) {
			end := c.cancel
			c.cancel = nil
			return end
		}
	}
	return nil
}

// endIdle closes a connection that serves nothing.
func (c *conn) endIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == heading || c.phase == idle {
		c.shut()
	}
}

// cut closes a connection whatever it does, and returns what cancels its
// request.
func (c *conn) cut() context.CancelFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.cancel
	if end == nil {
		end = func() {}
	}
	c.shut()
	return end
}

// shut closes the connection under the goroutine that serves it, which then
// leaves; the caller holds the lock.
func (c *conn) shut() {
	if c.phase != closed {
		c.phase = closed
		_ = c.net.Close()
	}
}

// become notes what the connection does from now on; false when it has been
// closed.
func (c *conn) become(p phase, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == closed || p == idle && c.lane.draining.Load() {
		return false
	}
	c.phase, c.since = p, since
	return true
}

// wait and resume are around a read of a body that has to wait for the client.
func (c *conn) wait()   { c.swap(serving, reading) }
func (c *conn) resume() { c.swap(reading, serving) }

func (c *conn) swap(from, to phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == from {
		c.phase = to
	}
}
