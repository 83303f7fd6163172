package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/gateway"
	"headgate/internal/gateway/eras"
	"headgate/internal/gateway/notes"
	"headgate/internal/netguard"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// noting gives a Gateway notes in the house's store.
func (h *house) noting(o *gateway.Options) { o.Notes = notes.New(h.store, h.now) }

// restart starts a Gateway that has nothing in memory, its connections to
// servers included.
func (h *house) restart() {
	h.t.Helper()
	guard := netguard.New(netguard.Policy{Loopback: true})
	h.hub = upstream.NewHub(upstream.Options{Binder: h.resolver, Dial: guard.DialContext, Version: "test", Log: slog.New(slog.DiscardHandler), Now: h.now, Resume: 10 * time.Millisecond})
	hub := h.hub
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		hub.Close(ctx)
	})
	h.eras = eras.New(h.hub, h.keys, h.now)
	h.gateway, h.url = h.open(h.noting)
}

// heard is what a script has got and answered with nothing.
type heard struct {
	mu   sync.Mutex
	list []string
}

// agrees answers whatever the script gets, and notes method, level and URI.
func (s *script) agrees() *heard {
	h := &heard{}
	go func() {
		for {
			select {
			case in := <-s.got:
				var m struct {
					ID     json.RawMessage
					Params struct{ Level, URI string }
				}
				_ = json.Unmarshal([]byte(in.body), &m)
				h.mu.Lock()
				h.list = append(h.list, in.method+" "+m.Params.Level+m.Params.URI)
				h.mu.Unlock()
				if m.ID == nil {
					continue
				}
				select {
				case in.out <- outgoing{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID), 200}:
				case <-in.gone:
				}
			case <-s.t.Context().Done():
				return
			}
		}
	}()
	return h
}

// since returns what was got after the first n.
func (h *heard) since(n int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list[n:])
}

func (h *house) count(table string) int64 {
	h.t.Helper()
	return testkit.Must(db.Value[int64](context.Background(), h.store, `SELECT COUNT(*) FROM `+table))(h.t)
}

func TestRestore(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, store *db.Store) {
		h := newHouse(t, func(o *houseOptions) { o.store = store })
		h.restart()
		weather := newScript(t, false)
		weather.agrees()
		h.serve("weather", weather.URL)
		ping := func(s *legacy) int { return s.call("ping", `{}`).status }

		t.Run("a session that sets nothing leaves nothing in the store", func(t *testing.T) {
			s := h.initialize("/mcp/weather", "2025-11-25", `{}`)
			testkit.Equal(t, ping(s), 200)
			testkit.Equal(t, h.count("mcp_sessions"), int64(0))
		})
		for slug, path := range map[string]string{"one": "/mcp/one", "merged": "/mcp"} {
			t.Run("a restart keeps level and subscriptions at "+path, func(t *testing.T) {
				a, b := "file:///"+slug+"/a", "file:///"+slug+"/b"
				u := newScript(t, false)
				u.lists["resources/list"] = `{"resources":[{"uri":"` + a + `","name":"a"},{"uri":"` + b + `","name":"b"}]}`
				got := u.agrees()
				h.serve(slug, u.URL)
				s := h.initialize(path, "2025-11-25", `{}`)
				s.call("resources/list", `{}`).result(t)
				testkit.Equal(t, s.call("logging/setLevel", `{"level":"debug"}`).result(t), `{}`)
				s.call("resources/subscribe", `{"uri":"`+a+`"}`).result(t)

				h.restart()
				mark := len(got.since(0))
				e := s.listen()
				eventually(t, "the server is told both", func() bool {
					list := got.since(mark)
					level, resource := slices.Index(list, "logging/setLevel debug"), slices.Index(list, "resources/subscribe "+a)
					return level >= 0 && resource > level
				})
				u.pushes(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"`+a+`"}}`, 2, false)
				for m := e.want(); m.Method != "notifications/resources/updated"; m = e.want() { // lists may have changed too
					t.Log(m.Method)
				}
				// A level set now reaches the server of a subscription, though nothing else was sent there.
				mark = len(got.since(0))
				s.call("logging/setLevel", `{"level":"error"}`).result(t)
				eventually(t, "the server is told the new level", func() bool { return slices.Contains(got.since(mark), "logging/setLevel error") })

				s.call("resources/unsubscribe", `{"uri":"`+a+`"}`).result(t)
				e.resp.Body.Close()
				h.restart()
				mark = len(got.since(0))
				e = s.listen()
				s.call("resources/subscribe", `{"uri":"`+b+`"}`).result(t)
				eventually(t, "both sessions at the server have subscribed", func() bool {
					return strings.Count(strings.Join(got.since(mark), "\n"), "resources/subscribe "+b) >= 2
				})
				list := got.since(mark)
				if slices.Contains(list, "resources/subscribe "+a) || !slices.Contains(list, "logging/setLevel error") {
					t.Errorf("%q", list)
				}
				e.resp.Body.Close()
			})
		}
		t.Run("a subscription at a server that is gone is no obstacle", func(t *testing.T) {
			gone := newScript(t, false)
			gone.agrees()
			d := h.serve("gone", gone.URL)
			s := h.initialize("/mcp/gone", "2025-11-25", `{}`)
			s.call("resources/subscribe", `{"uri":"file:///a"}`).result(t)
			testkit.Must0(t, h.catalog.DeleteServer(t.Context(), h.owner, d.ID))
			h.restart()
			s.path = "/mcp/weather"
			testkit.Equal(t, ping(s), 200)
		})
		t.Run("an ended session is over after a restart", func(t *testing.T) {
			s := h.initialize("/mcp/weather", "2025-11-25", `{}`)
			testkit.Equal(t, h.send("DELETE", s.path, "", s.headers()...).status, 204)
			h.restart()
			for range 2 {
				testkit.Equal(t, ping(s), 404)
			}
			testkit.Equal(t, h.send("DELETE", s.path, "", s.headers()...).status, 404)
			testkit.Equal(t, h.send("GET", s.path, "", s.headers("Accept: text/event-stream")...).status, 404)
		})
		t.Run("and on another replica, whether that knew it or not", func(t *testing.T) {
			one := h.url
			g, two := h.open(h.noting)
			store.OnChange(g.Changed)
			at := func(url string, s *legacy, method string) int {
				defer func(before string) { h.url = before }(h.url)
				h.url = url
				if method == "DELETE" {
					return h.send("DELETE", s.path, "", s.headers()...).status
				}
				return ping(s)
			}
			known, unknown := h.initialize("/mcp/weather", "2025-11-25", `{}`), h.initialize("/mcp/weather", "2025-11-25", `{}`)
			testkit.Equal(t, at(two, known, "POST"), 200)
			for _, s := range []*legacy{known, unknown} {
				testkit.Equal(t, at(one, s, "DELETE"), 204)
				testkit.Equal(t, at(two, s, "POST"), 404)
			}
		})
		t.Run("another principal's id tells nothing and asks the store nothing", func(t *testing.T) {
			s := h.initialize("/mcp/weather", "2025-11-25", `{}`)
			other := "Authorization: Bearer " + h.mint(h.owner, access.Every)
			h.gateway, h.url = h.open(func(o *gateway.Options) { o.Notes = away{} })
			testkit.Equal(t, h.send("POST", s.path, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, s.headers(other)...).status, 404)
		})
		t.Run("without the store nothing is forgotten: the client comes again", func(t *testing.T) {
			h.restart()
			s := h.initialize("/mcp/weather", "2025-11-25", `{}`)
			fine := h.url
			h.gateway, h.url = h.open(func(o *gateway.Options) { o.Notes = away{} })
			testkit.Equal(t, ping(s), 503)
			testkit.Equal(t, h.send("DELETE", s.path, "", s.headers()...).status, 503)
			fresh := h.initialize("/mcp/weather", "2025-11-25", `{}`)
			for _, r := range []reply{fresh.call("logging/setLevel", `{"level":"debug"}`), fresh.call("resources/subscribe", `{"uri":"file:///a"}`)} {
				if r.status != 503 || parse(t, r.body).Error == nil {
					t.Errorf("%d %s", r.status, r.body)
				}
			}
			testkit.Equal(t, h.send("DELETE", fresh.path, "", fresh.headers()...).status, 503)
			testkit.Equal(t, ping(fresh), 200)
			h.url = fine
			testkit.Equal(t, ping(s), 200)
		})
		t.Run("what was noted goes with the session's id", func(t *testing.T) {
			if h.count("mcp_sessions") == 0 {
				t.Fatal("nothing was noted")
			}
			n := notes.New(store, h.now)
			testkit.Equal(t, testkit.Must(n.Expire(t.Context()))(t), int64(0))
			h.ahead.Add(int64(30*24*time.Hour + time.Minute))
			testkit.Must(n.Expire(t.Context()))(t)
			testkit.Equal(t, h.count("mcp_sessions"), int64(0))
		})
	})
}

// away are notes whose store cannot be used.
type away struct{}

func (away) Read(context.Context, string) (notes.Note, error) {
	return notes.Note{}, db.ErrUnavailable
}

func (away) Elsewhere(string) (string, bool) { return "", false }

func (away) Change(context.Context, string, time.Time, func(*notes.Note)) error {
	return db.ErrUnavailable
}
