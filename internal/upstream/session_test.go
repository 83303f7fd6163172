package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

func legacyCall(h *upstream.Hub, t testing.TB, r *upstream.Request) (string, error) {
	t.Helper()
	a, err := h.Exchange(t.Context(), r, nil)
	if err != nil {
		return "", err
	}
	return text(t, a), nil
}

func TestSessions(t *testing.T) {
	t.Run("parallel first calls of one downstream session share one handshake", func(t *testing.T) {
		u := newScript(t)
		u.on("initialize", func(http.ResponseWriter, *http.Request, message) bool {
			time.Sleep(20 * time.Millisecond)
			return false
		})
		h, s := newHub(t), serverAt(u.URL)
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				r := call(s, mcp.LatestLegacy, fmt.Sprint(i), "echo", fmt.Sprintf(`{"text":"n%d"}`, i))
				r.Affinity = "one"
				if got, err := legacyCall(h, t, r); err != nil || got != fmt.Sprintf("n%d", i) {
					t.Errorf("call %d: %q, %v", i, got, err)
				}
			})
		}
		wg.Wait()
		testkit.Equal(t, u.count("initialize"), 1)
		testkit.Equal(t, u.count("notifications/initialized"), 1)
	})
	t.Run("downstream sessions and principals have sessions of their own, capabilities too", func(t *testing.T) {
		u := newScript(t)
		var mu sync.Mutex
		var promises []string
		u.on("initialize", func(_ http.ResponseWriter, _ *http.Request, m message) bool {
			mu.Lock()
			defer mu.Unlock()
			promises = append(promises, string(m.raw))
			return false
		})
		h, s := newHub(t), serverAt(u.URL)
		bob := &access.Principal{ID: "bob"}
		for _, c := range []struct {
			affinity string
			by       *access.Principal
			caps     string
		}{{"one", ann, `{"sampling":{}}`}, {"two", ann, `{}`}, {"", ann, `{}`}, {"", bob, `{}`}, {"", ann, `{"roots":{}}`}, {"one", ann, `{"sampling":{}}`}, {"", ann, `{}`}} {
			r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
			r.Affinity, r.By, r.Client = c.affinity, c.by, upstream.Client{Capabilities: []byte(c.caps), Info: []byte(`{"name":"client","version":"7"}`)}
			testkit.Must(legacyCall(h, t, r))(t)
		}
		testkit.Equal(t, u.count("initialize"), 5)
		if !strings.Contains(promises[0], `"capabilities":{"sampling":{}},"clientInfo":{"name":"client","version":"7"}`) {
			t.Errorf("the first promised %s", promises[0])
		}
	})
	t.Run("a lost one is opened again behind the caller", func(t *testing.T) {
		u := newScript(t)
		h, s := newHub(t), serverAt(u.URL)
		r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
		r.Affinity = "one"
		for range 3 {
			testkit.Must(legacyCall(h, t, r))(t)
			u.forgetSessions()
		}
		testkit.Equal(t, u.count("initialize"), 3)
		testkit.Equal(t, u.count("tools/call"), 5)
	})
	t.Run("so it is where the server says it with 400", func(t *testing.T) {
		u := newScript(t)
		u.on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
			if u.count("tools/call") == 1 {
				fail(w, 400, nullID(m), -32000, "Bad Request: No valid session ID provided")
				return true
			}
			return false
		})
		h, s := newHub(t), serverAt(u.URL)
		testkit.Must(legacyCall(h, t, call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)))(t)
		testkit.Equal(t, u.count("initialize"), 2)
	})
	t.Run("one that is lost again and again is an error, not a loop", func(t *testing.T) {
		u := newScript(t).on("tools/call", func(w http.ResponseWriter, _ *http.Request, _ message) bool {
			http.Error(w, "unknown session", 404)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		_, err := legacyCall(h, t, call(s, mcp.LatestLegacy, "1", "echo", `{}`))
		testkit.Fault(t, err, "upstream.session")
		testkit.Equal(t, u.count("tools/call"), 2)
	})
	t.Run("a failed handshake is everybody's error, and the next call tries anew", func(t *testing.T) {
		u := newScript(t)
		u.on("initialize", func(w http.ResponseWriter, _ *http.Request, _ message) bool {
			if u.count("initialize") > 1 {
				return false
			}
			http.Error(w, "boom", 503)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
		_, err := legacyCall(h, t, r)
		testkit.Fault(t, err, "upstream.failed")
		testkit.Must(legacyCall(h, t, r))(t)
	})
	t.Run("they are ended at the server: with the downstream session, when idle, at the end", func(t *testing.T) {
		u := newScript(t)
		now := time.Now()
		var mu sync.Mutex
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		h, s := newHub(t, func(o *upstream.Options) { o.Now = clock }), serverAt(u.URL)
		open := func(affinity string) {
			r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
			r.Affinity = affinity
			testkit.Must(legacyCall(h, t, r))(t)
		}
		open("one")
		open("two")
		h.EndSession("one")
		eventually(t, "one session is left", func() bool { return u.live() == 1 })
		mu.Lock()
		now = now.Add(time.Hour)
		mu.Unlock()
		open("three")
		h.Sweep()
		eventually(t, "only the used one is left", func() bool { return u.live() == 1 && h.Stats().Sessions == 1 })
		h.Close(t.Context())
		testkit.Equal(t, u.live(), 0)
		_, err := h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.closed")
	})
	t.Run("there are never more than the bound; the one unused longest goes", func(t *testing.T) {
		u := newScript(t)
		h, s := newHub(t, func(o *upstream.Options) { o.MaxSessions = 3 }), serverAt(u.URL)
		for i := range 10 {
			r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
			r.Affinity = fmt.Sprint("s", i)
			testkit.Must(legacyCall(h, t, r))(t)
			time.Sleep(2 * time.Millisecond) // the order is by milliseconds
		}
		testkit.Equal(t, h.Stats().Sessions, 3)
		eventually(t, "the server has three", func() bool { return u.live() == 3 })
	})
	t.Run("a hung goodbye holds nothing up for ever", func(t *testing.T) {
		release := make(chan struct{})
		u := newScript(t).on("DELETE", func(http.ResponseWriter, *http.Request, message) bool { <-release; return true })
		h, s := newHub(t), serverAt(u.URL)
		testkit.Must(legacyCall(h, t, call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)))(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		h.Close(ctx)
		close(release)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("Close took %s", d)
		}
	})
	t.Run("a new version of the server uses nothing of the old", func(t *testing.T) {
		u, u2 := newScript(t), newScript(t)
		h, s := newHub(t), serverAt(u.URL)
		r := call(s, mcp.LatestLegacy, "1", "echo", `{"text":"x"}`)
		r.Affinity = "one"
		testkit.Must(legacyCall(h, t, r))(t)
		moved := serverAt(u2.URL)
		moved.ID, moved.Version = s.ID, 2
		r.Server = moved
		testkit.Must(legacyCall(h, t, r))(t)
		testkit.Equal(t, u2.count("initialize"), 1)
	})
	t.Run("a server without session ids works, and is sent none", func(t *testing.T) {
		u := newScript(t)
		for _, m := range []string{"initialize", "notifications/initialized", "tools/call"} {
			u.on(m, func(w http.ResponseWriter, r *http.Request, m message) bool {
				if r.Header.Get("Mcp-Session-Id") != "" {
					t.Error("a session id from nowhere")
				}
				switch m.Method {
				case "initialize":
					respond(w, m.ID, `{"protocolVersion":"2025-03-26","capabilities":{}}`)
				case "tools/call":
					if v := r.Header.Get("MCP-Protocol-Version"); v != "" {
						t.Errorf("version header %q to a revision without one", v)
					}
					respond(w, m.ID, `{"content":[{"type":"text","text":"x"}]}`)
				default:
					w.WriteHeader(202)
				}
				return true
			})
		}
		h, s := newHub(t), serverAt(u.URL)
		for range 2 {
			testkit.Must(legacyCall(h, t, call(s, mcp.LatestLegacy, "1", "echo", `{}`)))(t)
		}
		testkit.Equal(t, u.count("initialize"), 1)
	})
}

func nullID(message) []byte { return []byte("null") }

// TestSharedSession shows that callers who share a session cannot meet: ids and
// progress tokens are the hub's own on the wire and the callers' again after it.
func TestSharedSession(t *testing.T) {
	var mu sync.Mutex
	inFlight := map[string]bool{}
	u := newScript(t)
	u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		id := string(m.ID)
		mu.Lock()
		twice := inFlight[id]
		inFlight[id] = true
		mu.Unlock()
		if twice {
			fail(w, 400, m.ID, -32600, "duplicate id")
			return true
		}
		send := events(w)
		send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":1}}`, m.Params.Meta.ProgressToken))
		time.Sleep(time.Millisecond)
		send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%q}]}}`, id, m.Params.Arguments["text"]))
		mu.Lock()
		delete(inFlight, id)
		mu.Unlock()
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			nonce := fmt.Sprintf("nonce-%d", i)
			r := call(s, mcp.LatestLegacy, `"a\/b"`, "echo", fmt.Sprintf(`{"text":%q}`, nonce))
			r.Body = []byte(strings.Replace(string(r.Body), `"params":{`, `"params":{"_meta":{"progressToken":"tok"},`, 1))
			progress := 0
			a, err := h.Exchange(t.Context(), r, sinkFunc(func(m []byte, e *mcp.Envelope) error {
				progress++
				if !mcp.Equal(m, e.Progress, "tok") {
					t.Errorf("progress of somebody else: %s", m)
				}
				return nil
			}))
			if err != nil {
				t.Error(err)
				return
			}
			if id := string(a.Envelope.ID.Of(a.Body)); id != `"a\/b"` || progress != 1 {
				t.Errorf("id %s, %d progress", id, progress)
			}
			if got := text(t, a); got != nonce {
				t.Errorf("got %q for %q", got, nonce)
			}
		})
	}
	wg.Wait()
	testkit.Equal(t, u.count("initialize"), 1)
}
