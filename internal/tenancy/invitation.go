package tenancy

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
)

const (
	invitationLife     = 7 * 24 * time.Hour
	maxOpenInvitations = 1000
)

// Invitation asks the owner of a mailbox to join an organization as something.
type Invitation struct {
	ID           string
	Organization string
	Email        string
	Role         access.Role
	InvitedBy    string
	CreatedAt    time.Time
	ExpiresAt    time.Time
	AcceptedAt   time.Time
	RevokedAt    time.Time
}

// Open reports whether the invitation can still be accepted.
func (i *Invitation) Open(now time.Time) bool {
	return i.AcceptedAt.IsZero() && i.RevokedAt.IsZero() && now.Before(i.ExpiresAt)
}

// Invite makes an invitation and its token, which is told only here; an
// earlier open one to the same address is revoked. Seats that open
// invitations have been promised count as used.
func (s *Service) Invite(ctx context.Context, tx *db.Tx, by *access.Principal, organization, email string, role access.Role) (*Invitation, string, error) {
	if err := may(by, organization, access.OrgManage); err != nil {
		return nil, "", err
	}
	if !access.ValidRole(role) {
		return nil, "", ErrRole
	}
	if role == access.Owner && !mayTouchOwners(by) {
		return nil, "", ErrOwnersOnly
	}
	email, err := NormalEmail(email)
	if err != nil {
		return nil, "", err
	}
	o, err := lockOrganization(ctx, tx, organization)
	if err != nil {
		return nil, "", err
	}
	now := s.now()
	if _, err := db.Exec(ctx, tx, `UPDATE invitations SET revoked_at = $3 WHERE organization_id = $1 AND email = $2 AND accepted_at IS NULL AND revoked_at IS NULL`,
		organization, email, now.UnixMilli()); err != nil {
		return nil, "", fmt.Errorf("revoke earlier invitation: %w", err)
	}
	open, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM invitations WHERE organization_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2`,
		organization, now.UnixMilli())
	if err != nil {
		return nil, "", fmt.Errorf("count invitations: %w", err)
	}
	if open >= maxOpenInvitations {
		return nil, "", ErrTooMany
	}
	if err := s.checkSeats(ctx, tx, o, open); err != nil {
		return nil, "", err
	}
	token := newToken()
	inv := &Invitation{ID: id.New("inv"), Organization: organization, Email: email, Role: role, InvitedBy: by.User, CreatedAt: now, ExpiresAt: now.Add(invitationLife)}
	if err := s.insertInvitation(ctx, tx, inv, token); err != nil {
		return nil, "", err
	}
	return inv, token, s.record(ctx, tx, by, o, "invitation.create", "invitation", inv.ID, map[string]any{"email": email, "role": role})
}

// Invitation returns the open invitation a token stands for, without using it
// up, however often it is asked: mail scanners open every link.
func (s *Service) Invitation(ctx context.Context, q db.Querier, token string) (*Invitation, error) {
	inv, err := s.byToken(ctx, q, token)
	if err != nil {
		return nil, err
	}
	if !inv.Open(s.now()) {
		return nil, ErrInvitation
	}
	return inv, nil
}

// Accept uses an invitation up and makes the user a member, in the caller's
// transaction. email is the user's own, proven or just registered.
func (s *Service) Accept(ctx context.Context, tx *db.Tx, by *access.Principal, token, user, email string) (*Invitation, error) {
	inv, err := s.Invitation(ctx, tx, token)
	if err != nil {
		return nil, err
	}
	if inv.Email != email {
		return nil, ErrNotInvited
	}
	inv.AcceptedAt = s.now()
	// The condition decides between two who accept at once.
	n, err := db.Exec(ctx, tx, `UPDATE invitations SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL AND revoked_at IS NULL`, inv.ID, inv.AcceptedAt.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("accept invitation: %w", err)
	}
	if n == 0 {
		return nil, ErrInvitation
	}
	err = s.AddMember(ctx, tx, by, Membership{Organization: inv.Organization, User: user, Role: inv.Role, Seat: true})
	if err != nil {
		return nil, err
	}
	o, err := oneOrganization(ctx, tx, `id = $1`, inv.Organization)
	if err != nil {
		return nil, err
	}
	return inv, s.record(ctx, tx, by, o, "invitation.accept", "invitation", inv.ID, map[string]any{"user": user, "role": inv.Role})
}

// RevokeInvitation ends an open invitation.
func (s *Service) RevokeInvitation(ctx context.Context, by *access.Principal, organization, invitation string) error {
	if err := may(by, organization, access.OrgManage); err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		o, err := lockOrganization(ctx, tx, organization)
		if err != nil {
			return err
		}
		n, err := db.Exec(ctx, tx, `UPDATE invitations SET revoked_at = $3 WHERE organization_id = $1 AND id = $2 AND accepted_at IS NULL AND revoked_at IS NULL`,
			organization, invitation, s.now().UnixMilli())
		if err != nil {
			return fmt.Errorf("revoke invitation: %w", err)
		}
		if n == 0 {
			return ErrNoInvitation
		}
		return s.record(ctx, tx, by, o, "invitation.revoke", "invitation", invitation, nil)
	})
}

// Invitations lists an organization's open invitations, newest first.
func (s *Service) Invitations(ctx context.Context, by *access.Principal, organization string) ([]Invitation, error) {
	if err := may(by, organization, access.OrgManage); err != nil {
		return nil, err
	}
	list, err := db.All(ctx, s.store, (*Invitation).fields, `SELECT `+invitationColumns+` FROM invitations
		WHERE organization_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2 ORDER BY id DESC LIMIT $3`,
		organization, s.now().UnixMilli(), maxOpenInvitations)
	if err != nil {
		return nil, fmt.Errorf("invitations: %w", err)
	}
	return list, nil
}

// newToken returns 256 random bits as text that survives URLs.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails on supported systems
	return base64.RawURLEncoding.EncodeToString(b)
}

const invitationColumns = `id, organization_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at`

func (i *Invitation) fields() []any {
	return []any{&i.ID, &i.Organization, &i.Email, &i.Role, (*db.Text)(&i.InvitedBy), (*db.Time)(&i.CreatedAt), (*db.Time)(&i.ExpiresAt), (*db.Time)(&i.AcceptedAt), (*db.Time)(&i.RevokedAt)}
}

const tokenPurpose = "invitation:"

func (s *Service) insertInvitation(ctx context.Context, tx *db.Tx, i *Invitation, token string) error {
	hash, _ := s.keys.Hash(tokenPurpose + token)
	_, err := db.Exec(ctx, tx, `INSERT INTO invitations (`+invitationColumns+`, token_hash) VALUES ($1,$2,$3,$4,$5,$6,$7,NULL,NULL,$8)`,
		i.ID, i.Organization, i.Email, i.Role, db.Null(i.InvitedBy), i.CreatedAt.UnixMilli(), i.ExpiresAt.UnixMilli(), hash[:])
	if err != nil {
		return fmt.Errorf("add invitation: %w", err)
	}
	return nil
}

func (s *Service) byToken(ctx context.Context, q db.Querier, token string) (*Invitation, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(32) {
		return nil, ErrInvitation
	}
	for _, hash := range s.keys.Hashes(tokenPurpose + token) {
		i, err := db.One(ctx, q, (*Invitation).fields, `SELECT `+invitationColumns+` FROM invitations WHERE token_hash = $1`, slices.Clone(hash[:]))
		if err == nil {
			return &i, nil
		}
		if !errors.Is(err, db.ErrNone) {
			return nil, fmt.Errorf("invitation: %w", err)
		}
	}
	return nil, ErrInvitation
}
