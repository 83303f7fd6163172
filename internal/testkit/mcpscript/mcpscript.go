package mcpscript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Message is a request as scripts read it.
type Message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Cursor string `json:"cursor"`
		Meta   struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	} `json:"params"`
}

// Server is one, well-behaved until told otherwise.
type Server struct {
	*httptest.Server
	mu      sync.Mutex
	results map[string]string // by method; the result
	hooks   map[string]func(http.ResponseWriter, *http.Request, Message) bool
	All     func(http.ResponseWriter, *http.Request) bool // sees every request first; true: it has answered
	calls   map[string]int
}

// New starts one, until the test ends.
func New(t testing.TB) *Server {
	s := &Server{calls: map[string]int{}, hooks: map[string]func(http.ResponseWriter, *http.Request, Message) bool{}, results: map[string]string{
		"initialize":               `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{},"prompts":{}},"serverInfo":{"name":"script","version":"1"}}`,
		"ping":                     `{}`,
		"tools/list":               `{"tools":[{"name":"look","title":"Look","description":"Looks.","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]}`,
		"resources/list":           `{"resources":[{"uri":"a://b","name":"b"}]}`,
		"resources/templates/list": `{"resourceTemplates":[]}`,
		"prompts/list":             `{"prompts":[{"name":"p"}]}`,
	}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// Set changes the result of a method.
func (s *Server) Set(method, result string) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[method] = result
	return s
}

// Drop makes a method unknown.
func (s *Server) Drop(method string) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.results, method)
	return s
}

// On lets a hook answer a method; false leaves it to the script.
func (s *Server) On(method string, hook func(http.ResponseWriter, *http.Request, Message) bool) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[method] = hook
	return s
}

// OnBody is On for a hook that reads the whole params.
func (s *Server) OnBody(method string, hook func(http.ResponseWriter, *http.Request, Message, json.RawMessage) bool) *Server {
	return s.On(method, func(w http.ResponseWriter, r *http.Request, m Message) bool {
		var p struct {
			Params json.RawMessage `json:"params"`
		}
		_ = json.NewDecoder(r.Body).Decode(&p)
		return hook(w, r, m, p.Params)
	})
}

// Count returns how often a method was asked.
func (s *Server) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.All != nil && s.All(w, r) {
		return
	}
	if r.Header.Get("Origin") != "" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m Message
	_ = json.Unmarshal(body, &m)
	s.mu.Lock()
	s.calls[m.Method]++
	result, known := s.results[m.Method]
	hook := s.hooks[m.Method]
	s.mu.Unlock()
	switch {
	case hook != nil && hook(w, r, m):
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
	case known:
		Respond(w, m.ID, result)
	default:
		Fail(w, 200, m.ID, -32601, "Method not found")
	}
}

// Hang answers nothing until the client has gone.
func Hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // else the server does not see it go
	<-r.Context().Done()
	return true
}

// Respond answers a request.
func Respond(w http.ResponseWriter, id json.RawMessage, result string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

// Fail answers a request with an error.
func Fail(w http.ResponseWriter, status int, id json.RawMessage, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%q}}`, id, code, text)
}
