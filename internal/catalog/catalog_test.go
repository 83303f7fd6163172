package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

// house is a catalog with a home organization and a customer's.
type house struct {
	*catalog.Catalog
	store     *db.Store
	resolver  *catalog.Resolver
	home      *access.Principal
	customer  *access.Principal
	operator  *access.Principal
	limit     int64
	unlimited bool
	asked     int   // how often somebody wanted to touch a secret
	deny      error // what they are told
}

func newHouse(t *testing.T, s *db.Store) *house {
	t.Helper()
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	h := &house{store: s, unlimited: true}
	tenant, plan := id.New("ten"), id.New("plan")
	exec := func(text string, args ...any) {
		t.Helper()
		testkit.Must(db.Exec(t.Context(), s, text, args...))(t)
	}
	exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, 't', 'T', 1)`, tenant)
	exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, 'p', 'P', 1, 1, 0, '[]', 1)`, plan)
	member := func(slug string, home bool) *access.Principal {
		org, ws := id.New("org"), id.New("ws")
		exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, $3, $3, $4, $5, 'full', 1)`, org, tenant, slug, home, plan)
		exec(`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'default', 'Default', TRUE, 'active', '', 0, 1, 1)`, ws, org)
		return &access.Principal{Kind: access.Session, ID: "s", Tenant: tenant, Organization: org, Workspace: ws, User: id.New("user"), Role: access.Owner, Scopes: access.Every}
	}
	h.home, h.customer = member("home", true), member("customer", false)
	h.operator = &access.Principal{Kind: access.OperatorKey, ID: "op"}
	h.Catalog = catalog.New(catalog.Options{Store: s, Keys: keys, Guard: netguard.NewWithResolver(netguard.Policy{}, func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no names here") }),
		Limit: func(context.Context, db.Querier, string) (int64, bool, error) { return h.limit, !h.unlimited, nil },
		Ask:   func(context.Context, db.Querier, *access.Principal) error { h.asked++; return h.deny }})
	h.resolver = catalog.NewResolver(s, keys)
	return h
}

func ptr[T any](v T) *T { return &v }

func service(slug string) catalog.ServiceInput {
	return catalog.ServiceInput{Slug: slug, URL: "https://mcp.example.com/mcp"}
}

func server(slug string) catalog.ServerInput { return catalog.ServerInput{ServiceInput: service(slug)} }

func each(t *testing.T, test func(t *testing.T, h *house)) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) { test(t, newHouse(t, s)) })
}

func TestServers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		in := server("weather")
		in.Headers = map[string]string{"Authorization": "Bearer hunter2"}
		d := testkit.Must(h.CreateServer(ctx, h.home, in))(t)

		t.Run("registering one creates its private service", func(t *testing.T) {
			s := testkit.Must(h.GetService(ctx, h.home, d.Service.ID))(t)
			if !s.Private || !s.Configured || s.Price != catalog.DefaultPrice || s.ReadPrice != 0 || !s.ChargeRejected || s.Version != "1.0.0" {
				t.Errorf("got %+v", s)
			}
		})
		t.Run("no read and no column shows a header's value", func(t *testing.T) {
			got := testkit.Must(h.GetServer(ctx, h.home, d.ID))(t)
			text := string(testkit.Must(json.Marshal(got))(t))
			if strings.Contains(text, "hunter2") || got.Service.HeaderNames[0] != "Authorization" {
				t.Errorf("shown: %s", text)
			}
			sealed := testkit.Must(db.Value[[]byte](ctx, h.store, `SELECT headers FROM services WHERE id=$1`, d.Service.ID))(t)
			if strings.Contains(string(sealed), "hunter2") {
				t.Error("stored in the clear")
			}
		})
		t.Run("its slug is taken in the workspace, and free after removal", func(t *testing.T) {
			_, err := h.CreateServer(ctx, h.home, server("weather"))
			testkit.Fault(t, err, "catalog.slug_taken")
			other := testkit.Must(h.CreateServer(ctx, h.customer, server("weather")))(t)
			testkit.Must0(t, h.DeleteServer(ctx, h.customer, other.ID))
			testkit.Must(h.CreateServer(ctx, h.customer, server("weather")))(t)
		})
		t.Run("another organization's is not there", func(t *testing.T) {
			_, err := h.GetServer(ctx, h.customer, d.ID)
			testkit.Fault(t, err, "catalog.server_not_found")
			_, err = h.UpdateServer(ctx, h.customer, d.ID, catalog.ServerChange{Enabled: ptr(false)})
			testkit.Fault(t, err, "catalog.server_not_found")
			testkit.Fault(t, h.DeleteServer(ctx, h.customer, d.ID), "catalog.server_not_found")
			_, err = h.GetService(ctx, h.customer, d.Service.ID)
			testkit.Fault(t, err, "catalog.service_not_found")
			_, err = h.UpdateService(ctx, h.customer, d.Service.ID, catalog.ServiceChange{Name: ptr("x")})
			testkit.Fault(t, err, "catalog.service_not_found")
			_, err = h.ListServers(ctx, h.customer, h.home.Workspace)
			testkit.Fault(t, err, "catalog.workspace_not_found")
			_, err = h.resolver.Workspace(ctx, h.customer.Organization, h.home.Workspace)
			testkit.Fault(t, err, "catalog.workspace_not_found")
		})
		t.Run("a workspace key sees its own workspace only", func(t *testing.T) {
			key := *h.home
			key.Kind, key.Workspace = access.WorkspaceKey, id.New("ws")
			_, err := h.GetServer(ctx, &key, d.ID)
			testkit.Fault(t, err, "catalog.server_not_found")
			_, err = h.ListServers(ctx, &key, h.home.Workspace)
			testkit.Fault(t, err, "catalog.workspace_not_found")
		})
		t.Run("every change is in the trail", func(t *testing.T) {
			testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{Enabled: ptr(false)}))(t)
			testkit.Must0(t, h.DeleteServer(ctx, h.home, d.ID))
			got := testkit.Must(db.All(ctx, h.store, func(s *string) []any { return []any{s} }, `SELECT action FROM events WHERE target_id=$1 ORDER BY seq`, d.ID))(t)
			testkit.Equal(t, got, []string{"server.create", "server.update", "server.remove"})
			details := testkit.Must(db.Value[string](ctx, h.store, `SELECT details FROM events WHERE target_id=$1 AND action='server.create'`, d.ID))(t)
			if strings.Contains(details, "hunter2") {
				t.Error("the trail holds a secret")
			}
		})
		t.Run("removing it removes its service", func(t *testing.T) {
			_, err := h.GetService(ctx, h.home, d.Service.ID)
			testkit.Fault(t, err, "catalog.service_not_found")
		})
	})
}

func TestInputRules(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	for _, c := range []struct {
		name, code string
		change     func(in *catalog.ServerInput)
	}{
		{"an upper-case slug", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "Weather" }},
		{"an underscore in a slug", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "a_b" }},
		{"a hyphen first", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "-a" }},
		{"33 characters", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = strings.Repeat("a", 33) }},
		{"the reserved w", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "w" }},
		{"the reserved t", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "t" }},
		{"a program", "catalog.command", func(in *catalog.ServerInput) { in.Transport = catalog.Stdio }},
		{"a builtin by a tenant", "catalog.transport", func(in *catalog.ServerInput) { in.Transport = catalog.Builtin }},
		{"a metadata address", "netguard.blocked", func(in *catalog.ServerInput) { in.URL = "http://169.254.169.254/mcp" }},
		{"a file", "netguard.bad_url", func(in *catalog.ServerInput) { in.URL = "file:///etc/passwd" }},
		{"a password in the URL", "netguard.bad_url", func(in *catalog.ServerInput) { in.URL = "https://a:b@example.com/" }},
		{"a second line in a header", "netguard.bad_header", func(in *catalog.ServerInput) { in.Headers = map[string]string{"X-A": "a\r\nHost: b"} }},
		{"the Host header", "netguard.bad_header", func(in *catalog.ServerInput) { in.Headers = map[string]string{"host": "b"} }},
		{"a template of an undeclared field", "catalog.bad_header", func(in *catalog.ServerInput) { in.Headers = map[string]string{"X-A": "${TOKEN}"} }},
		{"an unknown era", "catalog.invalid", func(in *catalog.ServerInput) { in.Era = "stone" }},
		{"a timeout of a nanosecond", "catalog.invalid", func(in *catalog.ServerInput) { in.Timeout = 1 }},
		{"a negative price", "catalog.bad_price", func(in *catalog.ServerInput) { in.Price = ptr(int64(-1)) }},
		{"no name at all", "catalog.bad_slug", func(in *catalog.ServerInput) { in.Slug = "" }},
		{"NUL in a name", "catalog.invalid", func(in *catalog.ServerInput) { in.Name = "a\x00b" }},
		{"an unknown service", "catalog.service_not_found", func(in *catalog.ServerInput) { in.Service = id.New("svc") }},
		{"an unknown workspace", "catalog.workspace_not_found", func(in *catalog.ServerInput) { in.Workspace = "nowhere" }},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			in := server("ok")
			c.change(&in)
			_, err := h.CreateServer(ctx, h.home, in)
			testkit.Fault(t, err, c.code)
		})
	}
	t.Run("rights are asked first", func(t *testing.T) {
		viewer := *h.home
		viewer.Role = access.Viewer
		_, err := h.CreateServer(ctx, &viewer, server("x"))
		testkit.Fault(t, err, "access.denied")
		_, err = h.Configure(ctx, &viewer, id.New("svc"), []byte(`{}`))
		testkit.Fault(t, err, "access.denied")
		_, err = h.CreateServer(ctx, h.operator, server("x"))
		testkit.Fault(t, err, "access.denied")
		_, err = h.CreateServer(ctx, nil, server("x"))
		testkit.Fault(t, err, "access.denied")
	})
}

func TestPlanLimit(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		h.limit, h.unlimited = 5, false
		var wg sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			wg.Go(func() { _, errs[i] = h.CreateServer(ctx, h.home, server("s"+string(rune('a'+i)))) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch f := fault.Of(err); {
			case err == nil:
				made++
			case f.Kind != fault.Unpaid || f.Details["feature"] != "services" || f.Details["limit"] != int64(5) || f.Details["used"] != int64(5):
				t.Errorf("got %v %v", err, f.Details)
			}
		}
		if made != 5 {
			t.Errorf("parallel registrations made %d servers under a limit of 5", made)
		}
		testkit.Equal(t, testkit.Must(catalog.CountServices(ctx, h.store, h.home.Organization))(t), int64(5))
	})
}

func TestOffers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		offer := testkit.Must(h.CreateService(ctx, h.operator, catalog.ServiceInput{Slug: "search", Name: "Search_100%", URL: "https://search.example.com", Price: ptr(int64(7))}))(t)
		testkit.Must(h.CreateService(ctx, h.customer, service("custom")))(t)

		t.Run("the operator's are offered to all, custom ones to their organization", func(t *testing.T) {
			names := func(p *access.Principal, filter string) (out []string) {
				list, total, err := h.ListServices(ctx, p, filter, catalog.Page{})
				testkit.Must0(t, err)
				testkit.Equal(t, total, int64(len(list)))
				for _, s := range list {
					out = append(out, s.Slug)
				}
				return out
			}
			testkit.Equal(t, names(h.home, ""), []string{"search"})
			testkit.Equal(t, names(h.customer, ""), []string{"custom", "search"})
			testkit.Equal(t, names(h.customer, "H_100%"), []string{"search"})
			testkit.Equal(t, names(h.customer, "hx100"), []string(nil))
		})
		t.Run("tenants cannot change them", func(t *testing.T) {
			_, err := h.UpdateService(ctx, h.home, offer.ID, catalog.ServiceChange{URL: ptr("https://evil.example.com")})
			testkit.Fault(t, err, "catalog.service_not_found")
			_, err = h.SetPrices(ctx, h.home, offer.ID, catalog.PriceChange{Default: ptr(int64(0))})
			testkit.Fault(t, err, "catalog.service_not_found")
			d := testkit.Must(h.CreateServer(ctx, h.customer, catalog.ServerInput{Service: offer.ID, ServiceInput: catalog.ServiceInput{Slug: "mine"}}))(t)
			_, err = h.UpdateServer(ctx, h.customer, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{URL: ptr("https://evil.example.com")}})
			testkit.Fault(t, err, "catalog.invalid")
			testkit.Must(h.UpdateServer(ctx, h.customer, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Slug: ptr("renamed")}}))(t)
		})
		t.Run("a buyer cannot set a price", func(t *testing.T) {
			in := server("cheap")
			in.Price = ptr(int64(0))
			_, err := h.CreateServer(ctx, h.customer, in)
			testkit.Fault(t, err, "catalog.not_seller")
		})
		t.Run("they are used with and without a server", func(t *testing.T) {
			s := testkit.Must(h.resolver.Service(ctx, h.home, h.home.Workspace, offer.ID))(t)
			if s.ID != "" || s.Price("any") != 7 || s.Key() == "" {
				t.Errorf("got %+v", s)
			}
			testkit.Must(h.SetPrices(ctx, h.operator, offer.ID, catalog.PriceChange{Tools: map[string]*int64{"web": ptr(int64(9))}}))(t)
			s = testkit.Must(h.resolver.Service(ctx, h.home, h.home.Workspace, offer.ID))(t)
			testkit.Equal(t, s.Price("web"), int64(9))
			s = testkit.Must(h.resolver.Service(ctx, h.customer, h.customer.Workspace, offer.ID))(t)
			testkit.Equal(t, s.Slug, "renamed")
			testkit.Must0(t, h.RemoveService(ctx, h.operator, offer.ID))
			_, err := h.resolver.Service(ctx, h.home, h.home.Workspace, offer.ID)
			testkit.Fault(t, err, "catalog.service_not_found")
			_, err = h.resolver.Service(ctx, h.customer, h.customer.Workspace, offer.ID)
			testkit.Fault(t, err, "catalog.service_not_found")
		})
	})
}

func TestPrices(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		d := testkit.Must(h.CreateServer(ctx, h.home, server("one")))(t)
		at := func() *catalog.Server {
			w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
			s, _ := w.Server("one")
			return s
		}
		testkit.Equal(t, at().Price("x"), int64(1))
		before := time.Now()
		for before.UnixMilli() >= time.Now().UnixMilli() {
		}
		p := testkit.Must(h.SetPrices(ctx, h.home, d.Service.ID, catalog.PriceChange{Default: ptr(int64(2)), Tools: map[string]*int64{"x": ptr(int64(5))}, ChargeRejected: ptr(false)}))(t)
		testkit.Equal(t, *p, catalog.Prices{Default: 2, Tools: map[string]int64{"x": 5}})
		t.Run("a change is in force once it has returned", func(t *testing.T) {
			s := at()
			if s.Price("x") != 5 || s.Price("y") != 2 || s.ChargeRejected {
				t.Errorf("got %d %d %v", s.Price("x"), s.Price("y"), s.ChargeRejected)
			}
		})
		t.Run("the past is kept", func(t *testing.T) {
			p := testkit.Must(h.Prices(ctx, h.home, d.Service.ID, before))(t)
			testkit.Equal(t, p.Default, int64(1))
			testkit.Equal(t, len(p.Tools), 0)
		})
		t.Run("an override can be taken away and comes back, within one millisecond too", func(t *testing.T) {
			for _, v := range []*int64{nil, ptr(int64(8)), nil, ptr(int64(3))} {
				p = testkit.Must(h.SetPrices(ctx, h.home, d.Service.ID, catalog.PriceChange{Tools: map[string]*int64{"x": v}}))(t)
			}
			testkit.Equal(t, p.Tools, map[string]int64{"x": 3})
			testkit.Equal(t, at().Price("x"), int64(3))
		})
	})
}

// A home organization could not rename its built-in server: its address, which
// it may not choose, was judged again.
func TestRenameBuiltin(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		system := *h.home
		system.Kind = access.System
		in := server("demo")
		in.Transport, in.URL = catalog.Builtin, "demo"
		d := testkit.Must(h.CreateServer(ctx, &system, in))(t)
		name, url := "Renamed", "other"
		got := testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Name: &name}}))(t)
		if got.Name != name {
			t.Fatalf("name %q", got.Name)
		}
		desc := "Better described."
		testkit.Must(h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{Description: &desc}}))(t)
		_, err := h.UpdateServer(ctx, h.home, d.ID, catalog.ServerChange{ServiceChange: catalog.ServiceChange{URL: &url}})
		testkit.Fault(t, err, "catalog.transport")
	})
}
