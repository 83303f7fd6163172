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
	"headgate/internal/id"
	"headgate/internal/tenancy"
)

const (
	sessionLife   = 30 * 24 * time.Hour
	refreshLife   = 7 * 24 * time.Hour // without use
	reuseWindow   = 10 * time.Second
	maxSessions   = 100 // live ones of a user; a new one ends the one used longest ago
	maxAgent      = 400 // bytes kept of a User-Agent
	refreshPrefix = "rt_"
)

// Tokens are what a client works with.
type Tokens struct {
	Access       string
	Refresh      string // "" when the client keeps the one it has
	ExpiresAt    time.Time
	ExpiresIn    time.Duration // of Access
	Session      string
	Organization string
	Role         access.Role
	User         *User
}

// Session is a sign-in that lives.
type Session struct {
	ID           string
	Organization string
	CreatedAt    time.Time
	LastUsedAt   time.Time
	ExpiresAt    time.Time
	IP           string
	UserAgent    string
	Current      bool // the one that asks
}

// Start starts a session for a person who has proven who they are in another
// way than by password, such as registering just now.
func (s *Service) Start(ctx context.Context, user, organization string, from Client) (*Tokens, error) {
	u, err := s.User(ctx, user)
	if err != nil {
		return nil, err
	}
	if !u.SuspendedAt.IsZero() {
		return nil, ErrSuspended
	}
	return s.admit(ctx, u, organization, from, "", func(*db.Tx) error { return nil })
}

func (s *Service) begin(ctx context.Context, tx *db.Tx, u *User, place *tenancy.Place, from Client) (*Tokens, error) {
	now := s.now()
	if err := s.endOldest(ctx, tx, u.ID, now); err != nil {
		return nil, err
	}
	session := id.New("ses")
	if _, err := db.Exec(ctx, tx, `INSERT INTO sessions (id, user_id, organization_id, created_at, last_used_at, expires_at, ended_at, ip, user_agent) VALUES ($1,$2,$3,$4,$4,$5,NULL,$6,$7)`,
		session, u.ID, place.ID, now.UnixMilli(), now.Add(sessionLife).UnixMilli(), ipText(from.IP), db.Null(cut(from.UserAgent, maxAgent))); err != nil {
		return nil, fmt.Errorf("add session: %w", err)
	}
	refresh, err := s.addRefresh(ctx, tx, session, now, now.Add(sessionLife))
	if err != nil {
		return nil, err
	}
	t := s.issue(u, session, place.ID, place.Role)
	t.Refresh = refresh
	return t, nil
}

func (s *Service) endOldest(ctx context.Context, tx *db.Tx, user string, now time.Time) error {
	ended, err := db.All(ctx, tx, func(v *string) []any { return []any{v} }, `UPDATE sessions SET ended_at = $2 WHERE id IN (
		SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY last_used_at DESC, id DESC LIMIT 1000 OFFSET $3) RETURNING id`,
		user, now.UnixMilli(), maxSessions-1)
	if err != nil {
		return fmt.Errorf("end oldest session: %w", err)
	}
	for _, session := range ended {
		tx.Changed(KindSession, session)
	}
	return nil
}

func (s *Service) issue(u *User, session, organization string, role access.Role) *Tokens {
	now := s.now()
	expires := time.Unix(now.Unix(), 0).Add(s.o.Access).UTC()
	return &Tokens{
		Access:  s.signer.sign(claims{Subject: u.ID, Session: session, Organization: organization, Role: role, Email: u.Email, IssuedAt: now.Unix(), Expires: expires.Unix()}),
		Session: session, Organization: organization, Role: role, User: u, ExpiresAt: expires, ExpiresIn: s.o.Access,
	}
}

func (s *Service) addRefresh(ctx context.Context, tx *db.Tx, session string, now, sessionEnds time.Time) (string, error) {
	token := refreshPrefix + newSecret()
	expires := now.Add(refreshLife)
	if sessionEnds.Before(expires) {
		expires = sessionEnds
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO refresh_tokens (hash, session_id, created_at, expires_at, used_at, successor) VALUES ($1,$2,$3,$4,NULL,NULL)`,
		s.hash("refresh", token), session, now.UnixMilli(), expires.UnixMilli())
	if err != nil {
		return "", fmt.Errorf("add refresh token: %w", err)
	}
	return token, nil
}

type refreshRow struct {
	hash      []byte
	session   string
	expires   time.Time
	used      time.Time
	successor []byte
}

func (r *refreshRow) fields() []any {
	return []any{&r.hash, &r.session, (*db.Time)(&r.expires), (*db.Time)(&r.used), &r.successor}
}

// Refresh exchanges a refresh token for its successor and a new access token.
// A token works once. Within ten seconds a repeat (a lost answer, a second
// tab) gets the same successor again; later it is taken for stolen, and its
// session ends.
func (s *Service) Refresh(ctx context.Context, pool, token string) (*Tokens, error) {
	if len(token) != len(refreshPrefix)+secretLength || token[:len(refreshPrefix)] != refreshPrefix {
		return nil, ErrTokenInvalid
	}
	var t *Tokens
	var refused error // told after the commit, so that ending the session counts
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		t, refused = nil, nil
		row, err := s.lockRefresh(ctx, tx, token)
		if err != nil {
			return err
		}
		g, err := oneGrant(ctx, tx, row.session)
		if err != nil {
			return err
		}
		now := s.now()
		if err := g.check(now); err != nil {
			return err
		}
		u, err := oneUser(ctx, tx, `id = $1`, g.user)
		if err != nil {
			return err
		}
		var next string
		switch {
		case u.Pool != pool:
			return ErrTokenInvalid
		case row.used.IsZero() && !now.Before(row.expires):
			return ErrTokenExpired
		case row.used.IsZero():
			next, err = s.rotate(ctx, tx, row, now, g.expires)
		case now.Sub(row.used) <= reuseWindow:
			next, err = s.openSuccessor(row)
		default:
			refused = ErrTokenInvalid.Saying("This refresh token was used before, so its session has ended. Sign in again.")
			return s.endReused(ctx, tx, u, g, row.session)
		}
		if err != nil {
			return err
		}
		t = s.issue(u, row.session, g.organization, g.role)
		t.Refresh = next
		return nil
	})
	if err = errors.Join(err, refused); err != nil {
		return nil, err
	}
	return t, nil
}

// lockRefresh returns a refresh token's row, locked until the transaction
// ends: of parallel uses one rotates, and the others see that it has.
func (s *Service) lockRefresh(ctx context.Context, tx *db.Tx, token string) (*refreshRow, error) {
	for _, hash := range s.hashes("refresh", token) {
		r, err := db.One(ctx, tx, (*refreshRow).fields,
			`UPDATE refresh_tokens SET created_at = created_at WHERE hash = $1 RETURNING hash, session_id, expires_at, used_at, successor`, hash)
		if err == nil {
			return &r, nil
		}
		if !errors.Is(err, db.ErrNone) {
			return nil, fmt.Errorf("refresh token: %w", err)
		}
	}
	return nil, ErrTokenInvalid
}

func successorPlace(hash []byte) string { return "refresh:" + hex.EncodeToString(hash) }

func (s *Service) rotate(ctx context.Context, tx *db.Tx, row *refreshRow, now, sessionEnds time.Time) (string, error) {
	next, err := s.addRefresh(ctx, tx, row.session, now, sessionEnds)
	if err != nil {
		return "", err
	}
	if _, err := db.Exec(ctx, tx, `UPDATE refresh_tokens SET used_at = $2, successor = $3 WHERE hash = $1`,
		row.hash, now.UnixMilli(), s.keys.Seal(successorPlace(row.hash), []byte(next))); err != nil {
		return "", fmt.Errorf("use refresh token: %w", err)
	}
	if _, err := db.Exec(ctx, tx, `UPDATE sessions SET last_used_at = $2 WHERE id = $1`, row.session, now.UnixMilli()); err != nil {
		return "", fmt.Errorf("session use: %w", err)
	}
	return next, nil
}

func (s *Service) openSuccessor(row *refreshRow) (string, error) {
	next, err := s.keys.Open(successorPlace(row.hash), row.successor)
	if err != nil {
		return "", fmt.Errorf("successor: %w", err)
	}
	return string(next), nil
}

func (s *Service) endReused(ctx context.Context, tx *db.Tx, u *User, g *grantRow, session string) error {
	if err := s.endSessions(ctx, tx, `id = $2`, session); err != nil {
		return err
	}
	by := &access.Principal{Kind: access.Session, ID: session, Name: u.Email, Tenant: g.tenant, Organization: g.organization, User: u.ID}
	return s.record(ctx, tx, by, u, "session.reuse", map[string]any{"session": session})
}

// endSessions ends the live sessions that match, from $2 on, and says so.
func (s *Service) endSessions(ctx context.Context, tx *db.Tx, where string, args ...any) error {
	ended, err := db.All(ctx, tx, func(v *string) []any { return []any{v} },
		`UPDATE sessions SET ended_at = $1 WHERE ended_at IS NULL AND `+where+` RETURNING id`, append([]any{s.now().UnixMilli()}, args...)...)
	if err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	for _, session := range ended {
		tx.Changed(KindSession, session)
	}
	return nil
}

// leave ends somebody's sessions in an organization they are no longer in.
func (s *Service) leave(ctx context.Context, tx *db.Tx, _ *access.Principal, organization, user string) error {
	return s.endSessions(ctx, tx, `organization_id = $2 AND user_id = $3`, organization, user)
}

// Logout ends the session that asks.
func (s *Service) Logout(ctx context.Context, by *access.Principal) error {
	if err := person(by); err != nil {
		return err
	}
	return s.end(ctx, by, "session.logout", `id = $2 AND user_id = $3`, by.ID, by.User)
}

// Revoke ends one of the sessions of the person who asks.
func (s *Service) Revoke(ctx context.Context, by *access.Principal, session string) error {
	if err := person(by); err != nil {
		return err
	}
	return s.end(ctx, by, "session.revoke", `id = $2 AND user_id = $3`, session, by.User)
}

// RevokeOthers ends every session of the person who asks but this one.
func (s *Service) RevokeOthers(ctx context.Context, by *access.Principal) error {
	if err := person(by); err != nil {
		return err
	}
	return s.end(ctx, by, "session.revoke_others", `id <> $2 AND user_id = $3`, by.ID, by.User)
}

func (s *Service) end(ctx context.Context, by *access.Principal, action, where, session, user string) error {
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		if action != "session.revoke_others" {
			n, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL`, session, user)
			if err != nil {
				return fmt.Errorf("session: %w", err)
			}
			if n == 0 {
				return ErrNoSession
			}
		}
		if err := s.endSessions(ctx, tx, where, session, user); err != nil {
			return err
		}
		u, err := oneUser(ctx, tx, `id = $1`, user)
		if err != nil {
			return err
		}
		return s.record(ctx, tx, by, u, action, map[string]any{"session": session})
	})
}

// Sessions lists the live sessions of the person who asks, the last used first.
func (s *Service) Sessions(ctx context.Context, by *access.Principal) ([]Session, error) {
	if by == nil || by.User == "" {
		return nil, ErrNeedSession
	}
	list, err := db.All(ctx, s.store, func(v *Session) []any {
		return []any{&v.ID, &v.Organization, (*db.Time)(&v.CreatedAt), (*db.Time)(&v.LastUsedAt), (*db.Time)(&v.ExpiresAt), (*db.Text)(&v.IP), (*db.Text)(&v.UserAgent)}
	}, `SELECT id, organization_id, created_at, last_used_at, expires_at, ip, user_agent FROM sessions
		WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY last_used_at DESC, id DESC LIMIT $3`, by.User, s.now().UnixMilli(), maxSessions)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	for i := range list {
		list[i].Current = list[i].ID == by.ID
	}
	return list, nil
}

// Switch moves the session that asks to another organization of its user and
// returns a new access token; the old one is refused from then on. Where the
// user is no member, the organization does not exist.
func (s *Service) Switch(ctx context.Context, by *access.Principal, organization string) (*Tokens, error) {
	if err := person(by); err != nil {
		return nil, err
	}
	var t *Tokens
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		u, err := oneUser(ctx, tx, `id = $1`, by.User)
		if err != nil {
			return err
		}
		place, err := s.placeOf(ctx, tx, u, organization)
		if err != nil || organization == "" {
			return tenancy.ErrNoOrganization
		}
		n, err := db.Exec(ctx, tx, `UPDATE sessions SET organization_id = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL`, by.ID, by.User, organization)
		if err != nil {
			return fmt.Errorf("switch: %w", err)
		}
		if n == 0 {
			return ErrNoSession
		}
		tx.Changed(KindSession, by.ID)
		t = s.issue(u, by.ID, place.ID, place.Role)
		to := *by
		to.Tenant, to.Organization = place.Tenant, place.ID
		return s.record(ctx, tx, &to, u, "session.switch", map[string]any{"session": by.ID, "from": by.Organization})
	})
	return t, err
}

func ipText(ip netip.Addr) any {
	if !ip.IsValid() {
		return nil
	}
	return ip.Unmap().String()
}

// cut shortens a stranger's text to n bytes of valid UTF-8 without NUL, which
// PostgreSQL does not take.
func cut(s string, n int) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), n)], ""), "\x00", "")
}
