package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/tenancy"
)

// User is a person.
type User struct {
	ID                string
	Pool              string
	Email             string
	FirstName         string
	LastName          string
	EmailVerifiedAt   time.Time
	CreatedAt         time.Time
	LastLoginAt       time.Time
	PasswordChangedAt time.Time
	SuspendedAt       time.Time

	password string // PHC; "" when the person signs in elsewhere
}

// Member is a user with their place in one organization.
type Member struct {
	User
	Role   access.Role
	Active bool
	Since  time.Time
}

// User returns a user by id.
func (s *Service) User(ctx context.Context, user string) (*User, error) {
	return oneUser(ctx, s.store, `id = $1`, user)
}

// UserByEmail returns a user of a pool by address, in any spelling of it.
func (s *Service) UserByEmail(ctx context.Context, pool, email string) (*User, error) {
	email, err := tenancy.NormalEmail(email)
	if err != nil {
		return nil, ErrNoUser
	}
	return oneUser(ctx, s.store, `pool = $1 AND email = $2`, pool, email)
}

// Me returns the person who asks.
func (s *Service) Me(ctx context.Context, by *access.Principal) (*User, error) {
	if by == nil || by.User == "" {
		return nil, ErrNoUser
	}
	return s.User(ctx, by.User)
}

// Profile is what people change about themselves; nil leaves it.
type Profile struct{ FirstName, LastName *string }

// UpdateProfile changes the person who asks.
func (s *Service) UpdateProfile(ctx context.Context, by *access.Principal, p Profile) (*User, error) {
	if err := person(by); err != nil {
		return nil, err
	}
	var u *User
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if u, err = oneUser(ctx, tx, `id = $1`, by.User); err != nil {
			return err
		}
		for field, value := range map[*string]*string{&u.FirstName: p.FirstName, &u.LastName: p.LastName} {
			if value == nil {
				continue
			}
			if *field, err = cleanName(*value); err != nil {
				return err
			}
		}
		if _, err := db.Exec(ctx, tx, `UPDATE users SET first_name = $2, last_name = $3 WHERE id = $1`, u.ID, u.FirstName, u.LastName); err != nil {
			return fmt.Errorf("update user: %w", err)
		}
		return s.record(ctx, tx, by, u, "user.update", nil)
	})
	return u, err
}

// Members lists the people of an organization, in the order they joined, and
// says how many there are.
func (s *Service) Members(ctx context.Context, by *access.Principal, organization string, w tenancy.Window) ([]Member, int64, error) {
	if by == nil || by.Organization != organization {
		return nil, 0, tenancy.ErrNoOrganization
	}
	if err := access.Require(by, access.OrgMembers); err != nil {
		return nil, 0, err
	}
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*) FROM memberships WHERE organization_id = $1`, organization)
	if err != nil {
		return nil, 0, fmt.Errorf("count members: %w", err)
	}
	list, err := db.All(ctx, s.store, func(m *Member) []any {
		return append(m.fields(), &m.Role, &m.Active, (*db.Time)(&m.Since))
	}, `SELECT `+qualified+`, m.role, m.active, m.created_at FROM memberships m JOIN users u ON u.id = m.user_id
		WHERE m.organization_id = $1 ORDER BY m.created_at, m.user_id LIMIT $2 OFFSET $3`, organization, w.Limit, w.Offset)
	if err != nil {
		return nil, 0, fmt.Errorf("members: %w", err)
	}
	return list, total, nil
}

// Users lists a pool's people, oldest first, and says how many match; search
// is part of an address or name. Operators may, and a tenant's home staff for
// their own end users.
func (s *Service) Users(ctx context.Context, by *access.Principal, pool, search string, w tenancy.Window) ([]User, int64, error) {
	if err := s.governs(ctx, by, pool); err != nil {
		return nil, 0, err
	}
	const where = ` FROM users WHERE pool = $1 AND ($2 = '' OR lower(email) LIKE $2 ESCAPE '\' OR lower(first_name || ' ' || last_name) LIKE $2 ESCAPE '\')`
	if search != "" {
		search = "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(search)) + "%"
	}
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*)`+where, pool, search)
	if err != nil {
		return nil, 0, fmt.Errorf("count users: %w", err)
	}
	list, err := db.All(ctx, s.store, (*User).fields, `SELECT `+columns+where+` ORDER BY id LIMIT $3 OFFSET $4`, pool, search, w.Limit, w.Offset)
	if err != nil {
		return nil, 0, fmt.Errorf("users: %w", err)
	}
	return list, total, nil
}

// governs returns nil when by stands above a pool's people. A foreign pool is
// answered like one that does not exist.
func (s *Service) governs(ctx context.Context, by *access.Principal, pool string) error {
	if access.Require(by, access.Operate) == nil {
		return nil
	}
	if by == nil || by.Tenant == "" || by.Tenant != pool {
		return ErrNoUser
	}
	o, err := s.tenancy.Organization(ctx, by.Organization)
	if err != nil {
		return err
	}
	if !o.Home {
		return access.ErrDenied
	}
	return access.Require(by, access.OrgManage)
}

// Suspend ends a person's sessions and lets them in no more, until Resume.
func (s *Service) Suspend(ctx context.Context, by *access.Principal, user string) error {
	return s.setSuspended(ctx, by, user, "user.suspend", s.now())
}

// Resume lets a suspended person in again.
func (s *Service) Resume(ctx context.Context, by *access.Principal, user string) error {
	return s.setSuspended(ctx, by, user, "user.resume", time.Time{})
}

func (s *Service) setSuspended(ctx context.Context, by *access.Principal, user, action string, at time.Time) error {
	u, err := s.User(ctx, user)
	if err != nil {
		return err
	}
	if err := s.governs(ctx, by, u.Pool); err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `UPDATE users SET suspended_at = $2 WHERE id = $1`, user, db.Millis(at)); err != nil {
			return fmt.Errorf("suspend user: %w", err)
		}
		if !at.IsZero() {
			if err := s.endSessions(ctx, tx, `user_id = $2`, user); err != nil {
				return err
			}
		}
		tx.Changed(KindUser, user)
		return s.record(ctx, tx, by, u, action, nil)
	})
}

// record writes the audit event of a change about a user. It goes to the
// trail of whoever acts, else to that of the user's pool or first place.
func (s *Service) record(ctx context.Context, tx *db.Tx, by *access.Principal, u *User, action string, details map[string]any) error {
	e := activity.Event{Action: action, TargetType: "user", TargetID: u.ID, Details: details}
	if by == nil {
		by = &access.Principal{Kind: access.Anonymous, ID: u.ID, Name: u.Email, User: u.ID}
	}
	switch {
	case by.Tenant != "":
	case u.Pool != PlatformPool:
		e.Tenant = u.Pool
	default:
		places, err := s.tenancy.Places(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		if len(places) > 0 {
			e.Tenant, e.Organization = places[0].Tenant, places[0].ID
		}
	}
	return activity.Record(ctx, tx, by, e)
}

func cleanName(s string) (string, error) {
	s = strings.TrimSpace(s)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 100 || strings.ContainsFunc(s, unicode.IsControl) {
		return "", ErrName
	}
	return s, nil
}

const (
	columns   = `id, pool, email, first_name, last_name, email_verified_at, created_at, last_login_at, password_changed_at, suspended_at, password_hash`
	qualified = `u.id, u.pool, u.email, u.first_name, u.last_name, u.email_verified_at, u.created_at, u.last_login_at, u.password_changed_at, u.suspended_at, u.password_hash`
)

func (u *User) fields() []any {
	return []any{&u.ID, &u.Pool, &u.Email, &u.FirstName, &u.LastName, (*db.Time)(&u.EmailVerifiedAt), (*db.Time)(&u.CreatedAt),
		(*db.Time)(&u.LastLoginAt), (*db.Time)(&u.PasswordChangedAt), (*db.Time)(&u.SuspendedAt), (*db.Text)(&u.password)}
}

func oneUser(ctx context.Context, q db.Querier, where string, args ...any) (*User, error) {
	u, err := db.One(ctx, q, (*User).fields, `SELECT `+columns+` FROM users WHERE `+where, args...)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoUser
	}
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	return &u, nil
}

// insertUser adds a user; ErrEmailTaken when the address is somebody's.
func insertUser(ctx context.Context, tx *db.Tx, u *User) error {
	n, err := db.Exec(ctx, tx, `INSERT INTO users (`+columns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,NULL,NULL,NULL,$8) ON CONFLICT (pool, email) DO NOTHING`,
		u.ID, u.Pool, u.Email, u.FirstName, u.LastName, db.Millis(u.EmailVerifiedAt), u.CreatedAt.UnixMilli(), db.Null(u.password))
	if err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	if n == 0 {
		return ErrEmailTaken
	}
	return nil
}
