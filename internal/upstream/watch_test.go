package upstream_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/demo"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

// heard collects the methods a watcher was told.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (l *heard) tell(_ []byte, e *mcp.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e.Method)
}

func (l *heard) count(method string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.all {
		if m == method {
			n++
		}
	}
	return n
}

func watching(s *catalog.Server, revision mcp.Revision, affinity string) *upstream.Request {
	return &upstream.Request{Server: s, By: ann, Revision: revision, Affinity: affinity}
}

func TestWatchLegacy(t *testing.T) {
	t.Run("a session's notifications reach its watchers and make lists old", func(t *testing.T) {
		u := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: rawmcp.Legacy}))(t)
		defer u.Close()
		var told atomic.Int64
		h := newHub(t, func(o *upstream.Options) { o.Changed = func(string, upstream.ListKind) { told.Add(1) } })
		s := serverAt(u.URL())
		before := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
		var one, two heard
		stop1 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, one.tell))(t)
		stop2 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, two.tell))(t)
		testkit.Equal(t, h.Stats().Streams, 1)
		eventually(t, "the stream is open", func() bool { return u.Notify("notifications/resources/updated") == 1 })
		u.SetTools(50)
		u.Notify(mcp.NotifyToolsChanged)
		eventually(t, "both are told", func() bool { return one.count(mcp.NotifyToolsChanged) == 1 && two.count(mcp.NotifyToolsChanged) == 1 })
		if l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t); len(l.Items) <= len(before.Items) || told.Load() == 0 {
			t.Errorf("%d tools, told %d times", len(l.Items), told.Load())
		}
		stop1()
		stop1()
		stop2()
		testkit.Equal(t, h.Stats().Streams, 0)
		eventually(t, "the stream is closed", func() bool { return u.Notify("notifications/resources/updated") == 0 })
	})
	t.Run("an ended stream is opened again behind its last event, and a lost session anew", func(t *testing.T) {
		u := newScript(t)
		var resumed sync.Map
		u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			if !u.knows(r) {
				return false
			}
			n := u.count("GET")
			resumed.Store(n, r.Header.Get("Last-Event-ID"))
			send := events(w)
			fmt.Fprintf(w, "id: e%d\n", n)
			send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`)
			if n == 2 {
				u.forgetSessions()
			}
			if n >= 4 {
				<-r.Context().Done()
			}
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		var l heard
		stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, l.tell))(t)
		defer stop()
		eventually(t, "three streams spoke", func() bool { return l.count(mcp.NotifyMessage) >= 3 })
		second, _ := resumed.Load(2)
		testkit.Equal(t, second.(string), "e1")
		fourth, _ := resumed.Load(4) // the third request met the lost session
		testkit.Equal(t, fourth.(string), "")
		testkit.Equal(t, u.count("initialize"), 3) // the look at the era, the session, the session anew
	})
	t.Run("a server without a stream is asked once", func(t *testing.T) {
		u := newScript(t)
		h, s := newHub(t), serverAt(u.URL)
		var l heard
		stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, l.tell))(t)
		eventually(t, "it was asked", func() bool { return u.count("GET") == 1 })
		time.Sleep(60 * time.Millisecond) // several times the first wait
		testkit.Equal(t, u.count("GET"), 1)
		stop()
	})
	t.Run("a server's requests reach a session's own watcher; ping is answered here", func(t *testing.T) {
		u := newScript(t)
		replies := make(chan string, 2)
		u.on("", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			replies <- string(m.raw)
			w.WriteHeader(202)
			return true
		})
		u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			send := events(w)
			send(`{"jsonrpc":"2.0","id":"p","method":"ping"}`)
			send(`{"jsonrpc":"2.0","id":"r","method":"roots/list"}`)
			<-r.Context().Done()
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		var own, none heard
		defer testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, own.tell))(t)()
		testkit.Equal(t, <-replies, `{"jsonrpc":"2.0","id":"p","result":{}}`)
		eventually(t, "the request came", func() bool { return own.count(mcp.MethodRootsList) == 1 })
		defer testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, ""), nil, none.tell))(t)()
		got := <-replies + <-replies
		if !strings.Contains(got, "-32601") || none.count(mcp.MethodRootsList) != 0 {
			t.Errorf("a shared session passed on %v and answered %s", none.all, got)
		}
	})
}

// knows reports whether the request's session is open.
func (s *script) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[r.Header.Get("Mcp-Session-Id")]
}

func TestWatchModern(t *testing.T) {
	t.Run("one subscription serves all, and asks for the resources of all", func(t *testing.T) {
		u := newScript(t).modern("")
		filters := make(chan string, 10)
		u.on(mcp.MethodSubscriptionsListen, func(w http.ResponseWriter, r *http.Request, m message) bool {
			var body struct {
				Params struct{ Notifications json.RawMessage }
			}
			_ = json.Unmarshal(m.raw, &body)
			filters <- string(body.Params.Notifications)
			send := events(w)
			send(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}`)
			send(`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"headgate-listen"}}}`)
			<-r.Context().Done()
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		var one, two heard
		stop1 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, "a"), nil, one.tell))(t)
		defer stop1()
		eventually(t, "the first is told", func() bool { return one.count(mcp.NotifyPromptsChanged) == 1 })
		stop2 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, "b"), []string{"file:///x"}, two.tell))(t)
		eventually(t, "both are told", func() bool { return two.count(mcp.NotifyPromptsChanged) == 1 })
		testkit.Equal(t, <-filters, `{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}`)
		testkit.Equal(t, <-filters, `{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["file:///x"]}`)
		stop2()
		testkit.Equal(t, <-filters, `{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}`)
		testkit.Equal(t, h.Stats().Streams, 1)
	})
	t.Run("a server without subscriptions is asked once", func(t *testing.T) {
		u := newScript(t).modern("")
		h, s := newHub(t), serverAt(u.URL)
		var l heard
		stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, ""), nil, l.tell))(t)
		eventually(t, "it was asked", func() bool { return u.count(mcp.MethodSubscriptionsListen) == 1 })
		time.Sleep(60 * time.Millisecond)
		testkit.Equal(t, u.count(mcp.MethodSubscriptionsListen), 1)
		stop()
	})
	t.Run("a legacy server's words reach a modern caller, the updates of its resources too", func(t *testing.T) {
		u := newScript(t)
		asked := make(chan string, 10)
		for _, method := range []string{mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe} {
			u.on(method, func(w http.ResponseWriter, _ *http.Request, m message) bool {
				asked <- method + string(m.raw[strings.Index(string(m.raw), `{"uri"`):])
				respond(w, m.ID, `{}`)
				return true
			})
		}
		u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			events(w)(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///x"}}`)
			<-r.Context().Done()
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		var one, two heard
		stop1 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, ""), []string{"file:///x"}, one.tell))(t)
		defer stop1()
		testkit.Equal(t, <-asked, `resources/subscribe{"uri":"file:///x"}}`)
		eventually(t, "the update came", func() bool { return one.count(mcp.NotifyResourceUpdated) == 1 })
		stop2 := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, ""), []string{"file:///y"}, two.tell))(t)
		testkit.Equal(t, <-asked, `resources/subscribe{"uri":"file:///y"}}`)
		stop2()
		testkit.Equal(t, <-asked, `resources/unsubscribe{"uri":"file:///y"}}`)
		testkit.Equal(t, h.Stats().Streams, 1)
	})
	t.Run("a modern server's words reach a legacy caller", func(t *testing.T) {
		h, s := newHub(t), serverAt(rawServer(t, rawmcp.Modern))
		s2 := serverAt(sdkServer(t, true))
		s2.Era = catalog.Modern
		for _, s := range []*catalog.Server{s, s2} {
			var l heard
			stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestLegacy, "one"), nil, l.tell))(t)
			if s == s2 {
				eventually(t, "it acknowledges", func() bool { return l.count(mcp.NotifySubscriptionsAck) == 1 })
			}
			stop()
		}
	})
	t.Run("the SDK's server is heard", func(t *testing.T) {
		h, s := newHub(t), serverAt(sdkServer(t, true))
		var l heard
		stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.LatestModern, ""), nil, l.tell))(t)
		defer stop()
		eventually(t, "it acknowledges", func() bool { return l.count(mcp.NotifySubscriptionsAck) == 1 })
	})
}

func TestBuiltin(t *testing.T) {
	leakFree(t, func() {
		h := upstream.NewHub(upstream.Options{Binder: shared{}, Channels: map[catalog.Transport]upstream.Channel{
			catalog.Builtin: upstream.Builtins{demo.Name: demo.Handler("1", time.Now)}}})
		defer h.Close(t.Context())
		s := serverAt(demo.Name)
		s.Transport = catalog.Builtin
		t.Run("a server in this process is one like any other, in both eras", func(t *testing.T) {
			for _, revision := range []mcp.Revision{mcp.LatestLegacy, mcp.LatestModern} {
				for i := range 20 {
					nonce := fmt.Sprint("n", i)
					a := testkit.Must(h.Exchange(t.Context(), call(s, revision, "1", "echo", fmt.Sprintf(`{"text":%q}`, nonce)), nil))(t)
					if !strings.Contains(string(a.Body), nonce) {
						t.Errorf("got %s", a.Body)
					}
					a.Release()
				}
			}
			l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
			if _, ok := l.Find("echo"); !ok {
				t.Errorf("tools %v", names(l))
			}
		})
		t.Run("an unknown name or transport is refused", func(t *testing.T) {
			for _, transport := range []catalog.Transport{catalog.Builtin, catalog.Stdio, catalog.SSE} {
				s := serverAt("nobody")
				s.Transport = transport
				_, err := h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "echo", `{}`), nil)
				testkit.Fault(t, err, "upstream.transport")
			}
		})
	})
}

// TestEverybodysOwn is the promise of a relay: 200 callers, every id 1, every
// answer its own caller's.
func TestEverybodysOwn(t *testing.T) {
	for _, c := range []struct {
		name     string
		revision mcp.Revision
		tool     string
	}{{"legacy", mcp.LatestLegacy, "echo"}, {"modern", mcp.LatestModern, "echo"}, {"modern streams", mcp.LatestModern, "echo_sse"}, {"legacy streams", mcp.LatestLegacy, "echo_sse"}} {
		t.Run(c.name, func(t *testing.T) {
			u := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(t)
			defer u.Close()
			leakFree(t, func() {
				h := upstream.NewHub(upstream.Options{Binder: shared{}, Dial: dial})
				defer h.Close(t.Context())
				s := serverAt(u.URL())
				var wg sync.WaitGroup
				for i := range 200 {
					wg.Go(func() {
						nonce := fmt.Sprintf("nonce-%d-%s", i, strings.Repeat("x", i*7))
						r := call(s, c.revision, "1", c.tool, fmt.Sprintf(`{"text":%q}`, nonce))
						r.Affinity = fmt.Sprint("client-", i%20)
						if i%2 == 0 {
							r.Affinity = ""
						}
						a, err := h.Exchange(t.Context(), r, nil)
						if err != nil {
							t.Error(err)
							return
						}
						if got := text(t, a); got != nonce {
							t.Errorf("caller %d got %q", i, got)
						}
					})
				}
				wg.Wait()
				testkit.Equal(t, u.Calls(), int64(200))
			})
		})
	}
}
