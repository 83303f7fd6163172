package stdio

import (
	"fmt"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/sandbox"
)

// hungAfter is how many calls in a row that were given up, without a line from
// the child, make it suspect.
const hungAfter = 3

// silence is what is known of a child that reads and answers nothing.
type silence struct {
	calls int       // in a row that were given up
	since time.Time // when the first of them began
	heard uint64    // lines of the child when the last one was given up
	asked bool      // it is being asked whether it lives
}

// unanswered notes that a call was given up. A child that has said nothing while
// several were waiting is asked for a sign of life, and ended if it gives none.
// One that may be at work for an earlier call, whose time is not up, is left
// alone: many programs do one thing after the other.
func (c *conn) unanswered(k *call) {
	heard := c.heard.Load()
	if k.listen || heard != k.heard || time.Since(k.began) < c.program.host.opts.Probe {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.silence
	if s.heard != heard || s.calls == 0 {
		s.calls, s.since, s.heard = 0, k.began, heard
	}
	if s.calls++; k.began.Before(s.since) {
		s.since = k.began
	}
	if s.calls < hungAfter || s.asked {
		return
	}
	for _, other := range c.calls {
		if !other.listen && other.began.Before(s.since) {
			return
		}
	}
	calls := s.calls
	s.asked = c.program.host.spawn(func() { c.examine(heard, calls) })
}

// examine asks the child for a sign of life. Whatever it says is one.
func (c *conn) examine(heard uint64, calls int) {
	if f := c.facts.Load(); f != nil && f.era == mcp.Modern {
		c.tell(mcp.MethodDiscover, c.alone())
	} else {
		c.tell(mcp.MethodPing, nil)
	}
	if pause(c.ctx, c.program.host.opts.Probe) != nil {
		return
	}
	if c.heard.Load() == heard {
		c.program.host.opts.Log.Warn("a stdio server does not answer, so it was ended", "server", c.program.server.Slug, "calls", calls)
		c.stopFor(sandbox.Hung, fmt.Sprintf("it answered none of %d calls in a row, nor when it was asked for a sign of life", calls))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence = silence{}
}
