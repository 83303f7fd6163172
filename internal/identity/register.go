package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/tenancy"
)

// Registration asks for a user.
type Registration struct {
	Pool             string // "" is PlatformPool
	Email            string
	Password         string
	FirstName        string
	LastName         string
	OrganizationName string // platform pool: the tenant to found; "" names it after the mailbox
	Invitation       string // platform pool: the token of an invitation to accept instead of founding
	Organization     string // a tenant's pool: the organization to join as member; "" is the tenant's home
	// Founding says more about what is founded; from Headgate itself only.
	Founding tenancy.Founding
}

// Register adds a person: to the platform pool with a tenant of their own, or
// into the organization that invited them; to a tenant's pool as a member. The
// sign-up policy binds everybody but Headgate itself (a principal of kind
// System), whose people need not prove their address either.
func (s *Service) Register(ctx context.Context, by *access.Principal, r Registration) (*User, error) {
	system := by != nil && by.Kind == access.System
	if r.Pool == "" {
		r.Pool = PlatformPool
	}
	u, err := s.newUser(system, &r)
	if err != nil {
		return nil, err
	}
	if err := s.checkFree(ctx, u); err != nil {
		return nil, err
	}
	if u.password, err = s.hasher.hash(ctx, r.Password); err != nil {
		return nil, err
	}
	var m *Message
	verified := u.EmailVerifiedAt
	err = s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		u.EmailVerifiedAt = verified // a transaction that is run again starts afresh
		m, err = s.enroll(ctx, tx, by, u, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.send(ctx, m)
	return u, nil
}

// newUser checks a registration and makes the user of it, without password.
func (s *Service) newUser(system bool, r *Registration) (*User, error) {
	if r.Pool == PlatformPool && !system {
		switch {
		case s.o.SignUp == Closed:
			return nil, ErrSignUp
		case s.o.SignUp == Invite && r.Invitation == "":
			return nil, ErrInviteOnly
		}
	}
	email, err := tenancy.NormalEmail(r.Email)
	if err != nil {
		return nil, err
	}
	first, err1 := cleanName(r.FirstName)
	last, err2 := cleanName(r.LastName)
	if err := errors.Join(err1, err2); err != nil {
		return nil, ErrName
	}
	u := &User{ID: id.New("user"), Pool: r.Pool, Email: email, FirstName: first, LastName: last, CreatedAt: s.now()}
	if system {
		u.EmailVerifiedAt = u.CreatedAt
	} else {
		r.Founding = tenancy.Founding{}
	}
	mailbox, _, _ := strings.Cut(email, "@")
	if r.OrganizationName == "" {
		r.OrganizationName = mailbox
	}
	return u, checkPassword(r.Password, mailbox, first, last)
}

// checkFree spares taken addresses the cost of a hash; the insert decides.
func (s *Service) checkFree(ctx context.Context, u *User) error {
	_, err := oneUser(ctx, s.store, `pool = $1 AND email = $2`, u.Pool, u.Email)
	switch {
	case err == nil:
		return ErrEmailTaken
	case errors.Is(err, ErrNoUser):
		return nil
	}
	return err
}

// enroll stores a new user, gives them their place, and returns the message
// that asks them to prove their address, nil when it is proven.
func (s *Service) enroll(ctx context.Context, tx *db.Tx, by *access.Principal, u *User, r Registration) (*Message, error) {
	if err := insertUser(ctx, tx, u); err != nil {
		return nil, err
	}
	actor := by
	if actor == nil || actor.Kind == access.Anonymous {
		actor = &access.Principal{Kind: access.Anonymous, ID: u.ID, Name: u.Email, User: u.ID}
	}
	tenant, organization, err := s.settle(ctx, tx, actor, u, r)
	if err != nil {
		return nil, err
	}
	err = activity.Record(ctx, tx, actor, activity.Event{Tenant: tenant, Organization: organization, Action: "user.register", TargetType: "user", TargetID: u.ID, Details: map[string]any{"email": u.Email, "invited": r.Invitation != ""}})
	if err != nil || !u.EmailVerifiedAt.IsZero() {
		return nil, err
	}
	token, err := s.mailToken(ctx, tx, u.ID, purposeVerify, verifyLife)
	if err != nil {
		return nil, err
	}
	return s.verifyMessage(u, token), nil
}

// settle gives a new user their first place and returns it.
func (s *Service) settle(ctx context.Context, tx *db.Tx, by *access.Principal, u *User, r Registration) (tenant, organization string, err error) {
	switch {
	case u.Pool != PlatformPool:
		o, err := s.openTo(ctx, tx, u.Pool, r.Organization)
		if err != nil {
			return "", "", err
		}
		return o.Tenant, o.ID, s.tenancy.AddMember(ctx, tx, by, tenancy.Membership{Organization: o.ID, User: u.ID, Role: access.Member})
	case r.Invitation != "":
		inv, err := s.tenancy.Accept(ctx, tx, by, r.Invitation, u.ID, u.Email)
		if err != nil {
			return "", "", err
		}
		o, err := s.tenancy.Find(ctx, tx, "", inv.Organization)
		if err != nil {
			return "", "", err
		}
		// The invitation went to this address, so whoever holds it owns it.
		u.EmailVerifiedAt = s.now()
		return o.Tenant, o.ID, s.setVerified(ctx, tx, u.ID, u.EmailVerifiedAt)
	}
	f := r.Founding
	f.Name = r.OrganizationName
	o, err := s.tenancy.Found(ctx, tx, by, f)
	if err != nil {
		return "", "", err
	}
	return o.Tenant, o.ID, s.tenancy.AddMember(ctx, tx, by, tenancy.Membership{Organization: o.ID, User: u.ID, Role: access.Owner, Seat: true})
}

// openTo returns the organization of a tenant that a new end user joins.
func (s *Service) openTo(ctx context.Context, tx *db.Tx, tenant, organization string) (*tenancy.Organization, error) {
	find := func() (*tenancy.Organization, error) { return s.tenancy.Find(ctx, tx, tenant, organization) }
	if organization == "" {
		find = func() (*tenancy.Organization, error) { return s.tenancy.HomeOf(ctx, tx, tenant) }
	}
	o, err := find()
	if err == nil && !o.SuspendedAt.IsZero() {
		err = tenancy.ErrSuspended
	}
	return o, err
}

func (s *Service) setVerified(ctx context.Context, tx *db.Tx, user string, at time.Time) error {
	if _, err := db.Exec(ctx, tx, `UPDATE users SET email_verified_at = $2 WHERE id = $1 AND email_verified_at IS NULL`, user, at.UnixMilli()); err != nil {
		return fmt.Errorf("verify address: %w", err)
	}
	return nil
}

// Invite invites the owner of a mailbox into an organization and mails the
// link, which nobody else is told.
func (s *Service) Invite(ctx context.Context, by *access.Principal, organization, email string, role access.Role) (*tenancy.Invitation, error) {
	o, err := s.tenancy.Organization(ctx, organization)
	if err != nil {
		return nil, err
	}
	var inv *tenancy.Invitation
	var token string
	err = s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if inv, token, err = s.tenancy.Invite(ctx, tx, by, organization, email, role); err != nil {
			return err
		}
		n, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.organization_id = $1 AND u.pool = $2 AND u.email = $3`, organization, PlatformPool, inv.Email)
		if err != nil {
			return fmt.Errorf("find member: %w", err)
		}
		if n > 0 {
			return tenancy.ErrMember
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.send(ctx, s.inviteMessage(inv, o.Name, by.Name, token))
	return inv, nil
}

// AcceptInvitation makes the person who asks a member of the organization that
// invited their address.
func (s *Service) AcceptInvitation(ctx context.Context, by *access.Principal, token string) (*tenancy.Invitation, error) {
	if err := person(by); err != nil {
		return nil, err
	}
	if by.Kind != access.Session {
		return nil, tenancy.ErrNotInvited
	}
	var inv *tenancy.Invitation
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		u, err := oneUser(ctx, tx, `id = $1`, by.User)
		if err != nil {
			return err
		}
		if inv, err = s.tenancy.Accept(ctx, tx, by, token, u.ID, u.Email); err != nil {
			return err
		}
		return s.setVerified(ctx, tx, u.ID, s.now())
	})
	return inv, err
}
