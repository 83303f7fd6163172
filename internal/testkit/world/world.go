package world

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/approval"
	"headgate/internal/budget"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/identity"
	"headgate/internal/jobs"
	"headgate/internal/netguard"
	"headgate/internal/quota"
	"headgate/internal/rest/replay"
	"headgate/internal/seal"
	"headgate/internal/template"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// World is the services. Replace Now before New where time matters.
type World struct {
	T     testing.TB
	Store *db.Store
	Keys  *seal.Keys
	Now   func() time.Time
	Log   *slog.Logger

	Tenancy    *tenancy.Service
	Identity   *identity.Service
	APIKeys    *apikey.Service
	Workspaces *workspace.Service
	Catalog    *catalog.Catalog
	Resolver   *catalog.Resolver
	Guard      *netguard.Guard
	Hub        *upstream.Hub
	Credits    *credit.Service
	Vault      *vault.Service
	Budgets    *budget.Service
	Approvals  *approval.Service
	Templates  *template.Service
	Trail      *activity.Checkpoints
	Jobs       *jobs.Runner // worked by Settle alone
	Bodies     *activity.Bodies
	Feed       *activity.Feed
	Errors     *activity.Errors
	Limiter    *quota.Limiter[string]
	Daily      *quota.Service
	Calls      *call.Service
	Replay     *replay.Store

	hash  string // of Password
	mu    sync.Mutex
	mails []identity.Message
}

// Options are what a test may choose.
type Options struct {
	Now      func() time.Time
	SignUp   identity.SignUp
	Issuers  []identity.Issuer
	HTTP     *http.Client
	Builtins upstream.Builtins // besides the demo
}

// New builds the services over a store.
func New(t testing.TB, store *db.Store, o Options) *World {
	t.Helper()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SignUp == "" {
		o.SignUp = identity.Open
	}
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	w := &World{T: t, Store: store, Keys: keys, Now: o.Now, Log: slog.New(slog.DiscardHandler)}
	w.Tenancy = tenancy.New(store, keys, w.Now)
	w.Workspaces = workspace.New(store, w.Now)
	w.Credits = credit.New(store, w.Now)
	w.APIKeys = apikey.New(store, keys, apikey.Options{Now: w.Now})
	w.Tenancy.OnFound(w.found)
	testkit.Must0(t, store.Tx(t.Context(), func(tx *db.Tx) error { return w.Tenancy.Seed(t.Context(), tx) }))
	w.Identity, err = identity.New(t.Context(), store, keys, w.Tenancy, identity.Options{Now: w.Now, SignUp: o.SignUp, BaseURL: "http://headgate.test",
		Outgoing: w.mail, Complete: w.complete, Issuers: o.Issuers, HTTP: o.HTTP})
	testkit.Must0(t, err)
	w.Guard = netguard.New(netguard.Policy{Loopback: true})
	w.Approvals = approval.New(store, keys, w.Now)
	w.Catalog = catalog.New(catalog.Options{Store: store, Keys: keys, Guard: w.Guard, Limit: w.serviceLimit, Ask: w.Approvals.Secret, Now: w.Now})
	w.Resolver = catalog.NewResolver(store, keys)
	w.manage()
	w.Limiter, w.Daily = quota.NewLimiter[string](100_000, w.Now), quota.New(store, w.Now, w.Log)
	w.Bodies, w.Errors = activity.NewBodies(store, "", w.Log), activity.NewErrors(store, w.Now, w.Log)
	w.Feed = activity.NewFeed(store, w.Now, w.Log, 10*time.Millisecond)
	w.Replay = replay.New(store, w.Now)
	w.calls(o.Builtins)
	return w
}

func (w *World) calls(builtins upstream.Builtins) {
	all := upstream.Builtins{demo.Name: demo.Handler("test", w.Now)}
	for name, h := range builtins {
		all[name] = h
	}
	w.Hub = upstream.NewHub(upstream.Options{Binder: w.Resolver, Dial: w.Guard.DialContext, Version: "test", Now: w.Now,
		Channels: map[catalog.Transport]upstream.Channel{catalog.Builtin: all}})
	w.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		w.Hub.Close(ctx)
	})
	committer := call.NewCommitter(w.Store, w.Credits, w.Log)
	committer.Budgeted(w.Budgets)
	w.Calls = call.New(call.Options{Credits: w.Credits, Committer: committer, Budgets: w.Budgets, Bodies: w.Bodies, Upstream: w.Hub,
		Limiter: w.Limiter, Daily: w.Daily, Terms: w.terms, Value: 10_000, Now: w.Now, Log: w.Log})
}

// manage joins what operates workspaces.
func (w *World) manage() {
	w.Vault = vault.New(w.Store, w.Keys, w.Workspaces, w.Now)
	w.Vault.Gate(w.Approvals.Secret)
	w.Resolver.UseSecrets(w.Vault)
	w.Budgets = budget.New(budget.Options{Store: w.Store, Workspaces: w.Workspaces, Now: w.Now, Log: w.Log})
	w.Trail = activity.NewCheckpoints(filepath.Join(w.T.TempDir(), "checkpoints"), w.Keys.Derive("checkpoint"), w.Now)
	w.Templates = template.New(template.Options{Store: w.Store, Keys: w.Keys, Workspaces: w.Workspaces, Catalog: w.Catalog, Vault: w.Vault, Budgets: w.Budgets, Now: w.Now})
	w.Workspaces.OnStart(w.Templates.Look)
	w.Workspaces.OnRestart(w.Catalog.WorkspaceRestarted)
	w.Workspaces.OnRemove(w.Catalog.WorkspaceRemoved)
	w.Workspaces.OnRemove(w.Vault.WorkspaceRemoved)
	w.Workspaces.OnRemove(w.Budgets.WorkspaceRemoved)
	w.Jobs = jobs.New(w.Store, jobs.Options{Now: w.Now, Log: w.Log})
	jobs.Handle(w.Jobs, w.Workspaces.Ready)
}

// Settle works every job that is due, such as the starts of workspaces.
func (w *World) Settle() {
	w.T.Helper()
	testkit.Must(w.Jobs.Drain(w.T.Context()))(w.T)
}

// Headgate is the principal of what the program does by itself.
func Headgate(o *tenancy.Organization) *access.Principal {
	p := &access.Principal{Kind: access.System, ID: "headgate", Role: access.Owner, Scopes: access.Every}
	if o != nil {
		p.Organization, p.Tenant = o.ID, o.Tenant
	}
	return p
}

func (w *World) found(ctx context.Context, tx *db.Tx, _ *access.Principal, o *tenancy.Organization) error {
	plan, err := w.Tenancy.PlanBySlug(ctx, tx, tenancy.FreePlan)
	if err != nil {
		return err
	}
	if _, err := w.Workspaces.Create(ctx, tx, Headgate(o), workspace.Spec{Organization: o.ID, Name: "Default", Slug: "default", Default: true}); err != nil {
		return err
	}
	_, err = w.Credits.Open(ctx, tx, credit.Spec{Organization: o.ID, Monthly: plan.MonthlyCredits, Allocation: plan.MonthlyCredits, Tier: plan.Slug})
	return err
}

func (w *World) complete(ctx context.Context, p *access.Principal) error {
	ws, err := w.Workspaces.Default(ctx, p.Organization)
	p.Workspace = ws.ID
	return err
}

func (w *World) terms(ctx context.Context, organization string) (call.Terms, error) {
	o, err := w.Tenancy.Organization(ctx, organization)
	if err != nil {
		return call.Terms{}, err
	}
	p, err := w.Tenancy.PlanOf(ctx, organization)
	if err != nil {
		return call.Terms{}, err
	}
	return call.Terms{Rate: quota.Limit{PerMinute: p.RatePerMinute, Burst: p.Burst}, PerDay: int64(p.RequestsPerDay), BodyPolicy: o.BodyPolicy}, nil
}

func (w *World) serviceLimit(ctx context.Context, _ db.Querier, organization string) (int64, bool, error) {
	p, err := w.Tenancy.PlanOf(ctx, organization)
	if err != nil {
		return 0, false, err
	}
	return int64(p.Services), p.Services != tenancy.Unlimited, nil
}

func (w *World) mail(_ context.Context, m identity.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mails = append(w.mails, m)
}

// Link returns the secret at the end of the link in the newest mail to an
// address.
func (w *World) Link(to string) string {
	w.T.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.mails) - 1; i >= 0; i-- {
		if w.mails[i].To != to {
			continue
		}
		for word := range strings.FieldsSeq(w.mails[i].Text) {
			if strings.HasPrefix(word, "http") {
				return word[strings.LastIndexAny(word, "/=#")+1:]
			}
		}
	}
	w.T.Fatalf("no mail with a link went to %s", to)
	return ""
}

// Mails returns how many mails went to an address.
func (w *World) Mails(to string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.mails {
		if m.To == to {
			n++
		}
	}
	return n
}

// Plan puts an organization on a plan of its own with these limits.
func (w *World) Plan(o *tenancy.Organization, p tenancy.Plan) {
	w.T.Helper()
	operator := &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}
	p.Slug, p.Name = fmt.Sprintf("plan-%d", time.Now().UnixNano()%1e9), "Test"
	testkit.Must(w.Tenancy.SavePlan(context.Background(), operator, p))(w.T)
	testkit.Must(w.Tenancy.SetPlan(context.Background(), operator, o.ID, p.Slug))(w.T)
}

// Unlimited is a plan without limits.
func Unlimited() tenancy.Plan {
	return tenancy.Plan{Users: tenancy.Unlimited, Services: tenancy.Unlimited, RequestsPerDay: tenancy.Unlimited, RatePerMinute: 600_000_000, Burst: 10_000_000}
}
