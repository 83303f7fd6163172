package wire

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	tick     = 20 * time.Millisecond // how late a deadline or a cancellation may be noticed
	restTick = 5 * time.Second       // while nothing is under way
	restless = 50                    // ticks without an exchange before resting
)

// watch ends exchanges whose deadline passed or whose context ended, and closes
// connections that were idle too long. One look at all connections every 20 ms
// costs far less than a timer for each exchange.
type watch struct {
	pool   *Pool
	clock  atomic.Int64 // the last tick, in Unix nanoseconds
	asleep atomic.Bool
	wake   chan struct{}
	conns  []*conn // scratch
}

func (w *watch) start(p *Pool) {
	w.pool = p
	w.wake = make(chan struct{}, 1)
	w.clock.Store(time.Now().UnixNano())
	go w.run()
}

func (w *watch) run() {
	rest := min(restTick, max(tick, w.pool.opts.IdleTimeout/4))
	timer := time.NewTimer(tick)
	defer timer.Stop()
	var expired int64
	for quiet := 0; ; {
		select {
		case <-timer.C:
		case <-w.wake:
		}
		w.asleep.Store(false)
		now := time.Now()
		w.clock.Store(now.UnixNano())
		busy, done := w.look(now)
		if done {
			return
		}
		if now.UnixNano()-expired >= int64(rest) {
			expired = now.UnixNano()
			w.expire(expired - int64(w.pool.opts.IdleTimeout))
		}
		if quiet++; busy {
			quiet = 0
		}
		next := tick
		if quiet >= restless {
			// An exchange that begins now either is seen by this second look
			// or sees that the watch sleeps, and wakes it.
			w.asleep.Store(true)
			if busy, _ = w.look(now); busy {
				w.asleep.Store(false)
			} else {
				next = rest
			}
		}
		timer.Reset(next)
	}
}

// look judges every exchange. done means that the pool is closed and empty.
func (w *watch) look(now time.Time) (busy, done bool) {
	p := w.pool
	p.mu.Lock()
	w.conns = append(w.conns[:0], p.conns...)
	done = p.closed && len(p.hosts) == 0
	p.mu.Unlock()
	for _, c := range w.conns {
		busy = c.judge(now) || busy
	}
	clear(w.conns)
	return busy, done
}

// judge ends the exchange on c, if there is one and its time is up. The reader
// or writer blocked on it returns at once and closes the connection.
func (c *conn) judge(now time.Time) (busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		return false
	}
	if c.verdict == nil {
		c.verdict = c.ctx.Err()
		if c.verdict == nil && !c.deadline.IsZero() && !now.Before(c.deadline) {
			c.verdict = context.DeadlineExceeded
		}
		if c.verdict != nil {
			c.tcp.SetDeadline(longAgo)
		}
	}
	return true
}

// expire closes connections that have been idle since before the moment.
func (w *watch) expire(before int64) {
	p := w.pool
	var old []*conn
	p.mu.Lock()
	for _, h := range p.hosts {
		n := 0
		for n < len(h.idle) && h.idle[n].idleSince <= before {
			n++
		}
		old = append(old, h.idle[:n]...)
		clear(h.idle[copy(h.idle, h.idle[n:]):])
		h.idle = h.idle[:len(h.idle)-n]
	}
	p.idle -= len(old)
	p.mu.Unlock()
	for _, c := range old {
		p.discard(c)
	}
}

// nudgeAsleep wakes the watch if it rests.
func (w *watch) nudgeAsleep() {
	if w.asleep.Load() {
		w.nudge()
	}
}

func (w *watch) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
