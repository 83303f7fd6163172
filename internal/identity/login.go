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
		if err := s.countFailure(ctx, subject, ip); err != nil {
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

// countFailure counts a failed sign-in and locks what has failed too often.
func (s *Service) countFailure(ctx context.Context, subject string, ip netip.Addr) error {
	account, net := lockRows(subject, ip)
	now := s.now()
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		for _, c := range []struct {
			scope, subject string
			most           int
		}{{"account", account, accountFailures}, {"network", net, networkFailures}} {
			_, err := db.Exec(ctx, tx, `INSERT INTO login_failures (scope, subject, failures, window_started_at, locked_until) VALUES ($1, $2, 1, $3, NULL)
				ON CONFLICT (scope, subject) DO UPDATE SET
					failures = CASE WHEN login_failures.window_started_at <= $4 THEN 1 ELSE login_failures.failures + 1 END,
					window_started_at = CASE WHEN login_failures.window_started_at <= $4 THEN $3 ELSE login_failures.window_started_at END,
					locked_until = CASE WHEN login_failures.window_started_at > $4 AND login_failures.failures + 1 >= $5 THEN CAST($6 AS BIGINT) ELSE NULL END`,
				c.scope, c.subject, now.UnixMilli(), now.Add(-lockWindow).UnixMilli(), c.most, now.Add(lockWindow).UnixMilli())
			if err != nil {
				return fmt.Errorf("count failed sign-in: %w", err)
			}
		}
		return nil
	})
}

func clearFailures(ctx context.Context, tx *db.Tx, subject string, ip netip.Addr) error {
	account, _ := lockRows(subject, ip)
	if _, err := db.Exec(ctx, tx, `DELETE FROM login_failures WHERE scope = 'account' AND subject = $1`, account); err != nil {
		return fmt.Errorf("clear failed sign-ins: %w", err)
	}
	return nil
}
