package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

const patience = 20 * time.Second

// script is an MCP server that does as a conversation says. It shakes hands and
// lists, nothing at first, by itself.
type script struct {
	*httptest.Server
	t            testing.TB
	modern       bool
	pair         bool   // it speaks HTTP+SSE
	revision     string // a legacy one
	holds        string // a method that it never answers, and tells nobody of
	capabilities string
	lists        map[string]string // method → result
	got          chan *incoming

	mu       sync.Mutex
	streams  []stream // of those who listen with GET, oldest first
	last     string   // the session of the last message
	sessions map[string]bool
	next     int
}

// stream is somebody who listens.
type stream struct {
	session string
	out     chan string
}

// incoming is one message a script has got.
type incoming struct {
	body   string
	method string
	header http.Header
	out    chan outgoing
	gone   <-chan struct{} // the gateway has hung up
}

// outgoing is what it says to that. An empty one ends the answer.
type outgoing struct {
	body   string
	status int
}

func newScript(t testing.TB, modern bool) *script {
	s := &script{t: t, modern: modern, revision: "2025-11-25", got: make(chan *incoming, 64), sessions: map[string]bool{},
		lists:        map[string]string{"tools/list": `{"tools":[]}`, "prompts/list": `{"prompts":[]}`, "resources/list": `{"resources":[]}`, "resources/templates/list": `{"resourceTemplates":[]}`},
		capabilities: `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"logging":{},"completions":{}}`}
	s.Server = httptest.NewServer(untilEnd(t, s))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// untilEnd is a handler whose requests end with the test: the Gateway, which ends
// later, would come back for their streams again and again, and they be waited for.
func untilEnd(t testing.TB, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(t.Context(), cancel)()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.pair {
		s.serveSSE(w, r)
		return
	}
	switch r.Method {
	case http.MethodGet:
		s.stream(w, r)
		return
	case http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, r.Header.Get("Mcp-Session-Id"))
		return
	}
	body, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m)
	if s.shake(w, r, m.ID, m.Method) {
		return
	}
	if list, ok := s.lists[m.Method]; ok {
		respond(w, m.ID, list)
		return
	}
	if m.Method == s.holds && m.Method != "" {
		<-r.Context().Done()
		return
	}
	in := &incoming{body: string(body), method: m.Method, header: r.Header, out: make(chan outgoing), gone: r.Context().Done()}
	s.mu.Lock()
	s.last = r.Header.Get("Mcp-Session-Id")
	s.mu.Unlock()
	s.got <- in
	if m.ID == nil || m.Method == "" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.say(w, r, in)
}

// shake does the handshake of the script's era and refuses that of the other.
func (s *script) shake(w http.ResponseWriter, r *http.Request, id json.RawMessage, method string) bool {
	speaks := r.Header.Get("MCP-Protocol-Version") == "2026-07-28"
	switch {
	case speaks != s.modern && (method != "notifications/initialized"):
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		code := -32000
		if s.modern {
			code = -32022
		}
		if speaks || method == "initialize" || s.modern {
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"unsupported protocol version"}}`, id, code)
			return true
		}
		return false
	case method == "server/discover":
		respond(w, id, `{"supportedVersions":["2026-07-28"],"capabilities":`+s.capabilities+`,"resultType":"complete","ttlMs":60000,"cacheScope":"public"}`)
	case method == "initialize":
		s.mu.Lock()
		s.next++
		session := fmt.Sprintf("session-%d", s.next)
		s.sessions[session] = true
		s.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", session)
		respond(w, id, `{"protocolVersion":"`+s.revision+`","capabilities":`+s.capabilities+`,"serverInfo":{"name":"script","version":"1"}}`)
	case method == "notifications/initialized":
		w.WriteHeader(http.StatusAccepted)
	case !s.modern && !s.knows(r):
		http.Error(w, "unknown session", http.StatusNotFound)
	default:
		return false
	}
	return true
}

func (s *script) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[r.Header.Get("Mcp-Session-Id")]
}

// forget loses every session, as a restart would.
func (s *script) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// say answers one message: JSON when the answer comes first, else a stream.
func (s *script) say(w http.ResponseWriter, r *http.Request, in *incoming) {
	streaming := false
	for {
		select {
		case o := <-in.out:
			last := answers(o.body)
			if last && !streaming {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(max(o.status, 200))
				_, _ = io.WriteString(w, o.body)
				return
			}
			if !streaming {
				streaming = true
				w.Header().Set("Content-Type", "text/event-stream")
			}
			if o.body != "" {
				fmt.Fprintf(w, "event: message\ndata: %s\n\n", o.body)
				w.(http.Flusher).Flush()
			}
			if last {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// answers reports whether a message ends an answer: with a result or an error,
// also in a batch, or with nothing.
func answers(body string) bool {
	type message struct{ Result, Error json.RawMessage }
	list := make([]message, 1)
	if json.Unmarshal([]byte(body), &list[0]) != nil {
		_ = json.Unmarshal([]byte(body), &list)
	}
	return body == "" || slices.ContainsFunc(list, func(m message) bool { return m.Result != nil || m.Error != nil })
}

// serveSSE speaks HTTP+SSE: one stream says everything, and names where to post.
func (s *script) serveSSE(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("session")
	switch {
	case r.Method == http.MethodGet && id == "":
		s.mu.Lock()
		s.next++
		id = fmt.Sprintf("session-%d", s.next)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: endpoint\ndata: /post?session=%s\n\n", id)
		s.hold(w, r, id)
		return
	case r.Method != http.MethodPost || id == "":
		http.Error(w, "no", http.StatusMethodNotAllowed)
		return
	}
	body, _ := io.ReadAll(r.Body)
	w.WriteHeader(http.StatusAccepted)
	var m struct {
		ID     json.RawMessage
		Method string
	}
	_ = json.Unmarshal(body, &m)
	result, ok := s.lists[m.Method]
	switch m.Method {
	case "notifications/initialized":
		return
	case "initialize":
		result, ok = `{"protocolVersion":"`+s.revision+`","capabilities":`+s.capabilities+`,"serverInfo":{"name":"script","version":"1"}}`, true
	}
	say := func(text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, x := range s.streams {
			if x.session == id {
				x.out <- text
			}
		}
	}
	if ok {
		say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result))
		return
	}
	in := &incoming{body: string(body), method: m.Method, header: r.Header, out: make(chan outgoing), gone: make(chan struct{})}
	s.mu.Lock()
	s.last = id
	s.mu.Unlock()
	s.got <- in
	if m.ID == nil || m.Method == "" {
		return
	}
	go func() {
		for {
			select {
			case o := <-in.out:
				if say(o.body); answers(o.body) {
					return
				}
			case <-s.t.Context().Done():
				return
			}
		}
	}()
}

func (s *script) stream(w http.ResponseWriter, r *http.Request) {
	if s.modern {
		http.Error(w, "no GET", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	s.hold(w, r, r.Header.Get("Mcp-Session-Id"))
}

// hold writes what is said in a session until its client has gone.
func (s *script) hold(w http.ResponseWriter, r *http.Request, session string) {
	own := make(chan string, 16)
	s.mu.Lock()
	s.streams = append(s.streams, stream{session, own})
	s.mu.Unlock()
	w.(http.Flusher).Flush() // nobody posts before it is there
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams = slices.DeleteFunc(s.streams, func(x stream) bool { return x.out == own })
	}()
	for {
		select {
		case m := <-own:
			fmt.Fprintf(w, "data: %s\n\n", m)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// pushes says something on every open stream, or on that of the session of the
// last message alone, once there are as many as that.
func (s *script) pushes(message string, least int, last bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		s.mu.Lock()
		told := 0
		if len(s.streams) >= least {
			for _, x := range s.streams {
				if !last || x.session == s.last {
					x.out <- message
					told++
				}
			}
		}
		s.mu.Unlock()
		if told > 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("nobody listens to the server")
		}
	}
}

// gets returns the next message, which must come soon.
func (s *script) gets() *incoming {
	s.t.Helper()
	select {
	case in := <-s.got:
		return in
	case <-time.After(patience):
		s.t.Fatal("the server got nothing")
		return nil
	}
}

// sends says something in answer to a message.
func (in *incoming) sends(t testing.TB, body string, status int) {
	t.Helper()
	select {
	case in.out <- outgoing{body, status}:
	case <-time.After(patience):
		t.Fatalf("nobody waits for %s", body)
	}
}

func respond(w http.ResponseWriter, id json.RawMessage, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}
