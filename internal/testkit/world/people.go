package world

import (
	"context"
	"net/netip"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/id"
	"headgate/internal/identity"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

// Password is everybody's.
const Password = "a long enough pass phrase 7"

// Person is somebody with a session.
type Person struct {
	*identity.User
	Organization *tenancy.Organization // where the session works
	Token        string
	Refresh      string
}

// Tenant founds a tenant without limits, and returns its owner.
func (w *World) Tenant(mailbox string) *Person {
	w.T.Helper()
	ctx := context.Background()
	u := testkit.Must(w.Identity.Register(ctx, Headgate(nil), identity.Registration{Email: mailbox + "@example.com", Password: Password, FirstName: "First", LastName: "Last", OrganizationName: mailbox + " inc"}))(w.T)
	p := w.Start(u, "")
	w.Plan(p.Organization, Unlimited())
	return p
}

// Start starts a session in an organization; "" is the one joined first.
func (w *World) Start(u *identity.User, organization string) *Person {
	w.T.Helper()
	ctx := context.Background()
	t := testkit.Must(w.Identity.Start(ctx, u.ID, organization, identity.Client{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "test"}))(w.T)
	o := testkit.Must(w.Tenancy.Organization(ctx, t.Organization))(w.T)
	return &Person{User: u, Organization: o, Token: t.Access, Refresh: t.Refresh}
}

// Member adds a person with a role to an organization, with a session there.
func (w *World) Member(o *tenancy.Organization, mailbox string, role access.Role) *Person {
	w.T.Helper()
	u := w.user(mailbox)
	w.Join(o, u, role)
	return w.Start(u, o.ID)
}

// user adds a person without a tenant. The password's hash is made once: it
// costs more than everything else here.
func (w *World) user(mailbox string) *identity.User {
	w.T.Helper()
	ctx := context.Background()
	if w.hash == "" {
		u := testkit.Must(w.Identity.Register(ctx, Headgate(nil), identity.Registration{Email: "hash@example.com", Password: Password, FirstName: "A", LastName: "B"}))(w.T)
		w.hash = testkit.Must(db.Value[string](ctx, w.Store, `SELECT password_hash FROM users WHERE id = $1`, u.ID))(w.T)
	}
	user, now := id.New("user"), w.Now().UnixMilli()
	testkit.Must(db.Exec(ctx, w.Store, `INSERT INTO users (id, pool, email, email_verified_at, first_name, last_name, password_hash, created_at) VALUES ($1, 'platform', $2, $3, 'First', 'Last', $4, $3)`,
		user, mailbox+"@example.com", now, w.hash))(w.T)
	return testkit.Must(w.Identity.User(ctx, user))(w.T)
}

// Join makes a user a member of an organization.
func (w *World) Join(o *tenancy.Organization, u *identity.User, role access.Role) {
	w.T.Helper()
	testkit.Must0(w.T, w.Store.Tx(context.Background(), func(tx *db.Tx) error {
		return w.Tenancy.AddMember(context.Background(), tx, Headgate(o), tenancy.Membership{Organization: o.ID, User: u.ID, Role: role, Seat: true})
	}))
}

// Customer founds a customer organization in a person's tenant, without
// limits; the person is its owner too.
func (w *World) Customer(p *Person, name string) *tenancy.Organization {
	w.T.Helper()
	by := testkit.Must(w.Identity.Authenticate(context.Background(), p.Token))(w.T)
	o := testkit.Must(w.Tenancy.CreateOrganization(context.Background(), by, name, ""))(w.T)
	w.Plan(o, Unlimited())
	return o
}

// Key mints a key of a kind in an organization. user is whose it is, for kinds
// that belong to people; a personal key without scopes has every one.
func (w *World) Key(o *tenancy.Organization, kind access.Kind, user string, scopes ...access.Scope) (apikey.Key, string) {
	w.T.Helper()
	ctx := context.Background()
	spec := apikey.Spec{Kind: kind, Name: "test", User: user}
	if o != nil {
		spec.Organization = o.ID
	}
	for _, s := range scopes {
		set, _ := access.ParseScopes([]string{string(s)})
		spec.Scopes |= set
	}
	switch kind {
	case access.PersonalKey:
		if spec.Scopes == 0 {
			role := testkit.Must(w.Tenancy.RoleOf(ctx, o.ID, user))(w.T)
			spec.Scopes = access.ScopesOf(role)
		}
	case access.WorkspaceKey:
		spec.Workspace = testkit.Must(w.Workspaces.Default(ctx, o.ID))(w.T).ID
	case access.AccountKey:
		testkit.Must0(w.T, w.Store.Tx(ctx, func(tx *db.Tx) error {
			a, err := w.Credits.Open(ctx, tx, credit.Spec{Organization: o.ID, User: user, Monthly: 50, Allocation: 50, Tier: "free"})
			spec.Account = a.ID
			return err
		}))
	}
	k, value, err := w.APIKeys.Create(ctx, Headgate(o), spec)
	testkit.Must0(w.T, err)
	return k, value.Reveal()
}

// Demo registers the built-in demo server in an organization's default
// workspace.
func (w *World) Demo(o *tenancy.Organization, slug string) *catalog.ServerDetail {
	w.T.Helper()
	return w.Builtin(o, slug, demo.Name)
}

// Builtin registers a server of this process.
func (w *World) Builtin(o *tenancy.Organization, slug, name string) *catalog.ServerDetail {
	w.T.Helper()
	ws := testkit.Must(w.Workspaces.Default(context.Background(), o.ID))(w.T)
	return testkit.Must(w.Catalog.CreateServer(context.Background(), Headgate(o), catalog.ServerInput{Workspace: ws.ID, ServiceInput: catalog.ServiceInput{
		Slug: slug, Transport: catalog.Builtin, URL: name, Description: "A built-in server"}}))(w.T)
}

// Crowd fills an organization with workspaces that nothing is in.
func (w *World) Crowd(o *tenancy.Organization, many int) {
	w.T.Helper()
	testkit.Must(db.Exec(context.Background(), w.Store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at)
		SELECT $1 || i, $1, 'crowd-' || i, 'Crowd ' || i, false, 'online', 'builtin', 1, 0, 0 FROM n`, o.ID, many))(w.T)
}

// TopUp gives an organization's account credits.
func (w *World) TopUp(o *tenancy.Organization, credits int64) {
	w.T.Helper()
	a := testkit.Must(w.Credits.Of(context.Background(), o.ID, ""))(w.T)
	testkit.Must(w.Credits.TopUp(context.Background(), &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}, a.ID, credits, "test", id.New("once")))(w.T)
}
