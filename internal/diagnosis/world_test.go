package diagnosis_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/report"
	"headgate/internal/id"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
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

func (w *world) doctor(s *catalog.Server) *report.Report {
	w.t.Helper()
	return testkit.Must(w.Doctor(w.t.Context(), w.by, s, false))(w.t)
}

// The script server, under the names these tests use.
type message = mcpscript.Message

var newScript, respond, fail, hang = mcpscript.New, mcpscript.Respond, mcpscript.Fail, mcpscript.Hang

// dead is a URL on which nobody listens: systems give away higher ports.
const dead = "http://127.0.0.1:20001/mcp"

func findings(r *report.Report) map[string]report.Finding {
	m := map[string]report.Finding{}
	for _, f := range r.Findings {
		m[f.ID] = f
	}
	return m
}
