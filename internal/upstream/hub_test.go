package upstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// shared binds every caller with the same, empty credentials.
type shared struct{}

func (shared) Bind(context.Context, *catalog.Server, *access.Principal) (*catalog.Binding, error) {
	return &catalog.Binding{Identity: "shared"}, nil
}

// perUser binds each principal with credentials of their own.
type perUser struct{}

func (perUser) Bind(_ context.Context, _ *catalog.Server, by *access.Principal) (*catalog.Binding, error) {
	return &catalog.Binding{Identity: by.ID}, nil
}

func newHub(t testing.TB, change ...func(o *upstream.Options)) *upstream.Hub {
	t.Helper()
	o := upstream.Options{Binder: shared{}, Dial: new(net.Dialer).DialContext, Resume: 10 * time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	h := upstream.NewHub(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.Close(ctx)
	})
	return h
}

var serials atomic.Int64

func serverAt(url string) *catalog.Server {
	return &catalog.Server{ID: fmt.Sprintf("srv_%d", serials.Add(1)), Transport: catalog.HTTP, URL: url, Era: catalog.Auto, Timeout: 5 * time.Second, Enabled: true, Version: 1}
}

// modernAt is a server pinned to the modern era.
func modernAt(url string) *catalog.Server {
	s := serverAt(url)
	s.Era = catalog.Modern
	return s
}

var ann = &access.Principal{ID: "ann", User: "ann"}

// call is a tools/call in a revision.
func call(s *catalog.Server, revision mcp.Revision, id, tool, args string) *upstream.Request {
	meta := ""
	if revision.Era() == mcp.Modern {
		meta = fmt.Sprintf(`,"_meta":{"%s":"%s","%s":{}}`, mcp.MetaProtocolVersion, revision, mcp.MetaClientCapabilities)
	}
	return &upstream.Request{Server: s, By: ann, Revision: revision, Method: mcp.MethodToolsCall, Name: tool, ID: []byte(id),
		Body: fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`, id, tool, args, meta)}
}

// text returns the text of a tool's answer, releasing it.
func text(t testing.TB, a *upstream.Answer) string {
	t.Helper()
	defer a.Release()
	var r struct {
		Result struct{ Content []struct{ Text string } }
	}
	testkit.Must0(t, json.Unmarshal(a.Body, &r))
	if len(r.Result.Content) == 0 {
		t.Fatalf("no content in %.200s", a.Body)
	}
	return r.Result.Content[0].Text
}

// sinkFunc is a Sink.
type sinkFunc func(message []byte, e *mcp.Envelope) error

func (f sinkFunc) Event(message []byte, e *mcp.Envelope) error { return f(message, e) }

// script is a server of tests: a legacy one with sessions unless a hook says
// otherwise. Hooks are asked first, by method; they return true when they have
// answered.
type script struct {
	*httptest.Server
	t     testing.TB
	hooks map[string]func(w http.ResponseWriter, r *http.Request, m message) bool

	mu       sync.Mutex
	seen     []string // methods, HTTP verbs for those without a body
	sessions map[string]bool
	next     int
}

type message struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Name      string
		Cursor    string
		RequestID json.RawMessage `json:"requestId"`
		Arguments map[string]any
		Meta      struct{ ProgressToken json.RawMessage } `json:"_meta"`
	}
	raw []byte
}

func newScript(t testing.TB) *script {
	s := &script{t: t, hooks: map[string]func(http.ResponseWriter, *http.Request, message) bool{}, sessions: map[string]bool{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Server.Close)
	return s
}

func (s *script) on(method string, hook func(w http.ResponseWriter, r *http.Request, m message) bool) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[method] = hook
	return s
}

// methods returns what was asked, and how often each.
func (s *script) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.seen {
		if m == method {
			n++
		}
	}
	return n
}

func (s *script) forgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

func (s *script) live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := message{Method: r.Method}
	if r.Method == "POST" {
		m.raw, _ = io.ReadAll(r.Body)
		m.Method = ""
		_ = json.Unmarshal(m.raw, &m)
	}
	s.mu.Lock()
	s.seen = append(s.seen, m.Method)
	known, hook := s.sessions[r.Header.Get("Mcp-Session-Id")], s.hooks[m.Method]
	s.mu.Unlock()
	if hook != nil && hook(w, r, m) {
		return
	}
	switch {
	case m.Method == "initialize":
		s.mu.Lock()
		s.next++
		id := fmt.Sprintf("session-%d", s.next)
		s.sessions[id] = true
		s.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		respond(w, m.ID, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{},"prompts":{}},"serverInfo":{"name":"script","version":"1"}}`)
	case !known && r.Header.Get("MCP-Protocol-Version") != "2026-07-28":
		http.Error(w, "unknown session", http.StatusNotFound)
	case m.Method == "DELETE":
		s.mu.Lock()
		delete(s.sessions, r.Header.Get("Mcp-Session-Id"))
		s.mu.Unlock()
	case m.Method == "GET":
		http.Error(w, "no stream", http.StatusMethodNotAllowed)
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "tools/call":
		arg, _ := m.Params.Arguments["text"].(string)
		respond(w, m.ID, fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, arg))
	default:
		fail(w, http.StatusOK, m.ID, -32601, "unknown method")
	}
}

func respond(w http.ResponseWriter, id json.RawMessage, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

func fail(w http.ResponseWriter, status int, id json.RawMessage, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, text)
}

// events begins an event stream and returns a function that sends an event.
func events(w http.ResponseWriter) func(data string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	return func(data string) {
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
}

// eventually waits for a condition, a few seconds at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// leakFree checks that what runs in the test leaves no goroutine or descriptor.
func leakFree(t *testing.T, test func()) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	test()
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors are closed", func() bool { return descriptors() <= files })
}

func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

func isFault(err error, codes ...string) bool {
	for _, c := range codes {
		if err != nil && fault.CodeOf(err) == c {
			return true
		}
	}
	return false
}

var dial = new(net.Dialer).DialContext
