package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/gateway"
	"headgate/internal/gateway/eras"
	"headgate/internal/gateway/notes"
	"headgate/internal/netguard"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/shelf"
)

// joined opens a store that is linked to the other replicas of a database.
func joined(t *testing.T, at string) *db.Store {
	t.Helper()
	s := testkit.Must(db.Open(t.Context(), at, db.Options{Connections: 6}))(t)
	s.Join()
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = s.Replicate(ctx, slog.New(slog.DiscardHandler)) })
	t.Cleanup(func() {
		cancel()
		run.Wait()
		testkit.Must0(t, s.Close())
	})
	eventually(t, "a link", s.Current)
	return s
}

// replica starts a Gateway of its own over a store: connections to servers,
// sessions and lists are not the house's. It returns its URL.
func (h *house) replica(store *db.Store) string {
	h.t.Helper()
	resolver := catalog.NewResolver(store, h.keys)
	hub := upstream.NewHub(upstream.Options{Binder: resolver, Shelf: shelf.New(store, h.now), Dial: netguard.New(netguard.Policy{Loopback: true}).DialContext, Version: "test", Log: slog.New(slog.DiscardHandler), Now: h.now, Resume: 10 * time.Millisecond})
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		hub.Close(ctx)
	})
	up := eras.New(hub, h.keys, h.now)
	calls := h.callsBy(store, up, true)
	g, url := h.open(func(o *gateway.Options) {
		o.Resolver, o.Hub, o.Upstream, o.Calls, o.Notes = resolver, hub, up, calls, notes.New(store, h.now)
	})
	store.OnChange(g.Changed)
	return url
}

// called makes a call and returns the level that a modern server sees on it.
func called(t *testing.T, s *legacy, server *script) string {
	t.Helper()
	answer := make(chan reply, 1)
	go func() { answer <- s.call("tools/call", `{"name":"x"}`) }()
	in := server.gets()
	var m struct {
		Params struct {
			Meta struct {
				Level string `json:"io.modelcontextprotocol/logLevel"`
			} `json:"_meta"`
		}
	}
	decode(t, in.body, &m)
	in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}`, 200)
	(<-answer).result(t)
	return m.Params.Meta.Level
}

// TestReplicas has one session used at two Gateways in turn: what is set at one
// is so at the other by the time the first has answered.
func TestReplicas(t *testing.T) {
	for name, stores := range map[string]func(t *testing.T) (one, two *db.Store){
		"over one store": func(t *testing.T) (*db.Store, *db.Store) { s := testkit.SQLite(t); return s, s },
		"over PostgreSQL, a store each": func(t *testing.T) (*db.Store, *db.Store) {
			url := testkit.PostgresURL(t)
			return joined(t, url), joined(t, url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := stores(t)
			h := newHouse(t, func(o *houseOptions) { o.store = first })
			one, two := h.replica(first), h.replica(second)
			at := func(url string) { h.url = url }
			old, young := newScript(t, false), newScript(t, true)
			got := old.agrees()
			h.serve("old", old.URL)
			h.serve("young", young.URL)
			count := func(line string) int {
				n := 0
				for _, l := range got.since(0) {
					if l == line {
						n++
					}
				}
				return n
			}
			updated := func(uri string) string {
				return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`
			}
			// hears has the server say that a resource has changed, until a client hears it.
			hears := func(e *events, uri, never string) {
				e.t.Helper()
				over := make(chan struct{})
				var saying sync.WaitGroup
				defer saying.Wait()
				defer close(over)
				saying.Go(func() {
					for {
						select {
						case <-over:
							return
						case <-time.After(10 * time.Millisecond):
							old.pushes(updated(uri), 1, false)
						}
					}
				})
				for {
					heard := string(e.want().Params)
					switch {
					case never != "" && strings.Contains(heard, never):
						e.t.Fatalf("heard %s", heard)
					case strings.Contains(heard, uri):
						return
					}
				}
			}
			begin := func(t *testing.T, path string) *legacy {
				at(one)
				s := h.initialize(path, "2025-11-25", `{}`)
				s.call("ping", `{}`).result(t)
				at(two)
				s.call("ping", `{}`).result(t)
				return s
			}

			t.Run("a call finds the level that was set at the other", func(t *testing.T) {
				s := begin(t, "/mcp/young")
				for i, level := range []string{"debug", "error", "info"} {
					at([]string{one, two}[i%2])
					s.call("logging/setLevel", `{"level":"`+level+`"}`).result(t)
					at([]string{two, one}[i%2])
					testkit.Equal(t, called(t, s, young), level)
				}
			})
			t.Run("servers that a session has to do with at the other are told the level", func(t *testing.T) {
				s := begin(t, "/mcp/old")
				for _, url := range []string{one, two} {
					at(url)
					s.call("tools/call", `{"name":"x"}`).result(t)
				}
				s.call("logging/setLevel", `{"level":"critical"}`).result(t)
				eventually(t, "both sessions at the server have the level", func() bool { return count("logging/setLevel critical") == 2 })
			})
			t.Run("the stream at one hears what was subscribed to at the other, until it is not any more", func(t *testing.T) {
				s := begin(t, "/mcp/old")
				at(one)
				e := s.listen()
				defer e.resp.Body.Close()
				at(two)
				s.call("resources/subscribe", `{"uri":"file:///a"}`).result(t)
				eventually(t, "both sessions at the server have subscribed", func() bool { return count("resources/subscribe file:///a") == 2 })
				hears(e, "file:///a", "")
				for _, uri := range []string{"file:///b", "file:///c"} {
					s.call("resources/subscribe", `{"uri":"`+uri+`"}`).result(t)
				}
				s.call("resources/unsubscribe", `{"uri":"file:///a"}`).result(t)
				eventually(t, "both have the other resources alone", func() bool {
					return count("resources/subscribe file:///c") >= 2 && count("resources/unsubscribe file:///a") >= 2
				})
				hears(e, "file:///b", "") // and nothing said before is still to come
				old.pushes(updated("file:///a"), 1, false)
				hears(e, "file:///c", "file:///a")
			})
			t.Run("a stream opened there later hears it too", func(t *testing.T) {
				s := begin(t, "/mcp/old")
				at(two)
				s.call("resources/subscribe", `{"uri":"file:///d"}`).result(t)
				at(one)
				e := s.listen()
				defer e.resp.Body.Close()
				eventually(t, "both sessions at the server have subscribed", func() bool { return count("resources/subscribe file:///d") == 2 })
				hears(e, "file:///d", "")
			})
			t.Run("what is set at both at once is the same at both in the end", func(t *testing.T) {
				s := begin(t, "/mcp/young")
				levels := []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
				var sent sync.WaitGroup
				for i, level := range levels {
					at([]string{one, two}[i%2])
					r := h.request(t.Context(), "POST", s.path, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"logging/setLevel","params":{"level":%q}}`, i, level), s.headers()...)
					sent.Go(func() { testkit.Equal(t, h.do(r).status, 200) })
				}
				sent.Wait()
				var ended []string
				for _, url := range []string{one, two} {
					at(url)
					ended = append(ended, called(t, s, young))
				}
				if ended[0] != ended[1] || !slices.Contains(levels, ended[0]) {
					t.Errorf("%q", ended)
				}
			})
		})
	}
}
