package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/gateway"
	"headgate/internal/gateway/eras"
	"headgate/internal/id"
	"headgate/internal/netguard"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/seal"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
	"headgate/internal/upstream/wire"
)

// house is the Gateway over real services and a real store, with one
// organization, its owner and its key.
type house struct {
	t         testing.TB
	store     *db.Store
	keys      *seal.Keys
	find      rest.Credentials
	apikeys   *apikey.Service
	catalog   *catalog.Catalog
	resolver  *catalog.Resolver
	hub       *upstream.Hub
	eras      *eras.Translator
	credits   *credit.Service
	calls     *call.Service
	gateway   *gateway.Gateway
	now       func() time.Time
	tenant    string
	org       string
	workspace string
	account   string
	owner     *access.Principal
	key       string
	url       string // without /mcp
	terms     call.Terms
	ahead     atomic.Int64 // how far the clock is
}

type houseOption func(*houseOptions)

type houseOptions struct {
	store   *db.Store
	credits int64
	blind   bool // nothing is stored
	gateway func(*gateway.Options)
	hub     func(*upstream.Options)
}

func newHouse(t testing.TB, change ...houseOption) *house {
	t.Helper()
	o := houseOptions{credits: 1_000_000, gateway: func(*gateway.Options) {}, hub: func(*upstream.Options) {}}
	for _, c := range change {
		c(&o)
	}
	if o.store == nil {
		o.store = testkit.SQLite(t)
	}
	h := &house{t: t, store: o.store, terms: call.Terms{Rate: quota.Limit{PerMinute: 10_000_000, Burst: 1_000_000}, PerDay: quota.Unlimited, BodyPolicy: "metadata"}}
	for _, p := range apikey.Prefixes() {
		h.find.Prefixes = append(h.find.Prefixes, p.Text)
	}
	h.now = func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	var err error
	h.keys, _, err = seal.Generate()
	testkit.Must0(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	h.apikeys = apikey.New(h.store, h.keys, apikey.Options{Now: h.now, Log: log})
	h.credits = credit.New(h.store, h.now)
	guard := netguard.New(netguard.Policy{Loopback: true})
	h.catalog = catalog.New(catalog.Options{Store: h.store, Keys: h.keys, Guard: guard, Now: h.now})
	h.resolver = catalog.NewResolver(h.store, h.keys)
	pairs := upstream.NewPairs(guard.DialContext, wire.Options{})
	t.Cleanup(pairs.Close)
	ho := upstream.Options{Binder: h.resolver, Dial: guard.DialContext, Version: "test", Log: log, Now: h.now, Resume: 10 * time.Millisecond,
		Channels: map[catalog.Transport]upstream.Channel{catalog.SSE: pairs, catalog.Builtin: upstream.Builtins{demo.Name: demo.Handler("test", h.now)}}}
	o.hub(&ho)
	h.hub = upstream.NewHub(ho)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.hub.Close(ctx)
	})
	h.eras = eras.New(h.hub, h.keys, h.now)
	h.calls = h.callsBy(h.store, h.eras, o.blind)
	h.found(o.credits)
	h.gateway, h.url = h.open(o.gateway)
	return h
}

// callsBy is a call service over a store, by a way to the servers.
func (h *house) callsBy(store *db.Store, up *eras.Translator, blind bool) *call.Service {
	log := slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	credits := h.credits
	if store != h.store {
		credits = credit.New(store, h.now)
	}
	committer := call.NewCommitter(store, credits, log)
	if blind {
		committer.Blind()
	}
	return call.New(call.Options{Credits: credits, Committer: committer, Bodies: activity.NewBodies(store, "", log), Upstream: up,
		Limiter: quota.NewLimiter[string](1000, h.now), Daily: quota.New(store, h.now, log), Value: 100, Now: h.now, Log: log,
		Terms: func(context.Context, string) (call.Terms, error) { return h.terms, nil }})
}

// open starts a Gateway over the house's services, as a restart would.
func (h *house) open(change func(*gateway.Options)) (*gateway.Gateway, string) {
	h.t.Helper()
	o := gateway.Options{Authenticate: h.authenticate, Workspace: h.workspaceOf, Resolver: h.resolver, Hub: h.hub, Upstream: h.eras, Calls: h.calls, Keys: h.keys, Version: "test", Now: h.now, Linger: 2 * time.Second,
		Allow: func(context.Context, *access.Principal) error { return nil }, Log: slog.New(slog.DiscardHandler)}
	change(&o)
	g := gateway.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		<-done
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeHTTP(w, r.WithContext(request.With(r.Context(), request.Info{ID: id.New("req")})))
	}))
	h.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return g, server.URL
}

func (h *house) authenticate(r *http.Request) (*access.Principal, error) {
	c, err := h.find.Find(r)
	if err != nil {
		return nil, err
	}
	if c.Scheme == rest.NoScheme {
		return nil, rest.ErrNoCredential
	}
	return h.apikeys.Authenticate(r.Context(), c.Value, request.ClientAddr(r.Context()))
}

func (h *house) workspaceOf(ctx context.Context, by *access.Principal, name string) (string, error) {
	if name == "" && by.Organization == h.org {
		return h.workspace, nil
	}
	ws, err := db.Value[string](ctx, h.store, `SELECT id FROM workspaces WHERE organization_id = $1 AND (slug = $2 OR id = $2)`, by.Organization, name)
	if err != nil {
		return "", catalog.ErrWorkspaceNotFound
	}
	return ws, nil
}

// found makes the organization.
func (h *house) found(credits int64) {
	h.t.Helper()
	h.tenant = id.New("ten")
	h.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, $1, 'T', 0)`, h.tenant)
	h.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, $1, 'P', 60, 10, 0, '{}', 0)`, h.tenant)
	h.org, h.workspace, h.account, h.owner = h.organization(credits)
	h.key = h.mint(h.owner, access.Every)
}

// organization makes one with its default workspace, account and owner.
func (h *house) organization(credits int64) (org, workspace, account string, owner *access.Principal) {
	h.t.Helper()
	org, workspace = id.New("org"), id.New("ws")
	h.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, $1, 'O', $3, $2, 'full', 0)`, org, h.tenant, h.org == "")
	h.exec(`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'default', 'Default', TRUE, 'online', 'builtin', 1, 0, 0)`, workspace, org)
	testkit.Must0(h.t, h.store.Tx(context.Background(), func(tx *db.Tx) error {
		a, err := h.credits.Open(context.Background(), tx, credit.Spec{Organization: org, Purchased: credits, Tier: "free"})
		account = a.ID
		return err
	}))
	user := id.New("user")
	h.exec(`INSERT INTO users (id, pool, email, first_name, last_name, created_at) VALUES ($1, 'platform', $1, 'A', 'B', 0)`, user)
	h.exec(`INSERT INTO memberships (organization_id, user_id, role, active, created_at, updated_at) VALUES ($1, $2, 'owner', TRUE, 0, 0)`, org, user)
	return org, workspace, account, &access.Principal{Kind: access.Session, ID: id.New("ses"), User: user, Tenant: h.tenant, Organization: org, Role: access.Owner, Scopes: access.Every}
}

func (h *house) exec(text string, args ...any) {
	h.t.Helper()
	testkit.Must(db.Exec(context.Background(), h.store, text, args...))(h.t)
}

// mint makes a personal key.
func (h *house) mint(by *access.Principal, scopes access.Scopes) string {
	h.t.Helper()
	_, v, err := h.apikeys.Create(context.Background(), by, apikey.Spec{Kind: access.PersonalKey, Organization: by.Organization, User: by.User, Name: "test", Scopes: scopes})
	testkit.Must0(h.t, err)
	return v.Reveal()
}

// serve registers a server at a URL.
func (h *house) serve(slug, url string, change ...func(*catalog.ServerInput)) *catalog.ServerDetail {
	h.t.Helper()
	in := catalog.ServerInput{Workspace: h.workspace, ServiceInput: catalog.ServiceInput{Slug: slug, Name: slug, URL: url, Transport: catalog.HTTP, Timeout: 10 * time.Second}}
	for _, c := range change {
		c(&in)
	}
	by := *h.owner
	if in.Transport == catalog.Builtin { // which only Headgate itself may register
		by = access.Principal{Kind: access.System, ID: "headgate", Organization: h.org, Tenant: h.tenant, Role: access.Owner, Scopes: access.Every}
	}
	return testkit.Must(h.catalog.CreateServer(context.Background(), &by, in))(h.t)
}

// demo registers the built-in server.
func (h *house) demo() {
	h.t.Helper()
	h.serve("demo", demo.Name, func(in *catalog.ServerInput) { in.Transport = catalog.Builtin })
}

// raw starts a raw upstream and registers it.
func (h *house) raw(slug string, o rawmcp.Options, change ...func(*catalog.ServerInput)) *rawmcp.Server {
	h.t.Helper()
	s := testkit.Must(rawmcp.Listen(o))(h.t)
	h.t.Cleanup(s.Close)
	h.serve(slug, s.URL(), change...)
	return s
}

// balance is what the organization's account holds, holds in flight taken off.
func (h *house) balance() int64 {
	h.t.Helper()
	return testkit.Must(h.credits.Get(context.Background(), h.account))(h.t).Balance()
}

// lines returns the error codes of the calls logged, "" for success, oldest first.
func (h *house) lines() []string {
	h.t.Helper()
	return testkit.Must(db.All(context.Background(), h.store, func(s *string) []any { return []any{(*db.Text)(s)} },
		`SELECT error_code FROM calls WHERE organization_id = $1 ORDER BY id`, h.org))(h.t)
}

// reply is an HTTP answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// send makes an HTTP request with the house's key. Headers are "Name: value";
// a name alone takes the header away.
func (h *house) send(method, path, body string, headers ...string) reply {
	h.t.Helper()
	return h.do(h.request(context.Background(), method, path, body, headers...))
}

func (h *house) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	h.t.Helper()
	r := testkit.Must(http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body)))(h.t)
	if body == "" {
		r.Body = nil
	}
	r.Header.Set("Authorization", "Bearer "+h.key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for _, line := range headers {
		name, value, ok := strings.Cut(line, ": ")
		switch {
		case !ok:
			r.Header.Del(name)
		case r.Header.Get(name) != "" && name == "Mcp-Name":
			r.Header.Add(name, value)
		default:
			r.Header.Set(name, value)
		}
	}
	return r
}

func (h *house) do(r *http.Request) reply {
	h.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	testkit.Must0(h.t, err)
	defer resp.Body.Close()
	b := testkit.Must(io.ReadAll(resp.Body))(h.t)
	return reply{resp.StatusCode, resp.Header, string(b)}
}

func priced(credits int64) func(*catalog.ServerInput) {
	return func(in *catalog.ServerInput) { in.Price = &credits }
}

func decode(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
}
