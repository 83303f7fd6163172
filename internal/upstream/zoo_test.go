package upstream_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/zoo"
	"headgate/internal/upstream"
)

// openZoo opens a zoo, and a hub that trusts what is to be trusted there.
func openZoo(t *testing.T) (*zoo.Zoo, *upstream.Hub) {
	t.Helper()
	z := testkit.Must(zoo.Open())(t)
	t.Cleanup(z.Close)
	return z, newHub(t, func(o *upstream.Options) { o.Dial, o.Wire.TLS = z.Dial(dial), z.Trust })
}

// TestZoo holds every server of the zoo to a bounded end of a known kind, alone
// and all at once. Who pays for it, and what is logged, gateway.TestZoo shows.
func TestZoo(t *testing.T) {
	leakFree(t, func() {
		t.Run("a call", func(t *testing.T) {
			z, h := openZoo(t)
			visit := func(c zoo.Cage) error {
				s := modernAt(z.URL(c)) // a server of its own, so that no breaker opens
				r := call(s, mcp.LatestModern, "41", c.Name, `{}`)
				r.Timeout = 30 * time.Second // what ends by itself may take its time on a crowded machine
				if c.Endless {
					r.Timeout = zoo.Timeout
				}
				a, err := h.Exchange(t.Context(), r, sinkFunc(func([]byte, *mcp.Envelope) error { return nil }))
				if err != nil {
					return err
				}
				defer a.Release()
				if id := string(a.Envelope.ID.Of(a.Body)); id != "41" {
					return errors.New("answered with id " + id)
				}
				return mcp.Check(a.Body, mcp.Limits{})
			}
			judge := func(t *testing.T, c zoo.Cage, err error) {
				t.Helper()
				code := fault.CodeOf(err)
				if !slices.ContainsFunc(c.Ends, func(e zoo.End) bool { return e.Fault == code }) {
					t.Errorf("%s: %q (%v), want one of %v", c.Name, code, err, c.Ends)
				}
			}
			for _, c := range zoo.Cages() {
				t.Run(c.Name, func(t *testing.T) {
					judge(t, c, visit(c))
					if n := z.Requests(c.Name); n > 1 {
						t.Errorf("it was sent %d times", n)
					}
				})
			}
			t.Run("all at once", func(t *testing.T) {
				var wg sync.WaitGroup
				for _, c := range slices.Concat(zoo.Cages(), zoo.Cages()) {
					wg.Go(func() { judge(t, c, visit(c)) })
				}
				wg.Wait()
			})
		})
		t.Run("a list", func(t *testing.T) {
			z, h := openZoo(t)
			for _, l := range zoo.Lists() {
				t.Run(l.Name, func(t *testing.T) {
					listing, err := h.List(t.Context(), modernAt(z.ListURL(l)), ann, upstream.Tools)
					if got := fault.CodeOf(err); got != l.Fault || err == nil && len(listing.Items) != l.Tools {
						t.Errorf("%v, %+v", err, listing)
					}
				})
			}
			testkit.Equal(t, z.Requests("the same page again"), 2)
			testkit.Equal(t, z.Requests(zoo.Fetched), 0)
		})
	})
}

// TestZooSessions shows what the legacy side adds: the handshake may misbehave too.
func TestZooSessions(t *testing.T) {
	for _, c := range []struct {
		name, code string
		answer     func(w http.ResponseWriter, m message)
	}{
		{"a revision that does not exist", "upstream.nonsense", func(w http.ResponseWriter, m message) { respond(w, m.ID, `{"protocolVersion":"1999-01-01"}`) }},
		{"a modern revision", "upstream.nonsense", func(w http.ResponseWriter, m message) { respond(w, m.ID, `{"protocolVersion":"2026-07-28"}`) }},
		{"a wrong id", "upstream.nonsense", func(w http.ResponseWriter, _ message) { respond(w, []byte("5"), `{"protocolVersion":"2025-11-25"}`) }},
		{"nothing", "upstream.nonsense", func(w http.ResponseWriter, _ message) { w.WriteHeader(200) }},
		{"a session id with a space", "upstream.nonsense", func(w http.ResponseWriter, m message) {
			w.Header().Set("Mcp-Session-Id", "a b")
			respond(w, m.ID, `{"protocolVersion":"2025-11-25"}`)
		}},
		{"a session id of 2,000 characters", "upstream.nonsense", func(w http.ResponseWriter, m message) {
			w.Header().Set("Mcp-Session-Id", strings.Repeat("a", 2000))
			respond(w, m.ID, `{"protocolVersion":"2025-11-25"}`)
		}},
		{"a sign-in", "upstream.auth", func(w http.ResponseWriter, _ message) { w.WriteHeader(401) }},
		{"403", "upstream.rejected", func(w http.ResponseWriter, _ message) { w.WriteHeader(403) }},
		{"the name of another era", "upstream.era", func(w http.ResponseWriter, m message) { fail(w, 400, m.ID, -32022, "modern only") }},
	} {
		t.Run("initialize answered with "+c.name+" is an error", func(t *testing.T) {
			u := newScript(t).on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool { c.answer(w, m); return true })
			h, s := newHub(t), serverAt(u.URL)
			_, err := h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
			testkit.Fault(t, err, c.code)
			testkit.Equal(t, u.count("tools/call"), 0)
		})
	}
	t.Run("a port nobody listens on", func(t *testing.T) {
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		l.Close()
		h := newHub(t)
		for _, revision := range []mcp.Revision{mcp.LatestLegacy, mcp.LatestModern} {
			_, err := h.Exchange(t.Context(), call(serverAt("http://"+l.Addr().String()), revision, "1", "echo", `{}`), nil)
			testkit.Fault(t, err, "upstream.unreachable")
		}
	})
}

// TestNeverTwice shows that a call which the server may have taken is not sent again.
func TestNeverTwice(t *testing.T) {
	for _, end := range []string{"reset", "half", "500"} {
		t.Run("after "+end, func(t *testing.T) {
			u := newScript(t)
			u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, _ message) bool {
				if end == "500" {
					w.WriteHeader(500)
					return true
				}
				c, _, _ := w.(http.Hijacker).Hijack()
				if end == "half" {
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
				return true
			})
			h, s := newHub(t), serverAt(u.URL)
			for i := range 3 {
				r := call(s, mcp.LatestLegacy, "1", "echo", `{}`)
				r.Affinity = "one"
				_, err := h.Exchange(t.Context(), r, nil)
				if err == nil || !isFault(err, "upstream.lost", "upstream.failed") {
					t.Errorf("got %v", err)
				}
				testkit.Equal(t, u.count("tools/call"), i+1)
			}
		})
	}
	t.Run("a resumed stream does not send it again either", func(t *testing.T) {
		u := newScript(t)
		var id string
		u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			id = string(m.ID)
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "id: e1\nretry: 20\ndata: \n\n")
			return true
		})
		u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			if last := r.Header.Get("Last-Event-ID"); last != "e1" {
				t.Errorf("Last-Event-ID %q", last)
			}
			if u.count("GET") < 3 {
				w.Header().Set("Content-Type", "text/event-stream")
				return true
			}
			events(w)(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"late"}]}}`)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		testkit.Equal(t, text(t, testkit.Must(h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil))(t)), "late")
		testkit.Equal(t, u.count("tools/call"), 1)
	})
}
