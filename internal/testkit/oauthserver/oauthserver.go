package oauthserver

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Server is an authorization server.
type Server struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	access  map[string]token
	refresh map[string]token
	codes   map[string]code
	clients map[string]client
	asked   int // refreshes

	Lifetime    int                                           // expires_in of new tokens, in seconds; 3600 when 0
	Metadata    func(map[string]any)                          // changes the metadata
	OnToken     func(http.ResponseWriter, *http.Request) bool // true: it has answered
	OnAuthorize func(q, answer url.Values)                    // sees the request, changes the redirect's parameters
	OnRegister  func(http.ResponseWriter, *http.Request) bool // true: it has answered
	Grants      func(scope string) string                     // what is granted of it; all when nil
	Documents   []string                                      // of clients: their URLs, each taken for read
}

type token struct{ resource, scope string }

type code struct {
	token
	client, redirect, challenge string
}

// client is a registered client. Its method is how it must show who it is.
type client struct{ secret, method, redirect string }

// New starts an authorization server. It knows the client "client" with the
// secret "secret".
func New(t testing.TB) *Server {
	s := &Server{t: t, access: map[string]token{}, refresh: map[string]token{}, codes: map[string]code{},
		clients: map[string]client{"client": {secret: "secret"}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /register", s.register)
	mux.HandleFunc("POST /token", s.token)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *Server) described() map[string]any {
	m := map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"registration_endpoint": s.URL + "/register", "code_challenge_methods_supported": []string{"S256"},
		"client_id_metadata_document_supported": true, "authorization_response_iss_parameter_supported": true,
		"scopes_supported": []string{"mcp"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
	}
	if s.Metadata != nil {
		s.Metadata(m)
	}
	return m
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, s.described())
}

// register registers a client that shows who it is as it asks to, by HTTP Basic
// when it asks for nothing.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	if s.OnRegister != nil && s.OnRegister(w, r) {
		return
	}
	var in struct {
		Redirects []string `json:"redirect_uris"`
		Method    string   `json:"token_endpoint_auth_method"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Redirects) != 1 {
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_redirect_uri"})
		return
	}
	id, c := "client-"+rand.Text(), client{method: in.Method, redirect: in.Redirects[0]}
	out := map[string]any{"client_id": id, "redirect_uris": in.Redirects, "token_endpoint_auth_method": in.Method}
	if in.Method != "none" {
		c.secret = "cs-" + rand.Text()
		out["client_secret"] = c.secret
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[id] = c
	write(w, http.StatusCreated, out)
}

// authorize sends a person back who has agreed to everything.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	c, known := s.clients[q.Get("client_id")]
	s.mu.Unlock()
	document := slices.Contains(s.Documents, q.Get("client_id"))
	to, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || to.Host == "" || !known && !document || c.redirect != "" && c.redirect != to.String() {
		http.Error(w, "who is that?", http.StatusBadRequest) // and no redirect: it may be anybody's
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {s.described()["issuer"].(string)}}
	if q.Get("response_type") != "code" || q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" || q.Get("resource") == "" {
		answer.Set("error", "invalid_request")
	} else {
		scope := q.Get("scope")
		if s.Grants != nil {
			scope = s.Grants(scope)
		}
		answer.Set("code", "code-"+rand.Text())
		s.mu.Lock()
		s.codes[answer.Get("code")] = code{token{q.Get("resource"), scope}, q.Get("client_id"), to.String(), q.Get("code_challenge")}
		s.mu.Unlock()
	}
	if s.OnAuthorize != nil {
		s.OnAuthorize(q, answer)
	}
	to.RawQuery = answer.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if s.OnToken != nil && s.OnToken(w, r) {
		return
	}
	id, ok := s.shown(r)
	if !ok {
		write(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	var t token
	switch r.FormValue("grant_type") {
	case "authorization_code":
		t, ok = s.spend(r, id)
	case "refresh_token":
		s.mu.Lock()
		s.asked++
		t, ok = s.refresh[r.FormValue("refresh_token")]
		delete(s.refresh, r.FormValue("refresh_token"))
		s.mu.Unlock()
	case "client_credentials":
		t = token{r.FormValue("resource"), r.FormValue("scope")}
		access, _ := s.issue(t, false)
		write(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": s.lifetime(), "scope": t.scope})
		return
	default:
		write(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	if !ok {
		write(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	access, refresh := s.issue(t, true)
	write(w, http.StatusOK, map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": s.lifetime(), "scope": t.scope})
}

// shown returns the client of a request that shows who it is in its own way.
func (s *Server) shown(r *http.Request) (id string, ok bool) {
	method, secret := "none", ""
	id = r.FormValue("client_id")
	if user, pass, basic := r.BasicAuth(); basic {
		id, _ = url.QueryUnescape(user)
		secret, _ = url.QueryUnescape(pass)
		method = "client_secret_basic"
	} else if secret = r.FormValue("client_secret"); secret != "" {
		method = "client_secret_post"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.clients[id]
	if slices.Contains(s.Documents, id) {
		return id, method == "none"
	}
	return id, known && secret == c.secret && (c.method == "" || c.method == method)
}

// spend takes a code, once.
func (s *Server) spend(r *http.Request, id string) (token, bool) {
	s.mu.Lock()
	c, ok := s.codes[r.FormValue("code")]
	delete(s.codes, r.FormValue("code"))
	s.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	return c.token, ok && c.client == id && c.redirect == r.FormValue("redirect_uri") && c.resource == r.FormValue("resource") &&
		c.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *Server) lifetime() int {
	if s.Lifetime != 0 {
		return s.Lifetime
	}
	return 3600
}

// Grant makes a pair of tokens for a resource.
func (s *Server) Grant(resource string) (access, refresh string) {
	return s.issue(token{resource: resource}, true)
}

func (s *Server) issue(t token, renewable bool) (access, refresh string) {
	access, refresh = "at-"+rand.Text(), "rt-"+rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access[access] = t
	if renewable {
		s.refresh[refresh] = t
	}
	return access, refresh
}

// Revoke makes every access token bad; refresh tokens stay good.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
}

// RevokeAll makes every token bad.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.refresh)
}

// Refreshes counts the requests for new tokens with a refresh token.
func (s *Server) Refreshes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Clients counts the clients.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// Resource is a protected MCP server.
type Resource struct {
	*httptest.Server
	URL string // of the MCP endpoint

	Metadata func(map[string]any)             // changes the metadata
	Needs    func(body map[string]any) string // the scope that a message needs; none when nil

	mu   sync.Mutex
	seen []string // access tokens that were accepted
}

// Protect serves a handler at /mcp to whoever brings a token of s.
func (s *Server) Protect(h http.Handler) *Resource {
	r := &Resource{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{"resource": r.URL, "authorization_servers": []string{s.URL}, "scopes_supported": []string{"mcp"}}
		if r.Metadata != nil {
			r.Metadata(m)
		}
		write(w, http.StatusOK, m)
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, q *http.Request) {
		bearer := strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		t, ok := s.access[bearer]
		s.mu.Unlock()
		challenge := `Bearer resource_metadata="` + r.Server.URL + `/.well-known/oauth-protected-resource/mcp"`
		if !ok || t.resource != r.URL {
			w.Header().Set("WWW-Authenticate", challenge+`, scope="mcp"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		if scope := r.needs(q); scope != "" && !slices.Contains(strings.Fields(t.scope), scope) {
			w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+scope+`"`)
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		r.mu.Lock()
		r.seen = append(r.seen, bearer)
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

// needs returns the scope that a request needs, and leaves its body whole.
func (r *Resource) needs(q *http.Request) string {
	if r.Needs == nil || q.Method != http.MethodPost {
		return ""
	}
	text, err := io.ReadAll(q.Body)
	q.Body = io.NopCloser(bytes.NewReader(text))
	var body map[string]any
	if err != nil || json.Unmarshal(text, &body) != nil {
		return ""
	}
	return r.Needs(body)
}
