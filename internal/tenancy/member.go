package tenancy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
)

// Membership is a user's place in an organization.
type Membership struct {
	Organization string
	User         string
	Role         access.Role
	Active       bool
	Seat         bool // counts against the plan's users; end users take none
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Membership returns a membership, active or not, or ErrNoMember.
func (s *Service) Membership(ctx context.Context, organization, user string) (*Membership, error) {
	all, err := s.memberships.Get(ctx, user)
	if err != nil {
		return nil, err
	}
	m, ok := all[organization]
	if !ok {
		return nil, ErrNoMember
	}
	return m, nil
}

// RoleOf returns the role a user has in an organization now; ErrNoMember when
// they are no active member.
func (s *Service) RoleOf(ctx context.Context, organization, user string) (access.Role, error) {
	m, err := s.Membership(ctx, organization, user)
	if err != nil {
		return "", err
	}
	if !m.Active {
		return "", ErrNoMember
	}
	return m.Role, nil
}

// Place is an organization a user may work in.
type Place struct {
	Organization
	Role     access.Role
	JoinedAt time.Time
}

// Places lists where a user is an active member and may work, the
// organization joined first in front.
func (s *Service) Places(ctx context.Context, q db.Querier, user string) ([]Place, error) {
	list, err := db.All(ctx, q, func(p *Place) []any {
		return append(p.fields(), &p.Role, (*db.Time)(&p.JoinedAt))
	}, `SELECT o.id, o.tenant_id, o.slug, o.name, o.home, o.plan_id, o.body_policy, o.contact_email, o.created_at, o.suspended_at, o.removed_at, m.role, m.created_at
		FROM memberships m JOIN organizations o ON o.id = m.organization_id JOIN tenants t ON t.id = o.tenant_id
		WHERE m.user_id = $1 AND m.active AND o.removed_at IS NULL AND o.suspended_at IS NULL AND t.suspended_at IS NULL
		ORDER BY m.created_at, o.id LIMIT 1000`, user)
	if err != nil {
		return nil, fmt.Errorf("places: %w", err)
	}
	return list, nil
}

// AddMember makes a user an active member in the caller's transaction, taking
// a seat of the plan when m.Seat is set. It asks for no permission.
func (s *Service) AddMember(ctx context.Context, tx *db.Tx, by *access.Principal, m Membership) error {
	if !access.ValidRole(m.Role) {
		return ErrRole
	}
	o, err := lockOrganization(ctx, tx, m.Organization)
	if err != nil {
		return err
	}
	if m.Seat {
		if err := s.checkSeats(ctx, tx, o, 0); err != nil {
			return err
		}
	}
	now := s.now().UnixMilli()
	n, err := db.Exec(ctx, tx, `INSERT INTO memberships (`+membershipColumns+`) VALUES ($1, $2, $3, TRUE, $4, $5, $5) ON CONFLICT (organization_id, user_id) DO NOTHING`,
		m.Organization, m.User, m.Role, m.Seat, now)
	if err != nil {
		return fmt.Errorf("add member: %w", err)
	}
	if n == 0 {
		return ErrMember
	}
	tx.Changed(KindMembership, m.User)
	return s.record(ctx, tx, by, o, "member.add", "user", m.User, map[string]any{"role": m.Role})
}

// checkSeats returns ErrLimit unless the plan has room for one more member.
// The organization is locked, so the count stands until the commit.
func (s *Service) checkSeats(ctx context.Context, tx *db.Tx, o *Organization, promised int64) error {
	plan, err := onePlan(ctx, tx, `id = $1`, o.Plan)
	if err != nil {
		return err
	}
	used, err := countSeats(ctx, tx, o.ID)
	if err != nil {
		return err
	}
	if !plan.Users.Allows(used + promised) {
		return Exceeded("users", plan.Users, used+promised, time.Time{})
	}
	return nil
}

func countSeats(ctx context.Context, q db.Querier, organization string) (int64, error) {
	n, err := db.Value[int64](ctx, q, `SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND active AND seat`, organization)
	if err != nil {
		return 0, fmt.Errorf("count members: %w", err)
	}
	return n, nil
}

// Counts says how many people an organization has.
type Counts struct {
	Users       int64 // active members that take a seat
	EndUsers    int64 // active members that do not
	Inactive    int64
	Invitations int64 // open ones
}

// Counts counts an organization's people.
func (s *Service) Counts(ctx context.Context, organization string) (Counts, error) {
	c, err := db.One(ctx, s.store, func(c *Counts) []any { return []any{&c.Users, &c.EndUsers, &c.Inactive, &c.Invitations} },
		`SELECT COUNT(*) FILTER (WHERE active AND seat), COUNT(*) FILTER (WHERE active AND NOT seat), COUNT(*) FILTER (WHERE NOT active),
			(SELECT COUNT(*) FROM invitations WHERE organization_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2)
		FROM memberships WHERE organization_id = $1`, organization, s.now().UnixMilli())
	if err != nil {
		return c, fmt.Errorf("count people: %w", err)
	}
	return c, nil
}

// SetRole gives a member another role.
func (s *Service) SetRole(ctx context.Context, by *access.Principal, organization, user string, role access.Role) (*Membership, error) {
	return s.Change(ctx, by, organization, user, &role, nil)
}

// Deactivate keeps a member but lets them in no more; their seat is free and
// their sessions here end.
func (s *Service) Deactivate(ctx context.Context, by *access.Principal, organization, user string) (*Membership, error) {
	return s.Change(ctx, by, organization, user, nil, new(false))
}

// Reactivate lets a deactivated member in again, if the plan has a seat.
func (s *Service) Reactivate(ctx context.Context, by *access.Principal, organization, user string) (*Membership, error) {
	return s.Change(ctx, by, organization, user, nil, new(true))
}

// Change gives a member another role, lets them in or out, or both: all of it
// or nothing. nil leaves what it stands for.
func (s *Service) Change(ctx context.Context, by *access.Principal, organization, user string, role *access.Role, active *bool) (*Membership, error) {
	if role != nil && !access.ValidRole(*role) {
		return nil, ErrRole
	}
	if err := may(by, organization, access.OrgManage); err != nil {
		return nil, err
	}
	var m *Membership
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		o, err := lockOrganization(ctx, tx, organization)
		if err != nil {
			return err
		}
		if m, err = oneMembership(ctx, tx, organization, user); err != nil {
			return err
		}
		owners := m.Role == access.Owner || role != nil && *role == access.Owner
		if owners && !mayTouchOwners(by) {
			return ErrOwnersOnly
		}
		if role != nil {
			before := *m
			m.Role = *role
			if err := s.replace(ctx, tx, by, o, before, m, "member.role"); err != nil {
				return err
			}
		}
		if active == nil {
			return nil
		}
		return s.admit(ctx, tx, by, o, m, *active)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// admit lets a member in or out.
func (s *Service) admit(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization, m *Membership, in bool) error {
	before, action := *m, "member.deactivate"
	if in {
		action = "member.reactivate"
		if m.Seat && !m.Active {
			if err := s.checkSeats(ctx, tx, o, 0); err != nil {
				return err
			}
		}
	}
	m.Active = in
	return s.replace(ctx, tx, by, o, before, m, action)
}

// replace stores a changed membership, announces and records it. The
// organization must keep an active owner.
func (s *Service) replace(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization, before Membership, m *Membership, action string) error {
	m.UpdatedAt = s.now()
	if _, err := db.Exec(ctx, tx, `UPDATE memberships SET role = $3, active = $4, updated_at = $5 WHERE organization_id = $1 AND user_id = $2`,
		m.Organization, m.User, m.Role, m.Active, m.UpdatedAt.UnixMilli()); err != nil {
		return fmt.Errorf("update member: %w", err)
	}
	if err := keepsOwner(ctx, tx, before); err != nil {
		return err
	}
	tx.Changed(KindMembership, m.User)
	if before.Active && !m.Active {
		if err := s.left(ctx, tx, by, m.Organization, m.User); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, by, o, action, "user", m.User, map[string]any{"before": before.Role, "role": m.Role, "active": m.Active})
}

// Remove ends a membership. Members may remove themselves; others need the
// right to manage the organization.
func (s *Service) Remove(ctx context.Context, by *access.Principal, organization, user string) error {
	perm := access.OrgManage
	if by != nil && by.Kind == access.Session && by.User == user {
		perm = access.OrganizationRead
	}
	if err := may(by, organization, perm); err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		o, err := lockOrganization(ctx, tx, organization)
		if err != nil {
			return err
		}
		m, err := oneMembership(ctx, tx, organization, user)
		if err != nil {
			return err
		}
		if m.Role == access.Owner && !mayTouchOwners(by) {
			return ErrOwnersOnly
		}
		if _, err := db.Exec(ctx, tx, `DELETE FROM memberships WHERE organization_id = $1 AND user_id = $2`, organization, user); err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		if err := keepsOwner(ctx, tx, *m); err != nil {
			return err
		}
		tx.Changed(KindMembership, user)
		if err := s.left(ctx, tx, by, organization, user); err != nil {
			return err
		}
		return s.record(ctx, tx, by, o, "member.remove", "user", user, map[string]any{"role": m.Role})
	})
}

// Transfer makes another active member owner and the present one, who acts,
// an admin, in one step.
func (s *Service) Transfer(ctx context.Context, by *access.Principal, organization, to string) error {
	if err := may(by, organization, access.OrgOwn); err != nil {
		return err
	}
	if by.User == "" || by.User == to {
		return ErrNoMember
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		o, err := lockOrganization(ctx, tx, organization)
		if err != nil {
			return err
		}
		from, err := oneMembership(ctx, tx, organization, by.User)
		if err != nil {
			return err
		}
		heir, err := oneMembership(ctx, tx, organization, to)
		if err != nil {
			return err
		}
		if !heir.Active || !heir.Seat {
			return ErrNoMember
		}
		if from.Role != access.Owner || !from.Active { // lost since the permission was checked
			return ErrOwnersOnly
		}
		beforeHeir, beforeFrom := *heir, *from
		heir.Role, from.Role = access.Owner, access.Admin
		if err := s.replace(ctx, tx, by, o, beforeHeir, heir, "member.transfer"); err != nil {
			return err
		}
		return s.replace(ctx, tx, by, o, beforeFrom, from, "member.role")
	})
}

func (s *Service) left(ctx context.Context, tx *db.Tx, by *access.Principal, organization, user string) error {
	for _, fn := range s.leave {
		if err := fn(ctx, tx, by, organization, user); err != nil {
			return err
		}
	}
	return nil
}

func mayTouchOwners(by *access.Principal) bool {
	return by != nil && (by.Kind == access.System || by.Role == access.Owner)
}

// keepsOwner returns ErrLastOwner when the change of a membership, already
// written, took an organization its last active owner.
func keepsOwner(ctx context.Context, tx *db.Tx, before Membership) error {
	if before.Role != access.Owner || !before.Active {
		return nil
	}
	owners, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND role = $2 AND active`, before.Organization, access.Owner)
	if err != nil {
		return fmt.Errorf("count owners: %w", err)
	}
	if owners == 0 {
		return ErrLastOwner
	}
	return nil
}

const membershipColumns = `organization_id, user_id, role, active, seat, created_at, updated_at`

func (m *Membership) fields() []any {
	return []any{&m.Organization, &m.User, &m.Role, &m.Active, &m.Seat, (*db.Time)(&m.CreatedAt), (*db.Time)(&m.UpdatedAt)}
}

func oneMembership(ctx context.Context, q db.Querier, organization, user string) (*Membership, error) {
	m, err := db.One(ctx, q, (*Membership).fields, `SELECT `+membershipColumns+` FROM memberships WHERE organization_id = $1 AND user_id = $2`, organization, user)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoMember
	}
	if err != nil {
		return nil, fmt.Errorf("membership: %w", err)
	}
	return &m, nil
}

func membershipsOf(ctx context.Context, q db.Querier, user string) (map[string]*Membership, error) {
	list, err := db.All(ctx, q, (*Membership).fields, `SELECT `+membershipColumns+` FROM memberships WHERE user_id = $1`, user)
	if err != nil {
		return nil, fmt.Errorf("memberships: %w", err)
	}
	all := make(map[string]*Membership, len(list))
	for i := range list {
		all[list[i].Organization] = &list[i]
	}
	return all, nil
}
