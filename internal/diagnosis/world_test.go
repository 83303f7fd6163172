package diagnosis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/id"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// world is an organization with a workspace, and the service over it.
type world struct {
	*diagnosis.Service
	t                      testing.TB
	store                  *db.Store
	clock                  *clock
	catalog                *catalog.Catalog
	resolver               *catalog.Resolver
	hub                    *upstream.Hub
	by                     *access.Principal // a developer
	tenant, org, workspace string
}

var loopback = netguard.New(netguard.Policy{Loopback: true})

func newWorld(t testing.TB, store *db.Store, change ...func(*diagnosis.Options)) *world {
	t.Helper()
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	w := &world{t: t, store: store, clock: &clock{}, tenant: id.New("ten"), org: id.New("org"), workspace: id.New("ws")}
	w.clock.ms.Store(time.Now().UnixMilli())
	w.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, $1, 'T', 0)`, w.tenant)
	w.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, $1, 'P', 60, 10, 0, '{}', 0)`, w.tenant)
	w.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, $1, 'O', TRUE, $2, 'full', 0)`, w.org, w.tenant)
	w.exec(`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'default', 'Default', TRUE, 'online', 'builtin', 1, 0, 0)`, w.workspace, w.org)
	w.by = &access.Principal{Kind: access.Session, ID: id.New("ses"), User: id.New("user"), Tenant: w.tenant, Organization: w.org, Workspace: w.workspace, Role: access.Developer, Scopes: access.Every}
	w.exec(`INSERT INTO users (id, pool, email, first_name, last_name, created_at) VALUES ($1, 'platform', $1, 'A', 'B', 0)`, w.by.User)
	w.catalog = catalog.New(catalog.Options{Store: store, Keys: keys, Guard: loopback, Now: w.clock.Now})
	w.resolver = catalog.NewResolver(store, keys)
	o := diagnosis.Options{Store: store, Guard: loopback, Binder: w.resolver, Resolver: w.resolver, Now: w.clock.Now}
	for _, c := range change {
		c(&o)
	}
	w.hub = upstream.NewHub(upstream.Options{Binder: o.Binder, Dial: loopback.DialContext,
		Channels: map[catalog.Transport]upstream.Channel{catalog.Builtin: upstream.Builtins{demo.Name: demo.Handler("1", w.clock.Now)}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.hub.Close(ctx)
	})
	o.Hub = w.hub
	w.Service = diagnosis.New(o)
	return w
}

func (w *world) exec(text string, args ...any) {
	w.t.Helper()
	testkit.Must(db.Exec(context.Background(), w.store, text, args...))(w.t)
}

// register registers a server by its URL, with headers.
func (w *world) register(slug, url string, headers map[string]string) *catalog.Server {
	w.t.Helper()
	d := testkit.Must(w.catalog.CreateServer(context.Background(), w.by, catalog.ServerInput{Workspace: w.workspace,
		ServiceInput: catalog.ServiceInput{Slug: slug, Name: slug, URL: url, Headers: headers}}))(w.t)
	return w.server(d.ID)
}

func (w *world) server(id string) *catalog.Server {
	w.t.Helper()
	ws := testkit.Must(w.resolver.Workspace(context.Background(), w.org, w.workspace))(w.t)
	s, ok := ws.Server(id)
	if !ok {
		w.t.Fatalf("no server %s", id)
	}
	return s
}

func (w *world) doctor(s *catalog.Server) *diagnosis.Report {
	w.t.Helper()
	return testkit.Must(w.Doctor(w.t.Context(), w.by, s))(w.t)
}

// message is a JSON-RPC request as scripts read it.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Cursor string `json:"cursor"`
		Meta   struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	} `json:"params"`
}

// script is an MCP server of the old era, well-behaved until told otherwise.
type script struct {
	*httptest.Server
	mu      sync.Mutex
	results map[string]string // by method; the result
	hooks   map[string]func(http.ResponseWriter, *http.Request, message) bool
	all     func(http.ResponseWriter, *http.Request) bool
	calls   map[string]int
}

func newScript(t testing.TB) *script {
	s := &script{calls: map[string]int{}, hooks: map[string]func(http.ResponseWriter, *http.Request, message) bool{}, results: map[string]string{
		"initialize":               `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{},"prompts":{}},"serverInfo":{"name":"script","version":"1"}}`,
		"ping":                     `{}`,
		"tools/list":               `{"tools":[{"name":"look","description":"Looks.","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]}`,
		"resources/list":           `{"resources":[{"uri":"a://b","name":"b"}]}`,
		"resources/templates/list": `{"resourceTemplates":[]}`,
		"prompts/list":             `{"prompts":[{"name":"p"}]}`,
	}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *script) set(method, result string) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[method] = result
	return s
}

func (s *script) on(method string, hook func(http.ResponseWriter, *http.Request, message) bool) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[method] = hook
	return s
}

func (s *script) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	if s.all != nil && s.all(w, r) {
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
	var m message
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
		respond(w, m.ID, result)
	default:
		fail(w, 200, m.ID, -32601, "Method not found")
	}
}

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // else the server does not see it go
	<-r.Context().Done()
	return true
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

// dead returns a URL on which nobody listens.
func dead(t testing.TB) string {
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	url := "http://" + l.Addr().String() + "/mcp"
	testkit.Must0(t, l.Close())
	return url
}

func findings(r *diagnosis.Report) map[string]diagnosis.Finding {
	m := map[string]diagnosis.Finding{}
	for _, f := range r.Findings {
		m[f.ID] = f
	}
	return m
}
