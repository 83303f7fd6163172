package template_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/jobs"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/template"
	"headgate/internal/testkit"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// house is what recipes are made in, joined as the program joins it.
type house struct {
	*template.Service
	t          *testing.T
	store      *db.Store
	workspaces *workspace.Service
	catalog    *catalog.Catalog
	vault      *vault.Service
	budgets    *budget.Service
	options    template.Options
	jobs       *jobs.Runner
	room       int64 // servers a plan has room for; negative: any
}

func each(t *testing.T, test func(t *testing.T, h *house)) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		keys, _, err := seal.Generate()
		testkit.Must0(t, err)
		h := &house{t: t, store: s, room: -1}
		h.workspaces = workspace.New(s, time.Now)
		h.vault = vault.New(s, keys, h.workspaces, time.Now)
		h.budgets = budget.New(budget.Options{Store: s, Workspaces: h.workspaces, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		h.catalog = catalog.New(catalog.Options{Store: s, Keys: keys, Guard: netguard.NewWithResolver(netguard.Policy{}, func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no names here") }),
			Limit: func(context.Context, db.Querier, string) (int64, bool, error) { return h.room, h.room >= 0, nil }})
		h.options = template.Options{Store: s, Keys: keys, Workspaces: h.workspaces, Catalog: h.catalog, Vault: h.vault, Budgets: h.budgets, Now: time.Now}
		h.Service = template.New(h.options)
		h.workspaces.OnStart(h.Look)
		h.jobs = jobs.New(s, jobs.Options{})
		jobs.Handle(h.jobs, h.workspaces.Ready)
		h.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_1', 't', 'T', 0)`)
		h.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_1', 'p', 'P', 1, 1, 0, '{}', 0)`)
		test(t, h)
	})
}

func (h *house) exec(text string, args ...any) {
	h.t.Helper()
	testkit.Must(db.Exec(context.Background(), h.store, text, args...))(h.t)
}

// organization founds one with its default workspace, and returns its admin.
func (h *house) organization() *access.Principal {
	h.t.Helper()
	org := id.New("org")
	h.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_1', $1, 'O', FALSE, 'plan_1', 'full', 0)`, org)
	by := &access.Principal{Kind: access.Session, ID: "ses_1", Tenant: "ten_1", Organization: org, Role: access.Admin, Scopes: access.Every}
	testkit.Must(h.workspaces.Provision(h.t.Context(), by, workspace.Spec{Organization: org, Name: "Default", Default: true}))(h.t)
	return by
}

func (h *house) secret(by *access.Principal, name string) {
	h.t.Helper()
	testkit.Must(h.vault.Set(h.t.Context(), by, vault.Place{Organization: by.Organization}, name, seal.NewValue("value-of-"+name)))(h.t)
}

// names are the organization's workspaces with their parents' names.
func (h *house) names(by *access.Principal) map[string]string {
	h.t.Helper()
	all := testkit.Must(h.workspaces.List(h.t.Context(), by.Organization))(h.t)
	byID, names := map[string]string{}, map[string]string{}
	for _, w := range all {
		byID[w.ID] = w.Name
	}
	for _, w := range all {
		names[w.Name] = byID[w.Parent]
	}
	return names
}

func (h *house) settle() {
	h.t.Helper()
	testkit.Must(h.jobs.Drain(h.t.Context()))(h.t)
}
