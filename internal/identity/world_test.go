package identity_test

import (
	"context"
	"net/netip"
	"regexp"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

const (
	base     = "https://gate.example"
	pass     = "blue kettle over 9 hills"
	platform = identity.PlatformPool
)

var (
	system   = &access.Principal{Kind: access.System}
	operator = &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}
	here     = identity.Client{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "test/1"}
	there    = identity.Client{IP: netip.MustParseAddr("198.51.100.7"), UserAgent: "test/2"}
)

// world is one installation with open sign-up and cheap hashes.
type world struct {
	*testing.T
	store   *db.Store
	keys    *seal.Keys
	tenancy *tenancy.Service
	svc     *identity.Service

	mu   sync.Mutex
	now  time.Time
	mail []identity.Message
}

func each(t *testing.T, test func(w *world), options ...func(*identity.Options)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) { test(newWorld(t, s, options...)) })
}

func newWorld(t *testing.T, s *db.Store, options ...func(*identity.Options)) *world {
	t.Helper()
	keys, _, err := seal.Generate()
	testkit.Must0(t, err)
	w := &world{T: t, store: s, keys: keys, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	w.tenancy = tenancy.New(s, keys, w.clock)
	testkit.Must0(t, s.Tx(t.Context(), func(tx *db.Tx) error { return w.tenancy.Seed(t.Context(), tx) }))
	w.svc = w.service(options...)
	return w
}

// service returns another service on the same store, as another replica or a
// later start would have.
func (w *world) service(options ...func(*identity.Options)) *identity.Service {
	w.Helper()
	o := identity.Options{Now: w.clock, SignUp: identity.Open, BaseURL: base, Outgoing: func(_ context.Context, m identity.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mail = append(w.mail, m)
	}}
	for _, set := range options {
		set(&o)
	}
	svc := testkit.Must(identity.New(w.Context(), w.store, w.keys, w.tenancy, o))(w)
	identity.Cheap(svc)
	return svc
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) register(email string) *identity.User {
	w.Helper()
	return testkit.Must(w.svc.Register(w.Context(), nil, identity.Registration{Email: email, Password: pass, FirstName: "Ada", LastName: "Byron"}))(w)
}

func (w *world) login(email string) *identity.Tokens {
	w.Helper()
	return testkit.Must(w.svc.Login(w.Context(), identity.Credentials{Pool: platform, Email: email, Password: pass}, here))(w)
}

func (w *world) try(email, password string, from identity.Client) error {
	_, err := w.svc.Login(w.Context(), identity.Credentials{Pool: platform, Email: email, Password: password}, from)
	return err
}

func (w *world) who(token string) *access.Principal {
	w.Helper()
	return testkit.Must(w.svc.Authenticate(w.Context(), token))(w)
}

// person registers somebody and signs them in.
func (w *world) person(email string) (*identity.Tokens, *access.Principal) {
	w.Helper()
	w.register(email)
	t := w.login(email)
	return t, w.who(t.Access)
}

// place founds an organization of another tenant and makes the user a member.
func (w *world) place(name, user string, role access.Role) *tenancy.Organization {
	w.Helper()
	var o *tenancy.Organization
	testkit.Must0(w, w.store.Tx(w.Context(), func(tx *db.Tx) (err error) {
		if o, err = w.tenancy.Found(w.Context(), tx, system, tenancy.Founding{Name: name, Plan: tenancy.ProPlan}); err != nil {
			return err
		}
		return w.tenancy.AddMember(w.Context(), tx, system, tenancy.Membership{Organization: o.ID, User: user, Role: role, Seat: true})
	}))
	return o
}

func (w *world) refused(token, code string) {
	w.Helper()
	_, err := w.svc.Authenticate(w.Context(), token)
	testkit.Fault(w, err, code)
}

// link returns the secret in the newest mail to the address.
func (w *world) link(to string) string {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.mail) - 1; i >= 0; i-- {
		if w.mail[i].To == to {
			found := regexp.MustCompile(`#token=([\w-]{43})\n`).FindStringSubmatch(w.mail[i].Text)
			if found == nil {
				w.Fatalf("no link in %q", w.mail[i].Text)
			}
			return found[1]
		}
	}
	w.Fatalf("no mail to %s", to)
	return ""
}

func (w *world) mails() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mail)
}

func (w *world) count(text string, args ...any) int64 {
	w.Helper()
	return testkit.Must(db.Value[int64](w.Context(), w.store, text, args...))(w)
}
