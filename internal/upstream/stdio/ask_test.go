//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// legacySDK is the SDK's server in a legacy session, which may ask its client.
func legacySDK() *catalog.Server {
	s := server("sdk")
	s.Era = catalog.Legacy
	return s
}

// asked is a call of a client that can be asked, in a session of its own.
func asked(s *catalog.Server, affinity, tool, text string) *upstream.Request {
	r := request(s, mcp.LatestLegacy, "1", tool, fmt.Sprintf(`{"text":%q}`, text))
	r.Affinity, r.Client = affinity, client
	return r
}

// answering replies to what a server asks, in the session of r.
func (h *house) answering(r *upstream.Request, result string) *sink {
	return &sink{onAsk: func(message []byte) {
		var m struct{ ID json.RawMessage }
		testkit.Must0(h.t, json.Unmarshal(message, &m))
		go func() {
			if err := h.hub.Reply(context.Background(), r, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)); err != nil {
				h.t.Error(err)
			}
		}()
	}}
}

func TestQuestions(t *testing.T) {
	h := newHouse(t)
	s := legacySDK()
	for _, c := range []struct{ tool, result, want string }{
		{"elicit", `{"action":"accept","content":{"name":"Ada"}}`, "accept Ada"},
		{"sample", `{"role":"assistant","model":"m","content":{"type":"text","text":"forty-two"}}`, "forty-two"},
	} {
		t.Run(c.tool+": go to the caller with its call, and the answer back", func(t *testing.T) {
			r := asked(s, "one", c.tool, "what?")
			events := h.answering(r, c.result)
			a := testkit.Must(h.hub.Exchange(t.Context(), r, events))(t)
			defer a.Release()
			if got := textOf(t, a); got != c.want || len(events.all()) != 1 || !strings.Contains(events.all()[0], "what?") {
				t.Errorf("got %s, events %v", got, events.all())
			}
		})
	}
	t.Run("a client that cannot be asked is not", func(t *testing.T) {
		r := asked(s, "two", "elicit", "what?")
		r.Client = upstream.Client{}
		events := &sink{}
		a := testkit.Must(h.hub.Exchange(t.Context(), r, events))(t)
		defer a.Release()
		if !strings.Contains(string(a.Body), "does not support") || len(events.all()) != 0 {
			t.Errorf("got %s, events %v", a.Body, events.all())
		}
	})
	t.Run("nobody is asked what may be another's question", func(t *testing.T) {
		other := asked(s, "three", "forever", "")
		ctx, leave := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = h.hub.Exchange(ctx, other, &sink{onAsk: func(m []byte) { t.Errorf("asked: %s", m) }}) })
		h.logged(s, "waiting")
		events := &sink{onAsk: func(m []byte) { t.Errorf("asked: %s", m) }}
		a := testkit.Must(h.hub.Exchange(t.Context(), asked(s, "one", "elicit", "what?"), events))(t)
		if !strings.Contains(string(a.Body), "cannot be told whom to ask") {
			t.Errorf("got %s", a.Body)
		}
		a.Release()
		leave()
		wait.Wait()
		h.logged(s, "interrupted")
		r := asked(s, "one", "elicit", "what?")
		a = testkit.Must(h.hub.Exchange(t.Context(), r, h.answering(r, `{"action":"decline"}`)))(t)
		if got := textOf(t, a); !strings.HasPrefix(got, "decline") {
			t.Errorf("got %s", got)
		}
		a.Release()
	})
	t.Run("another session's answer is not taken", func(t *testing.T) {
		raw := server("legacy")
		r := asked(raw, "one", "ask", "")
		intruder := asked(raw, "two", "echo", "x")
		h.text(intruder)
		var id string
		events := &sink{onAsk: func(m []byte) {
			var q struct{ ID string }
			_ = json.Unmarshal(m, &q)
			id = q.ID
		}}
		a := testkit.Must(h.hub.Exchange(t.Context(), r, events))(t)
		a.Release()
		reply := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%q,"result":{"action":"accept"}}`, id)
		if err := h.hub.Reply(t.Context(), intruder, reply); err == nil {
			t.Error("taken")
		}
		testkit.Must0(t, h.hub.Reply(t.Context(), r, reply))
		h.logged(raw, fmt.Sprintf(`answer %q {"action":"accept"} `, id))
	})
	t.Run("a session that ends answers with an error", func(t *testing.T) {
		raw := server("legacy")
		r := asked(raw, "one", "ask", "")
		a := testkit.Must(h.hub.Exchange(t.Context(), r, &sink{}))(t)
		a.Release()
		h.hub.EndSession("one")
		eventually(t, "an error", func() bool { return strings.Contains(strings.Join(h.logs(raw), "\n"), "the client has gone") })
	})
}

// heard collects what a watcher is told.
type heard struct {
	mu   sync.Mutex
	list []string
}

func (l *heard) tell(message []byte, _ *mcp.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, string(message))
}

func (l *heard) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(strings.Join(l.list, "\n"), part)
}

func TestNotifications(t *testing.T) {
	h := newHouse(t)
	t.Run("a changed list makes the one in memory old, watched or not", func(t *testing.T) {
		for _, s := range []*catalog.Server{legacySDK(), server("sdk")} {
			revision := mcp.LatestLegacy
			if s.Era == catalog.Auto {
				revision = mcp.LatestModern
				stop := testkit.Must(h.hub.WatchLists(t.Context(), s, ann, func([]byte, *mcp.Envelope) {}))(t)
				defer stop()
			}
			before := testkit.Must(h.hub.List(t.Context(), s, ann, upstream.Tools))(t)
			h.text(request(s, revision, "1", "grow", `{"text":"new-tool"}`))
			eventually(t, "the new tool", func() bool {
				h.text(request(s, revision, "1", "echo", `{}`)) // a session that nobody watches learns of it with its next answer
				l := testkit.Must(h.hub.List(t.Context(), s, ann, upstream.Tools))(t)
				return len(l.Items) == len(before.Items)+1
			})
		}
	})
	t.Run("updates of a resource go to whoever watches it", func(t *testing.T) {
		s := server("legacy")
		var one, two heard
		for affinity, l := range map[string]*heard{"one": &one, "two": &two} {
			r := asked(s, affinity, "echo", "")
			stop := testkit.Must(h.hub.Watch(t.Context(), r, []string{"note://" + affinity}, l.tell))(t)
			defer stop()
		}
		h.logged(s, "resources/subscribe note://one")
		h.logged(s, "resources/subscribe note://two")
		eventually(t, "both hear", func() bool {
			h.text(asked(s, "three", "updated", "")) // none of theirs
			r := request(s, mcp.LatestLegacy, "1", "updated", `{"uri":"note://one"}`)
			h.text(r)
			return one.count("note://one") > 0
		})
		if two.count("note://one") > 0 {
			t.Error("told of another's resource")
		}
		h.hub.EndSession("one")
		h.logged(s, "resources/unsubscribe note://one")
	})
	t.Run("log lines go with a lone call, and each session sees its own level", func(t *testing.T) {
		s := server("legacy")
		quiet, chatty := asked(s, "quiet", "log", ""), asked(s, "chatty", "log", "")
		quiet.Client.Level, chatty.Client.Level = "error", "debug"
		for _, c := range []struct {
			r    *upstream.Request
			want int
		}{{quiet, 0}, {chatty, 1}} {
			c.r.Body = []byte(strings.Replace(string(c.r.Body), `{"text":""}`, `{"level":"info"}`, 1))
			var events sink
			a := testkit.Must(h.hub.Exchange(t.Context(), c.r, &events))(t)
			a.Release()
			if len(events.all()) != c.want {
				t.Errorf("%s: %v", c.r.Client.Level, events.all())
			}
		}
		h.logged(s, "level error")
		h.logged(s, "level debug")
		h.hub.EndSession("chatty")
		h.loggedTimes(s, "level error", 2)
	})
	t.Run("a client that asked for no level sees info and above", func(t *testing.T) {
		for s, want := range map[*catalog.Server]int{legacySDK(): 1, server("legacy"): 0} {
			r := asked(s, "one", "log", "a warning")
			if s.Era != catalog.Legacy {
				r.Body = []byte(strings.Replace(string(r.Body), `{"text":"a warning"}`, `{"level":"debug"}`, 1))
			}
			var events sink
			a := testkit.Must(h.hub.Exchange(t.Context(), r, &events))(t)
			a.Release()
			if len(events.all()) != want {
				t.Errorf("%s: %v", s.Slug, events.all())
			}
		}
	})
	t.Run("a modern caller gets the log lines it asked for", func(t *testing.T) {
		s := server("sdk")
		for _, c := range []struct{ level, text string }{{"warning", "heard"}, {"", "unheard"}} {
			r := request(s, mcp.LatestModern, "1", "log", fmt.Sprintf(`{"text":%q}`, c.text))
			if c.level != "" {
				r.Body = []byte(strings.Replace(string(r.Body), `"_meta":{`, `"_meta":{"`+mcp.MetaLogLevel+`":"warning",`, 1))
			}
			var events sink
			a := testkit.Must(h.hub.Exchange(t.Context(), r, &events))(t)
			a.Release()
			if got := strings.Contains(strings.Join(events.all(), ""), c.text); got != (c.level != "") {
				t.Errorf("%+v: %v", c, events.all())
			}
		}
	})
	t.Run("a caller that leaves stops the work", func(t *testing.T) {
		for _, s := range []*catalog.Server{legacySDK(), server("sdk")} {
			revision := mcp.LatestLegacy
			if s.Era == catalog.Auto {
				revision = mcp.LatestModern
			}
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = h.hub.Exchange(ctx, request(s, revision, "1", "forever", `{}`), nil)
			}()
			h.logged(s, "waiting")
			leave()
			<-done
			h.logged(s, "interrupted")
		}
	})
}
