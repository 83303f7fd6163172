//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream/stdio"
)

func TestDeadChildren(t *testing.T) {
	h := newHouse(t)
	t.Run("a call that a dead child did not get goes to the next", func(t *testing.T) {
		for range 20 {
			s := server("legacy")
			h.say(s, "echo", `{}`)
			init := h.host.PIDs(s.Key())[0]
			kill(init)
			eventually(t, "dead", func() bool { return syscall.Kill(init, 0) != nil })
			if got := h.say(s, "echo", `{"text":"x"}`); got != "x" { // perhaps before anybody has noticed
				t.Fatalf("got %s", got)
			}
		}
	})
	t.Run("a child that reads nothing is ended; what it had no whole message of goes to the next", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.Reading = 500 * time.Millisecond })
		s := server("legacy")
		h.say(s, "echo", `{}`)
		slept, sent := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "sleep", `{}`), nil)
			slept <- err
		}()
		h.logged(s, "sleeping")
		go func() {
			_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 1<<20))), nil)
			sent <- err
		}()
		eventually(t, "ended", func() bool { h.host.Sweep(); return h.status(s).LastExit != nil })
		testkit.Fault(t, <-slept, "upstream.failed")
		testkit.Must0(t, <-sent)
		if got := h.eventually(s, "echo", `{"text":"x"}`); got != "x" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a child that writes more than its pipe holds while it is written to goes on", func(t *testing.T) {
		marker := fmt.Sprint("marker-", time.Now().UnixNano())
		s := server("legacy " + marker)
		h.say(s, "echo", `{}`)
		child := tree(marker)
		signal := func(what syscall.Signal) {
			for _, pid := range child {
				testkit.Must0(t, syscall.Kill(pid, what))
			}
		}
		signal(syscall.SIGSTOP) // so that both are there when it reads the first
		got := make(chan string, 2)
		go func() { got <- h.say(s, "pings", `{}`) }()
		eventually(t, "begun", func() bool { return h.status(s).Calls == 1 })
		go func() { got <- h.say(s, "echo", fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 1<<20))) }()
		eventually(t, "begun", func() bool { return h.status(s).Calls == 2 })
		signal(syscall.SIGCONT)
		if a, b := <-got, <-got; len(a)+len(b) != len("pinged")+1<<20 {
			t.Errorf("%d and %d bytes", len(a), len(b))
		}
		if h.status(s).LastExit != nil {
			t.Errorf("ended: %v", h.status(s).LastExit)
		}
	})
	t.Run("a child that closes its input is replaced", func(t *testing.T) {
		s := server("legacy")
		h.say(s, "deaf", `{}`)
		if got := h.eventually(s, "echo", `{"text":"x"}`); got != "x" {
			t.Errorf("got %s", got)
		}
	})
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestCrashLoops(t *testing.T) {
	clock := &clock{now: time.Unix(1e9, 0)}
	h := newHouse(t, func(o *stdio.Options) { o.Now = clock.read })
	crash := func(s *catalog.Server) {
		_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "exit", `{}`), nil)
		if err == nil {
			t.Error("answered")
		}
		eventually(t, "ended", func() bool { return h.status(s).State != stdio.Running })
	}
	t.Run("the pause doubles with every end in a row, up to a minute", func(t *testing.T) {
		s := server("legacy")
		for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second} {
			crash(s)
			if st := h.status(s); st.Streak != i+1 || want > 0 && st.NextTry.Sub(clock.read()) != want {
				t.Errorf("after %d: %+v, now %v", i+1, st, clock.read())
			}
			clock.move(want)
		}
	})
	t.Run("five within a minute trip the breaker, one trial follows a minute later", func(t *testing.T) {
		s := server("legacy")
		for range 5 {
			crash(s)
			if st := h.status(s); st.Streak < 5 {
				clock.move(max(st.NextTry.Sub(clock.read()), 0))
			}
		}
		st := h.status(s)
		if st.State != stdio.Resting || st.NextTry.Sub(clock.read()) != time.Minute {
			t.Fatalf("%+v", st)
		}
		starts := st.Starts
		h.hub.EndSession("x")
		if _, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`), nil); err == nil || h.status(s).Starts != starts {
			t.Errorf("%v, %+v", err, h.status(s))
		}
		clock.move(time.Minute)
		if got := h.say(s, "echo", `{"text":"back"}`); got != "back" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a child that ran for long is no failure to start", func(t *testing.T) {
		s := server("legacy")
		for range 6 {
			h.say(s, "echo", `{}`)
			clock.move(2 * time.Minute)
			crash(s)
			if st := h.status(s); st.Streak != 1 {
				t.Errorf("%+v", st)
			}
		}
	})
	t.Run("one server's loop is not another's", func(t *testing.T) {
		if got := h.say(server("legacy"), "echo", `{"text":"x"}`); got != "x" {
			t.Errorf("got %s", got)
		}
	})
}
