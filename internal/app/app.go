package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/approval"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/gateway"
	"headgate/internal/gateway/eras"
	"headgate/internal/identity"
	"headgate/internal/jobs"
	"headgate/internal/journal"
	"headgate/internal/netguard"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/rest/replay"
	"headgate/internal/seal"
	"headgate/internal/server"
	"headgate/internal/settings"
	"headgate/internal/tenancy"
	"headgate/internal/upstream"
	"headgate/internal/upstream/shelf"
	"headgate/internal/upstream/wire"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// App is one running Headgate.
type App struct {
	Settings *settings.Settings
	Version  string
	Log      *slog.Logger
	Now      func() time.Time

	Store *db.Store // everything but bodies
	Logs  *db.Store // bodies; the same as Store on PostgreSQL
	Keys  *seal.Keys

	Tenancy    *tenancy.Service
	Identity   *identity.Service
	APIKeys    *apikey.Service
	Workspaces *workspace.Service
	Vault      *vault.Service
	Manage
	Catalog     *catalog.Catalog
	Resolver    *catalog.Resolver
	Guard       *netguard.Guard
	Hub         *upstream.Hub
	Pairs       *upstream.Pairs
	Eras        *eras.Translator
	Credits     *credit.Service
	Committer   *call.Committer
	Bodies      *activity.Bodies
	Feed        *activity.Feed
	Errors      *activity.Errors
	Limiter     *quota.Limiter[string]
	Daily       *quota.Service
	Calls       *call.Service
	Jobs        *jobs.Runner
	Replay      *replay.Store
	Grants      *grants.Service
	Diagnosis   *diagnosis.Service
	Gateway     *gateway.Gateway
	Platform    *rest.Door
	Account     *rest.Door
	Diagnostics *rest.Door
	Server      *server.Server
	Registry    *prometheus.Registry
	programs

	migrated []string  // the steps of the schema this start took
	first    *FirstRun // of this start; nil when it was not the first
	ready    readiness
}

// Open builds an App: stores opened and migrated, services joined, the first
// start made. Close it when done.
func Open(ctx context.Context, s *settings.Settings, version string, log *slog.Logger) (*App, error) {
	a := &App{Settings: s, Version: version, Log: log, Now: time.Now, Registry: prometheus.NewRegistry()}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"open the store", a.openStores},
		{"read the keys", a.openKeys},
		{"build the services", a.build},
		{"recover", a.recover},
		{"make the first start", a.firstStart},
		{"build the doors", a.doors},
	} {
		if err := step.run(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", step.name, err), a.Close())
		}
	}
	return a, nil
}

// Close lets go of everything Open took.
func (a *App) Close() error {
	var errs []error
	if a.Hub != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		a.Hub.Close(ctx)
		cancel()
		a.Pairs.Close()
	}
	a.closePrograms()
	if a.Committer != nil {
		errs = append(errs, a.Committer.Close())
	}
	if a.Logs != nil && a.Logs != a.Store {
		errs = append(errs, a.Logs.Close())
	}
	if a.Store != nil {
		errs = append(errs, a.Store.Close())
	}
	return errors.Join(errs...)
}

func (a *App) openStores(ctx context.Context) (err error) {
	if err := os.MkdirAll(a.Settings.Data, 0o700); err != nil {
		return fmt.Errorf("make the data directory (name one that can be written with --data): %w", err)
	}
	o := db.Options{Relaxed: a.Settings.Durability == "normal"}
	if a.Settings.Database != "" {
		if a.Store, err = db.Open(ctx, a.Settings.Database, o); err != nil {
			return err
		}
		a.Logs = a.Store
		return a.migrate(ctx, a.Store, db.Main, db.Logs)
	}
	if a.Store, err = db.Open(ctx, filepath.Join(a.Settings.Data, "headgate.db"), o); err != nil {
		return err
	}
	if a.Logs, err = db.Open(ctx, filepath.Join(a.Settings.Data, "logs.db"), db.Options{Relaxed: true}); err != nil {
		return err
	}
	return errors.Join(a.migrate(ctx, a.Store, db.Main), a.migrate(ctx, a.Logs, db.Logs))
}

func (a *App) migrate(ctx context.Context, s *db.Store, sets ...db.Set) error {
	took, err := s.Migrate(ctx, sets...)
	for _, m := range took {
		a.migrated = append(a.migrated, fmt.Sprintf("%04d_%s", m.Version, m.Name))
	}
	return err
}

// openKeys reads the keys file, or makes it when the database is new. A check
// value in the database tells whether they belong together.
func (a *App) openKeys(ctx context.Context) error {
	stored, err := a.storedCheck(ctx)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	fresh := errors.Is(err, db.ErrNone)
	if a.Keys, err = seal.Load(a.Settings.KeysFile(), fresh); err != nil {
		return err
	}
	if fresh {
		// Another replica may make its first start at this moment, with keys of
		// its own: the first check value counts, and whoever comes second reads it.
		if _, err := db.Exec(ctx, a.Store, `INSERT INTO installation (name, value, updated_at) VALUES ('check', $1, $2) ON CONFLICT (name) DO NOTHING`, a.Keys.Check(), a.Now().UnixMilli()); err != nil {
			return err
		}
		if stored, err = a.storedCheck(ctx); err != nil {
			return err
		}
	}
	complete, err := a.Keys.Verify(stored)
	if err != nil || complete {
		return err
	}
	_, err = db.Exec(ctx, a.Store, `UPDATE installation SET value = $1, updated_at = $2 WHERE name = 'check'`, a.Keys.Check(), a.Now().UnixMilli())
	return err
}

func (a *App) storedCheck(ctx context.Context) ([]byte, error) {
	return db.Value[[]byte](ctx, a.Store, `SELECT value FROM installation WHERE name = 'check'`)
}

// build makes the services and joins them where one takes part in another's
// transactions.
func (a *App) build(ctx context.Context) (err error) {
	a.Tenancy = tenancy.New(a.Store, a.Keys, a.Now)
	a.Workspaces = workspace.New(a.Store, a.Now)
	a.Credits = credit.New(a.Store, a.Now)
	a.APIKeys = apikey.New(a.Store, a.Keys, apikey.Options{Now: a.Now, Log: a.Log})
	a.Vault = vault.New(a.Store, a.Keys, a.Workspaces, a.Now)
	a.Daily = quota.New(a.Store, a.Now, a.Log)
	a.Limiter = quota.NewLimiter[string](200_000, a.Now)
	a.Bodies = activity.NewBodies(a.Logs, a.bodiesDir(), a.Log)
	a.Jobs = jobs.New(a.Store, jobs.Options{Now: a.Now, Log: a.Log})
	a.Feed = activity.NewFeed(a.Store, a.Now, a.Log, 0)
	a.Errors = activity.NewErrors(a.Store, a.Now, a.Log)
	a.Tenancy.OnFound(a.found)

	a.Guard = netguard.New(a.policy())
	if err := a.buildIdentity(ctx); err != nil {
		return err
	}
	a.Approvals = approval.New(a.Store, a.Keys, a.Now)
	a.Vault.Gate(a.Approvals.Secret)
	a.Catalog = catalog.New(catalog.Options{Store: a.Store, Keys: a.Keys, Guard: a.Guard, Limit: a.serviceLimit, Ask: a.Approvals.Secret, Now: a.Now})
	a.Resolver = catalog.NewResolver(a.Store, a.Keys)
	a.buildManage()
	if err := a.buildPrograms(); err != nil {
		return err
	}
	a.Grants = grants.New(grants.Options{Store: a.Store, Keys: a.Keys, Guard: a.Guard, Ask: a.Approvals.Secret, Now: a.Now, Log: a.Log})
	binder := a.Grants.Binder(a.Resolver)
	a.Pairs = upstream.NewPairs(a.Guard.DialContext, wire.Options{})
	a.Hub = upstream.NewHub(upstream.Options{Binder: binder, Dial: a.Guard.DialContext, Shelf: shelf.New(a.Store, a.Now), Version: a.Version, Log: a.Log, Now: a.Now,
		Channels: map[catalog.Transport]upstream.Channel{catalog.Builtin: upstream.Builtins{demo.Name: demo.Handler(a.Version, a.Now)}, catalog.Stdio: a.Programs, catalog.SSE: a.Pairs}})
	committer := call.NewCommitter(a.Store, a.Credits, a.Log)
	committer.Budgeted(a.Budgets)
	a.Committer = committer
	bodies := a.Bodies
	if os.Getenv("HEADGATE_BENCH_NO_STORE") == "1" {
		a.Log.Warn("HEADGATE_BENCH_NO_STORE is set: calls are neither charged nor logged; this is for the benchmark alone")
		committer.Blind()
		bodies = nil
	}
	a.Eras = eras.New(a.Hub, a.Keys, a.Now)
	a.Diagnosis = diagnosis.New(diagnosis.Options{Store: a.Store, Guard: a.Guard, Hub: a.Hub, Binder: binder, Resolver: a.Resolver, Granted: a.Grants.Granted, RunAs: diagnostics.Author(a.Tenancy), Now: a.Now, Log: a.Log})
	a.Diagnosis.Register(a.Jobs)
	a.Calls = call.New(call.Options{Credits: a.Credits, Committer: committer, Bodies: bodies, Upstream: a.Eras,
		Limiter: a.Limiter, Daily: a.Daily, Budgets: a.Budgets, Terms: a.terms, Value: a.Settings.CreditValue, Now: a.Now, Log: a.Log})
	return a.housekeeping()
}

// policy opens the networks the operator named. A server that only this
// machine can reach may reach this machine, so that a newcomer's own MCP
// server on loopback works.
func (a *App) policy() netguard.Policy {
	p := netguard.Policy{Loopback: a.Settings.LoopbackOnly()}
	for _, n := range a.Settings.AllowNetworks {
		if prefix, err := netip.ParsePrefix(n); err == nil { // checked by settings
			p.Allow = append(p.Allow, prefix)
		}
	}
	return p
}

// terms are what plan and policy say about an organization's calls.
func (a *App) terms(ctx context.Context, organization string) (call.Terms, error) {
	o, err := a.Tenancy.Organization(ctx, organization)
	if err != nil {
		return call.Terms{}, err
	}
	p, err := a.Tenancy.Plan(ctx, o.Plan)
	if err != nil {
		return call.Terms{}, err
	}
	return call.Terms{Rate: quota.Limit{PerMinute: p.RatePerMinute, Burst: p.Burst}, PerDay: int64(p.RequestsPerDay), BodyPolicy: o.BodyPolicy}, nil
}

func (a *App) serviceLimit(ctx context.Context, _ db.Querier, organization string) (int64, bool, error) {
	p, err := a.Tenancy.PlanOf(ctx, organization)
	if err != nil {
		return 0, false, err
	}
	return int64(p.Services), p.Services != tenancy.Unlimited, nil
}

// recover frees what a run that ended without a word had set aside.
func (a *App) recover(ctx context.Context) error {
	if a.Store.Engine() == db.SQLite {
		if err := a.replay(ctx); err != nil {
			return err
		}
	}
	a.Replay = replay.New(a.Store, a.Now)
	if _, err := a.Replay.Recover(ctx); err != nil {
		return fmt.Errorf("free idempotency keys: %w", err)
	}
	freed, err := a.Credits.Recover(ctx)
	if freed > 0 {
		a.Log.Info("credits set aside for calls that got no answer are free again", "credits", freed)
	}
	return errors.Join(err, a.recoverManage(ctx))
}

// replay opens the journal and makes rows of what it holds, before holds are
// freed: an answered call is charged, whatever happened after the answer.
func (a *App) replay(ctx context.Context) error {
	id, err := db.Value[[]byte](ctx, a.Store, `SELECT value FROM installation WHERE name = 'journal'`)
	if errors.Is(err, db.ErrNone) {
		id = make([]byte, len(journal.ID{}))
		_, _ = rand.Read(id)
		_, err = db.Exec(ctx, a.Store, `INSERT INTO installation (name, value, updated_at) VALUES ('journal', $1, $2)`, id, a.Now().UnixMilli())
	}
	if err != nil {
		return err
	}
	n, err := a.Committer.Journalled(ctx, a.Settings.Data, journal.ID(id))
	if n > 0 {
		a.Log.Info("calls that were answered before the last run ended are rows now", "calls", n)
	}
	return err
}

// bodiesDir is where bodies of calls go: beside SQLite; with PostgreSQL they
// are rows, for every replica to read.
func (a *App) bodiesDir() string {
	if a.Settings.Database != "" {
		return ""
	}
	return filepath.Join(a.Settings.Data, "bodies")
}
