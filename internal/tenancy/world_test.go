package tenancy_test

import (
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

// world is a store with the seeded plans and one tenant whose home
// organization has an owner.
type world struct {
	*testing.T
	store *db.Store
	svc   *tenancy.Service
	now   time.Time
	home  *tenancy.Organization
	owner *access.Principal
}

var operator = &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}

func each(t *testing.T, test func(w *world)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		keys, _, err := seal.Generate()
		testkit.Must0(t, err)
		w := &world{T: t, store: s, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
		w.svc = tenancy.New(s, keys, func() time.Time { return w.now })
		w.tx(func(tx *db.Tx) error { return w.svc.Seed(t.Context(), tx) })
		w.home, w.owner = w.found("Acme")
		test(w)
	})
}

// tx runs fn in a transaction that must succeed.
func (w *world) tx(fn func(tx *db.Tx) error) {
	w.Helper()
	testkit.Must0(w, w.store.Tx(w.Context(), fn))
}

func (w *world) user(email string) string {
	w.Helper()
	user := id.New("user")
	testkit.Must(db.Exec(w.Context(), w.store, `INSERT INTO users (id, pool, email, first_name, last_name, created_at) VALUES ($1, 'platform', $2, '', '', 1)`, user, email))(w)
	return user
}

// found makes a tenant with an owner, and returns the owner's session.
func (w *world) found(name string) (*tenancy.Organization, *access.Principal) {
	w.Helper()
	user := w.user(id.New("x") + "@example.com")
	var o *tenancy.Organization
	w.tx(func(tx *db.Tx) (err error) {
		if o, err = w.svc.Found(w.Context(), tx, nil, tenancy.Founding{Name: name}); err != nil {
			return err
		}
		return w.svc.AddMember(w.Context(), tx, nil, tenancy.Membership{Organization: o.ID, User: user, Role: access.Owner, Seat: true})
	})
	return o, w.session(o, user)
}

// session returns a principal with the role the user has now.
func (w *world) session(o *tenancy.Organization, user string) *access.Principal {
	w.Helper()
	role := testkit.Must(w.svc.RoleOf(w.Context(), o.ID, user))(w)
	return &access.Principal{Kind: access.Session, ID: "ses_" + user, Tenant: o.Tenant, Organization: o.ID, User: user, Role: role, Scopes: access.Every}
}

func (w *world) join(role access.Role) *access.Principal {
	w.Helper()
	user := w.user(id.New("x") + "@example.com")
	w.tx(func(tx *db.Tx) error {
		return w.svc.AddMember(w.Context(), tx, w.owner, tenancy.Membership{Organization: w.home.ID, User: user, Role: role, Seat: true})
	})
	return w.session(w.home, user)
}

func (w *world) invite(email string, role access.Role) (inv *tenancy.Invitation, token string) {
	w.Helper()
	w.tx(func(tx *db.Tx) (err error) {
		inv, token, err = w.svc.Invite(w.Context(), tx, w.owner, w.home.ID, email, role)
		return err
	})
	return inv, token
}

func (w *world) accept(token, user, email string) error {
	return w.store.Tx(w.Context(), func(tx *db.Tx) error {
		_, err := w.svc.Accept(w.Context(), tx, nil, token, user, email)
		return err
	})
}

func (w *world) events(action string) int64 {
	w.Helper()
	return testkit.Must(db.Value[int64](w.Context(), w.store, `SELECT COUNT(*) FROM events WHERE action = $1`, action))(w)
}
