package oauthserver

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Server is an authorization server.
type Server struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	access   map[string]string // token to resource
	refresh  map[string]string
	asked    int // refreshes
	clients  map[string]string
	Lifetime int                                           // expires_in of new tokens, in seconds; 3600 when 0
	Metadata func(map[string]any)                          // changes the metadata
	OnToken  func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

// New starts an authorization server.
func New(t testing.TB) *Server {
	s := &Server{t: t, access: map[string]string{}, refresh: map[string]string{}, clients: map[string]string{"client": "secret"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this client is not known", http.StatusBadRequest)
	})
	mux.HandleFunc("POST /token", s.token)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"registration_endpoint": s.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
		"client_id_metadata_document_supported": true, "authorization_response_iss_parameter_supported": true,
		"scopes_supported": []string{"mcp"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
	}
	if s.Metadata != nil {
		s.Metadata(m)
	}
	write(w, http.StatusOK, m)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if s.OnToken != nil && s.OnToken(w, r) {
		return
	}
	s.mu.Lock()
	if r.FormValue("grant_type") == "refresh_token" {
		s.asked++
	}
	resource, ok := s.refresh[r.FormValue("refresh_token")]
	delete(s.refresh, r.FormValue("refresh_token"))
	s.mu.Unlock()
	if !ok || r.FormValue("grant_type") != "refresh_token" || r.FormValue("client_id") != "client" {
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	access, refresh := s.Grant(resource)
	write(w, http.StatusOK, map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": s.lifetime()})
}

func (s *Server) lifetime() int {
	if s.Lifetime != 0 {
		return s.Lifetime
	}
	return 3600
}

// Grant makes a pair of tokens for a resource.
func (s *Server) Grant(resource string) (access, refresh string) {
	access, refresh = "at-"+rand.Text(), "rt-"+rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access[access], s.refresh[refresh] = resource, resource
	return access, refresh
}

// Revoke makes every access token bad; refresh tokens stay good.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

// Refreshes counts the requests for new tokens.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Resource is a protected MCP server.
type Resource struct {
	*httptest.Server
	URL string // of the MCP endpoint

	mu   sync.Mutex
	seen []string // access tokens that were accepted
}

// Protect serves a handler at /mcp to whoever brings a token of s.
func (s *Server) Protect(h http.Handler) *Resource {
	r := &Resource{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]any{"resource": r.URL, "authorization_servers": []string{s.URL}, "scopes_supported": []string{"mcp"}})
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, q *http.Request) {
		token := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		resource, ok := s.access[token]
		s.mu.Unlock()
		if !ok || resource != r.URL {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+r.Server.URL+`/.well-known/oauth-protected-resource/mcp", scope="mcp"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		r.mu.Lock()
		r.seen = append(r.seen, token)
		r.mu.Unlock()
		h.ServeHTTP(w, q)
	})
	r.Server = httptest.NewServer(mux)
	r.URL = r.Server.URL + "/mcp"
	s.t.Cleanup(r.Close)
	return r
}

// Seen returns the tokens that were accepted.
func (r *Resource) Seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
