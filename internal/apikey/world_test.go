package apikey_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

var home = netip.MustParseAddr("192.0.2.7")

type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// world is a tenant with an organization, a workspace and people, and the
// service over it.
type world struct {
	*apikey.Service
	t                               testing.TB
	store                           *db.Store
	keyFile                         []byte
	clock                           *clock
	tenant, org, workspace, account string
}

func newWorld(t testing.TB, store *db.Store, o apikey.Options) *world {
	t.Helper()
	keys, file, err := seal.Generate()
	testkit.Must0(t, err)
	w := &world{t: t, store: store, keyFile: file, clock: &clock{}}
	w.clock.ms.Store(time.Date(2026, 11, 5, 10, 0, 0, 0, time.UTC).UnixMilli())
	o.Now = w.clock.Now
	w.Service = apikey.New(store, keys, o)
	w.tenant = id.New("ten")
	w.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, $1, 'T', 0)`, w.tenant)
	w.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, $1, 'P', 60, 10, 0, '{}', 0)`, w.tenant)
	w.org, w.workspace, w.account = w.organization()
	return w
}

// organization makes one with its default workspace and its account.
func (w *world) organization() (org, workspace, account string) {
	org, workspace, account = id.New("org"), id.New("ws"), id.New("acc")
	w.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, $1, 'O', FALSE, $2, 'full', 0)`, org, w.tenant)
	w.exec(`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'default', 'Default', TRUE, 'online', 'builtin', 1, 0, 0)`, workspace, org)
	w.exec(`INSERT INTO accounts (id, number, organization_id, user_id, monthly, purchased, leased, allocation, tier, seq, folded_seq, total_calls, total_used, active, allow_raw_records, created_at)
		VALUES ($1, (SELECT COUNT(*) + 1 FROM accounts), $2, '', 0, 0, 0, 0, 'free', 0, 0, 0, 0, TRUE, FALSE, 0)`, account, org)
	return org, workspace, account
}

// person makes a user with a role in the organization, and returns the session.
func (w *world) person(org string, role access.Role) *access.Principal {
	user := id.New("user")
	w.exec(`INSERT INTO users (id, pool, email, first_name, last_name, created_at) VALUES ($1, 'platform', $1, 'A', 'B', 0)`, user)
	w.join(org, user, role)
	return &access.Principal{Kind: access.Session, ID: id.New("ses"), User: user, Tenant: w.tenant, Organization: org, Role: role, Scopes: access.Every}
}

func (w *world) join(org, user string, role access.Role) {
	w.exec(`INSERT INTO memberships (organization_id, user_id, role, active, created_at, updated_at) VALUES ($1, $2, $3, TRUE, 0, 0)`, org, user, string(role))
}

func (w *world) exec(text string, args ...any) {
	w.t.Helper()
	testkit.Must(db.Exec(context.Background(), w.store, text, args...))(w.t)
}

// change runs a statement and says what it changed, as other domains do.
func (w *world) change(kind, ref, text string, args ...any) {
	w.t.Helper()
	testkit.Must0(w.t, w.store.Tx(context.Background(), func(tx *db.Tx) error {
		_, err := db.Exec(context.Background(), tx, text, args...)
		tx.Changed(kind, ref)
		return err
	}))
}

func (w *world) create(by *access.Principal, spec apikey.Spec) (apikey.Key, string) {
	w.t.Helper()
	if spec.Organization == "" {
		spec.Organization = by.Organization
	}
	if spec.Name == "" {
		spec.Name = "test"
	}
	k, v, err := w.Create(context.Background(), by, spec)
	testkit.Must0(w.t, err)
	return k, v.Reveal()
}

func (w *world) personal(by *access.Principal, words ...string) (apikey.Key, string) {
	w.t.Helper()
	return w.create(by, apikey.Spec{Kind: access.PersonalKey, User: by.User, Scopes: scopes(w.t, words...)})
}

func (w *world) rotate(by *access.Principal, k apikey.Key, grace time.Duration) (apikey.Key, string) {
	w.t.Helper()
	next, v, err := w.Rotate(context.Background(), by, k.ID, grace)
	testkit.Must0(w.t, err)
	return next, v.Reveal()
}

func (w *world) use(value string) (*access.Principal, error) {
	return w.Authenticate(context.Background(), value, home)
}

func scopes(t testing.TB, words ...string) access.Scopes {
	t.Helper()
	set, ok := access.ParseScopes(words)
	if !ok {
		t.Fatalf("%q are no scopes", words)
	}
	return set
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) { test(t, newWorld(t, s, apikey.Options{})) })
}
