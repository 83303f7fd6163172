//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/upstream/stdio"
)

func TestEras(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		mode string
		want mcp.Era
	}{{"legacy", mcp.Legacy}, {"modern", mcp.Modern}, {"sdk", mcp.Modern}, {"fragile", mcp.Legacy}, {"banner", mcp.Legacy}} {
		t.Run("found out by asking: "+c.mode, func(t *testing.T) {
			s := server(c.mode)
			for _, want := range []mcp.Era{mcp.Legacy, mcp.Modern} {
				f := testkit.Must(h.hub.Eras(t.Context(), s, ann, want))(t)
				if f.Era != c.want {
					t.Errorf("asked in %v: got %v", want, f.Era)
				}
			}
			r := request(s, map[mcp.Era]mcp.Revision{mcp.Legacy: mcp.LatestLegacy, mcp.Modern: mcp.LatestModern}[c.want], "1", "echo", `{"text":"hello"}`)
			if got := h.text(r); got != "hello" {
				t.Errorf("got %s", got)
			}
			if st := h.status(s); st.Era != c.want.String() || st.Starts != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
	t.Run("silence means the old handshake", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.Probe = 50 * time.Millisecond })
		if got := h.say(server("silent"), "echo", `{"text":"hello"}`); got != "hello" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a pin decides without a question", func(t *testing.T) {
		s := server("sdk")
		s.Era = "legacy"
		if got := h.say(s, "echo", `{"text":"hello"}`); got != "hello" || h.status(s).Era != "legacy" {
			t.Errorf("got %s, %+v", got, h.status(s))
		}
	})
}

// TestEverybodysOwn is the promise of the one channel: 200 callers, every id 1,
// every answer and every sign of progress its own caller's.
func TestEverybodysOwn(t *testing.T) {
	leakFree(t, func() {
		h := newHouse(t)
		defer h.host.Close(context.Background())
		defer h.hub.Close(context.Background())
		for _, c := range []struct {
			mode     string
			revision mcp.Revision
			tool     string
		}{{"legacy", mcp.LatestLegacy, "echo"}, {"legacy", mcp.LatestLegacy, "progress"}, {"modern", mcp.LatestModern, "echo"}, {"sdk", mcp.LatestModern, "slow"}} {
			t.Run(c.mode+" "+c.tool, func(t *testing.T) {
				s := server(c.mode)
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() {
						nonce := fmt.Sprintf("nonce-%d-%s", i, strings.Repeat("x", i*7))
						r := request(s, c.revision, "1", c.tool, fmt.Sprintf(`{"text":%q}`, nonce))
						r.Body = []byte(strings.Replace(string(r.Body), `"_meta":{`, `"_meta":{"progressToken":1,`, 1))
						if c.revision.Era() == mcp.Legacy {
							r.Body = []byte(strings.Replace(string(r.Body), `"params":{`, `"params":{"_meta":{"progressToken":1},`, 1))
						}
						if i%2 == 0 {
							r.Affinity = fmt.Sprint("client-", i%20)
						}
						var events sink
						a, err := h.hub.Exchange(t.Context(), r, &events)
						if err != nil {
							t.Error(err)
							return
						}
						defer a.Release()
						if got := textOf(t, a); got != nonce {
							t.Errorf("got %.60s, want %.60s", got, nonce)
						}
						for _, e := range events.all() {
							if !strings.Contains(e, nonce) || !strings.Contains(e, `"progressToken":1,`) {
								t.Errorf("another's event: %.200s", e)
							}
						}
						if c.tool != "echo" && len(events.all()) != 3 {
							t.Errorf("%d events", len(events.all()))
						}
					})
				}
				all.Wait()
				if st := h.status(s); st.Starts != 1 || st.Calls != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	})
}

func TestLateAnswers(t *testing.T) {
	h := newHouse(t)
	s := server("legacy")
	t.Run("reach nobody", func(t *testing.T) {
		for round := range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", "hold", `{}`), nil)
				done <- err
			}()
			h.loggedTimes(s, "held", round+1)
			cancel()
			if err := <-done; err == nil {
				t.Fatal("answered")
			}
			eventually(t, "the call is given up", func() bool { return h.status(s).Calls == 0 })
			for i := range 20 {
				tool, want := "echo", fmt.Sprint("n", i)
				if i == 0 {
					tool, want = "let-go", "own"
				}
				if got := h.say(s, tool, fmt.Sprintf(`{"text":"n%d"}`, i)); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		}
	})
	t.Run("and the child was told that nobody waits", func(t *testing.T) {
		eventually(t, "three notes", func() bool { return strings.Count(strings.Join(h.logs(s), "\n"), "cancelled") == 3 })
	})
}

func TestOddLines(t *testing.T) {
	h := newHouse(t)
	s := server("legacy")
	t.Run("white space around and inside a message is no matter", func(t *testing.T) {
		if got := h.say(s, "pretty", `{}`); got != "pretty" {
			t.Errorf("got %s", got)
		}
		r := request(s, mcp.LatestLegacy, "1", "echo", "{\n\"text\":\r\n\"hello\"\n}")
		if got := h.text(r); got != "hello" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("an answer that two parsers could read differently is a failed one", func(t *testing.T) {
		_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "junk", `{}`), nil)
		testkit.Fault(t, err, "upstream.failed")
	})
	t.Run("large answers come whole", func(t *testing.T) {
		if got := h.say(s, "big", `{}`); len(got) != 8<<20 {
			t.Errorf("got %d bytes", len(got))
		}
	})
}

func TestProgramsThatDoNotSpeak(t *testing.T) {
	h := newHouse(t, func(o *stdio.Options) { o.Probe, o.StartTime = 50*time.Millisecond, 500*time.Millisecond })
	for _, mode := range []string{"crash", "foreign"} {
		t.Run(mode+" is a failed server with a reason in its status", func(t *testing.T) {
			s := server(mode)
			_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
			if err == nil {
				t.Fatal("answered")
			}
			if st := h.status(s); st.Failure == nil || st.State == "running" {
				t.Errorf("%+v", st)
			}
		})
	}
	t.Run("what it wrote is kept", func(t *testing.T) {
		s := server("crash")
		_, _ = h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
		h.logged(s, "cannot start")
	})
}

// A server whose runtime is missing said "not asked yet", whatever was tried.
func TestRelay(t *testing.T) {
	t.Run("what has more than one answer is refused, and harms nobody", func(t *testing.T) {
		h := newHouse(t)
		s := server("modern")
		for _, method := range []string{mcp.MethodSubscriptionsListen, mcp.MethodInitialize} {
			r := request(s, mcp.LatestModern, "1", "echo", `{}`)
			r.Method, r.Body = method, bytes.Replace(r.Body, []byte("tools/call"), []byte(method), 1)
			a, err := h.hub.Exchange(t.Context(), r, nil)
			if err != nil || a.Status != 400 || a.Envelope.Kind != mcp.ErrorResponse {
				t.Errorf("%s: %v, %+v", method, err, a)
			}
			a.Release()
		}
	})
	t.Run("a program that does not start in its own time is a failed server, no late answer", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.StartTime = 200 * time.Millisecond })
		_, err := h.hub.Exchange(t.Context(), request(server("mum"), mcp.LatestLegacy, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.failed")
	})
	t.Run("a sink that takes no more ends the exchange, and the child is told", func(t *testing.T) {
		h := newHouse(t)
		s := server("legacy")
		h.say(s, "echo", `{}`)
		r := request(s, mcp.LatestLegacy, "1", "log", `{"level":"error"}`)
		full := errors.New("full")
		if _, err := h.hub.Exchange(t.Context(), r, refusing{full}); !errors.Is(err, full) {
			t.Errorf("%v", err)
		}
		if got := h.say(s, "echo", `{"text":"x"}`); got != "x" {
			t.Errorf("got %s", got)
		}
	})
}

// refusing is a sink that takes nothing.
type refusing struct{ why error }

func (r refusing) Event([]byte, *mcp.Envelope) error { return r.why }

func TestProgramThatCannotBeDescribed(t *testing.T) {
	missing := fault.New(fault.Unavailable, "test.missing", "There is no such runtime here.")
	var found atomic.Bool
	var h *house
	h = newHouse(t, func(o *stdio.Options) {
		o.Spec = func(ctx context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
			if !found.Load() {
				return sandbox.Spec{}, missing
			}
			return h.spec(ctx, s, b)
		}
	})
	s := server("legacy")
	if _, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "echo", `{"text":"a"}`), nil); err == nil {
		t.Fatal("it was called")
	}
	list := h.host.Status(s.Key())
	if len(list) != 1 || list[0].State != stdio.Asleep || list[0].Failure == nil || list[0].Failure.Code != "test.missing" {
		t.Fatalf("got %+v", list)
	}
	found.Store(true)
	h.eventually(s, "echo", `{"text":"a"}`)
	if list := h.host.Status(s.Key()); len(list) != 1 || list[0].State != stdio.Running || list[0].Failure != nil {
		t.Fatalf("got %+v", list)
	}
}
