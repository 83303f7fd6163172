package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/tenancy"
)

const (
	lockWindow      = 15 * time.Minute
	accountFailures = 10  // of one account from one network
	networkFailures = 100 // of one network, whatever the accounts
)

// Credentials are what a person signs in with.
type Credentials struct {
	Pool         string
	Email        string
	Password     string
	Organization string // to work in; "" is the one joined first
}

// Login checks a password and starts a session. People who do not exist, have
// no password or mistyped it get the same answer after the same work.
func (s *Service) Login(ctx context.Context, c Credentials, from Client) (*Tokens, error) {
	email, err := tenancy.NormalEmail(c.Email)
	if err != nil {
		email = strings.ToLower(c.Email) // counted like any other, found like none
	}
	if len(c.Password) > maxPassword || len(email) > 320 {
		return nil, ErrCredentials
	}
	subject := s.lockSubject(c.Pool, email)
	if err := s.checkLock(ctx, subject, from.IP); err != nil {
		return nil, err
	}
	u, err := s.UserByEmail(ctx, c.Pool, email)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return nil, err
	}
	fresh, err := s.checkPasswordOf(ctx, u, c.Password, subject, from.IP)
	if err != nil {
		return nil, err
	}
	if !u.SuspendedAt.IsZero() {
		return nil, ErrSuspended
	}
	return s.admit(ctx, u, c.Organization, from, fresh, func(tx *db.Tx) error { return clearFailures(ctx, tx, subject, from.IP) })
}

// checkPasswordOf compares a password with that of u, who may be nil. The lock
// is asked and the failure counted inside the hasher's slot, so that parallel
// guesses are no more ahead of the count than there are slots. fresh is the
// password's new hash when the stored one was made at another cost.
func (s *Service) checkPasswordOf(ctx context.Context, u *User, password, subject string, ip netip.Addr) (fresh string, err error) {
	release, err := s.hasher.enter(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	if err := s.checkLock(ctx, subject, ip); err != nil {
		return "", err
	}
	stored := s.hasher.dummy
	if u != nil && u.password != "" {
		stored = u.password
	}
	ok, stale, err := s.hasher.verifyNow(stored, password)
	if err != nil {
		return "", fmt.Errorf("password of %s: %w", u.ID, err)
	}
	if !ok || u == nil || u.password == "" {
		if err := s.countFailure(ctx, u, subject, ip); err != nil {
			return "", err
		}
		return "", ErrCredentials
	}
	if stale {
		fresh = s.hasher.hashNow(password)
	}
	return fresh, nil
}

// admit starts a session for a person who has proven to be u, in the
// transaction that also() joins. fresh, unless "", replaces the password's hash.
func (s *Service) admit(ctx context.Context, u *User, organization string, from Client, fresh string, also func(tx *db.Tx) error) (*Tokens, error) {
	var t *Tokens
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		if err := also(tx); err != nil {
			return err
		}
		u.LastLoginAt = s.now()
		// A password changed or a user suspended since the proof undoes it; the
		// row stays locked, so that whoever changes it ends this session too.
		n, err := db.Exec(ctx, tx, `UPDATE users SET last_login_at = $2, password_hash = COALESCE(CAST($4 AS TEXT), password_hash)
			WHERE id = $1 AND suspended_at IS NULL AND password_changed_at IS NOT DISTINCT FROM CAST($3 AS BIGINT)`,
			u.ID, u.LastLoginAt.UnixMilli(), db.Millis(u.PasswordChangedAt), db.Null(fresh))
		if err != nil {
			return fmt.Errorf("last login: %w", err)
		}
		if n == 0 {
			return ErrCredentials
		}
		place, err := s.placeOf(ctx, tx, u, organization)
		if err != nil {
			return err
		}
		if t, err = s.begin(ctx, tx, u, place, from); err != nil {
			return err
		}
		by := &access.Principal{Kind: access.Session, ID: t.Session, Name: u.Email, Tenant: place.Tenant, Organization: place.ID, User: u.ID}
		return s.record(ctx, tx, by, u, "session.login", nil)
	})
	return t, err
}

// placeOf returns where the person works: the organization asked for, or the
// one joined first.
func (s *Service) placeOf(ctx context.Context, q db.Querier, u *User, organization string) (*tenancy.Place, error) {
	places, err := s.tenancy.Places(ctx, q, u.ID)
	if err != nil {
		return nil, err
	}
	for i, p := range places {
		if organization == "" || p.ID == organization {
			return &places[i], nil
		}
	}
	return nil, ErrNoPlace
}

// lockSubject names an account in login_failures, existing or not, without
// telling which it is.
func (s *Service) lockSubject(pool, email string) string {
	return hex.EncodeToString(s.hash("lock", pool+"/"+email)[:16])
}

// network is what counts as one source: an IPv4 address, or an IPv6 /64, which
// is what one customer of a provider has.
func network(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}

func lockRows(subject string, ip netip.Addr) (account, net string) {
	net = network(ip)
	return subject + "/" + net, net
}

// checkLock returns ErrLocked while the account is locked for the network, or
// the network altogether.
func (s *Service) checkLock(ctx context.Context, subject string, ip netip.Addr) error {
	account, net := lockRows(subject, ip)
	until, err := db.Value[db.Time](ctx, s.store, `SELECT MAX(locked_until) FROM login_failures
		WHERE (scope = 'account' AND subject = $1 OR scope = 'network' AND subject = $2) AND locked_until > $3`, account, net, s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("lockout: %w", err)
	}
	if left := time.Time(until).Sub(s.now()); left > 0 {
		return ErrLocked.After(left)
	}
	return nil
}

// countFailure counts a failed sign-in at u, who may be nil, and locks what has
// failed too often. The trail is told in the same transaction; see noteFailure.
func (s *Service) countFailure(ctx context.Context, u *User, subject string, ip netip.Addr) error {
	account, net := lockRows(subject, ip)
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		failed, err := s.count(ctx, tx, "account", account, accountFailures)
		if err != nil {
			return err
		}
		all, err := s.count(ctx, tx, "network", net, networkFailures)
		if err != nil {
			return err
		}
		if err := s.noteFailure(ctx, tx, u, subject, failed); err != nil {
			return err
		}
		if all != networkFailures {
			return nil
		}
		locked, err := s.count(ctx, tx, "trail", "networks", 0)
		if err != nil || !round(locked) {
			return err
		}
		return activity.Record(ctx, tx, stranger, activity.Event{Tenant: activity.Installation, Action: "session.lock_network", TargetType: "network", TargetID: net,
			Details: map[string]any{"failures": all, "networks": locked}})
	})
}

// stranger is the actor of failed sign-ins: nobody knows who it was.
var stranger = &access.Principal{Kind: access.Anonymous}

// noteFailure writes failures to the trail of the account's owner: the first,
// tenth, hundredth, … sign-in that fails at an account within the window,
// whatever the networks, and likewise of the locks. So everybody who looks sees
// that it happens and how much, and whoever guesses cannot fill the disk.
func (s *Service) noteFailure(ctx context.Context, tx *db.Tx, u *User, subject string, here int64) error {
	failures, err := s.count(ctx, tx, "trail", subject, 0)
	if err != nil {
		return err
	}
	if round(failures) {
		if err := s.note(ctx, tx, u, "session.fail", map[string]any{"failures": failures}); err != nil {
			return err
		}
	}
	if here != accountFailures {
		return nil
	}
	locks, err := s.count(ctx, tx, "trail", "locks/"+subject, 0)
	if err != nil || !round(locks) {
		return err
	}
	return s.note(ctx, tx, u, "session.lock", map[string]any{"failures": here, "locks": locks, "minutes": int(lockWindow / time.Minute)})
}

// note records an event about u. Where there is no such person it only takes
// as long, so that time does not tell who exists.
func (s *Service) note(ctx context.Context, tx *db.Tx, u *User, action string, details map[string]any) error {
	if u != nil {
		return s.record(ctx, tx, stranger, u, action, details)
	}
	if _, err := s.tenancy.Places(ctx, tx, ""); err != nil {
		return err
	}
	for range 4 { // as many statements as an event takes
		if _, err := db.Exec(ctx, tx, `UPDATE installation SET updated_at = updated_at WHERE name = $1`, signingRow); err != nil {
			return fmt.Errorf("note nothing: %w", err)
		}
	}
	return nil
}

// round reports whether n is 1, 10, 100, …
func round(n int64) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// count counts one more in the present window and returns how many there are;
// the one that makes most locks what is counted, unless most is 0.
func (s *Service) count(ctx context.Context, tx *db.Tx, scope, subject string, most int64) (int64, error) {
	now := s.now()
	n, err := db.Value[int64](ctx, tx, `INSERT INTO login_failures (scope, subject, failures, window_started_at, locked_until) VALUES ($1, $2, 1, $3, NULL)
		ON CONFLICT (scope, subject) DO UPDATE SET
			failures = CASE WHEN login_failures.window_started_at <= $4 THEN 1 ELSE login_failures.failures + 1 END,
			window_started_at = CASE WHEN login_failures.window_started_at <= $4 THEN $3 ELSE login_failures.window_started_at END,
			locked_until = CASE WHEN CAST($5 AS BIGINT) > 0 AND login_failures.window_started_at > $4 AND login_failures.failures + 1 >= $5 THEN CAST($6 AS BIGINT) ELSE NULL END
		RETURNING failures`, scope, subject, now.UnixMilli(), now.Add(-lockWindow).UnixMilli(), most, now.Add(lockWindow).UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("count failed sign-in: %w", err)
	}
	return n, nil
}

func clearFailures(ctx context.Context, tx *db.Tx, subject string, ip netip.Addr) error {
	account, _ := lockRows(subject, ip)
	if _, err := db.Exec(ctx, tx, `DELETE FROM login_failures WHERE scope = 'account' AND subject = $1`, account); err != nil {
		return fmt.Errorf("clear failed sign-ins: %w", err)
	}
	return nil
}
