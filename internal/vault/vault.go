package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/seal"
	"headgate/internal/workspace"
)

// Scope says whose secret one is.
type Scope string

// The scopes.
const (
	Organization Scope = "organization"
	Workspace    Scope = "workspace"
)

// Secret is what may be shown of a secret.
type Secret struct {
	Name      string
	Scope     Scope
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Place is where a secret lives: an organization, or one of its workspaces.
type Place struct {
	Organization string
	Workspace    string // an id or a slug; "" for the organization's own
}

// The bounds of one place.
const (
	maxName    = 128
	maxValue   = 64 << 10
	maxSecrets = 500
)

// Service is the domain of secrets.
type Service struct {
	store      *db.Store
	keys       *seal.Keys
	workspaces *workspace.Service
	now        func() time.Time
	ask        Ask
}

// Ask is asked, in the transaction that would do it, whether somebody may set
// or delete a secret now; its error ends the transaction.
type Ask func(ctx context.Context, q db.Querier, by *access.Principal) error

// New returns the service.
func New(store *db.Store, keys *seal.Keys, workspaces *workspace.Service, now func() time.Time) *Service {
	return &Service{store: store, keys: keys, workspaces: workspaces, now: now, ask: func(context.Context, db.Querier, *access.Principal) error { return nil }}
}

// Gate has every change of a secret asked about first. It belongs to building
// the program, before the first request.
func (s *Service) Gate(ask Ask) { s.ask = ask }

// Ref is how a change of a secret is announced. workspace is an id, "" for an
// organization's own.
func Ref(organization, workspace, name string) string {
	return organization + "/" + workspace + "/" + name
}

// seat is what a value is sealed for. No part can hold the separator.
func seat(p Place, name string) string {
	return "secret\x00" + p.Organization + "\x00" + p.Workspace + "\x00" + name
}

// Set makes a secret or gives it another value, and reports whether it is new.
func (s *Service) Set(ctx context.Context, by *access.Principal, at Place, name string, value seal.Value) (created bool, err error) {
	if !validName(name) {
		return false, ErrName
	}
	if n := len(value.Reveal()); n == 0 || n > maxValue {
		return false, ErrValue
	}
	if at, err = s.permit(ctx, by, at); err != nil {
		return false, err
	}
	if err := s.refuseVendor(ctx, at, name); err != nil {
		return false, err
	}
	sealed, now := s.keys.Seal(seat(at, name), []byte(value.Reveal())), s.now().UnixMilli()
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		if err := s.ask(ctx, tx, by); err != nil {
			return err
		}
		// First the event: its lock makes writers take turns, so that the count is exact.
		if err := record(ctx, tx, by, at, name, "secret.set"); err != nil {
			return err
		}
		n, err := db.Exec(ctx, tx, `UPDATE secrets SET sealed = $4, updated_at = $5 WHERE organization_id = $1 AND workspace_id = $2 AND name = $3`, at.Organization, at.Workspace, name, sealed, now)
		if err != nil {
			return fmt.Errorf("set secret: %w", err)
		}
		if created = n == 0; created {
			if err := insert(ctx, tx, at, name, sealed, now); err != nil {
				return err
			}
		}
		tx.Changed("secret", Ref(at.Organization, at.Workspace, name))
		return nil
	})
	return created && err == nil, err
}

func insert(ctx context.Context, tx *db.Tx, at Place, name string, sealed []byte, now int64) error {
	n, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM secrets WHERE organization_id = $1 AND workspace_id = $2`, at.Organization, at.Workspace)
	if err != nil {
		return fmt.Errorf("count secrets: %w", err)
	}
	if n >= maxSecrets {
		return ErrTooMany.With("limit", maxSecrets)
	}
	if _, err = db.Exec(ctx, tx, `INSERT INTO secrets (organization_id, workspace_id, name, sealed, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)`, at.Organization, at.Workspace, name, sealed, now); err != nil {
		return fmt.Errorf("insert secret: %w", err)
	}
	return nil
}

// Delete removes a secret of exactly this place.
func (s *Service) Delete(ctx context.Context, by *access.Principal, at Place, name string) error {
	at, err := s.permit(ctx, by, at)
	if err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `DELETE FROM secrets WHERE organization_id = $1 AND workspace_id = $2 AND name = $3`, at.Organization, at.Workspace, name)
		if err != nil {
			return fmt.Errorf("delete secret: %w", err)
		}
		if n == 0 {
			return ErrNotFound
		}
		if err := s.ask(ctx, tx, by); err != nil {
			return err
		}
		tx.Changed("secret", Ref(at.Organization, at.Workspace, name))
		return record(ctx, tx, by, at, name, "secret.delete")
	})
}

// List returns the secrets that are seen from a place, by name: a workspace's
// own and those of its organization that it does not override.
func (s *Service) List(ctx context.Context, at Place) ([]Secret, error) {
	at, err := s.resolve(ctx, at)
	if err != nil {
		return nil, err
	}
	list, err := db.All(ctx, s.store, func(x *Secret) []any {
		return []any{&x.Name, &x.Scope, (*db.Time)(&x.CreatedAt), (*db.Time)(&x.UpdatedAt)}
	}, `SELECT name, CASE WHEN workspace_id = '' THEN 'organization' ELSE 'workspace' END, created_at, updated_at FROM secrets s
		WHERE organization_id = $1 AND workspace_id IN ('', $2)
		AND NOT (workspace_id = '' AND $2 <> '' AND EXISTS (SELECT 1 FROM secrets o WHERE o.organization_id = $1 AND o.workspace_id = $2 AND o.name = s.name))
		ORDER BY name`, at.Organization, at.Workspace)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	return list, nil
}

// Get returns the value of a secret as seen from a place: for the parts of
// Headgate that use it, never for a door.
func (s *Service) Get(ctx context.Context, at Place, name string) (seal.Value, error) {
	at, err := s.resolve(ctx, at)
	if err != nil {
		return seal.Value{}, err
	}
	type row struct {
		workspace string
		sealed    []byte
	}
	found, err := db.One(ctx, s.store, func(r *row) []any { return []any{&r.workspace, &r.sealed} },
		`SELECT workspace_id, sealed FROM secrets WHERE organization_id = $1 AND workspace_id IN ('', $2) AND name = $3 ORDER BY workspace_id DESC LIMIT 1`, at.Organization, at.Workspace, name)
	if errors.Is(err, db.ErrNone) {
		return seal.Value{}, ErrNotFound
	}
	if err != nil {
		return seal.Value{}, fmt.Errorf("read secret: %w", err)
	}
	plain, err := s.keys.Open(seat(Place{at.Organization, found.workspace}, name), found.sealed)
	if err != nil {
		return seal.Value{}, fmt.Errorf("secret %s: %w", name, err)
	}
	return seal.NewValue(string(plain)), nil
}

// permit judges who wants to change something, and resolves the place.
func (s *Service) permit(ctx context.Context, by *access.Principal, at Place) (Place, error) {
	if by == nil || by.Kind != access.System && by.Organization != at.Organization {
		return Place{}, ErrNotFound
	}
	if by.Kind != access.System {
		if err := access.Require(by, access.WorkspacesAdmin); err != nil {
			return Place{}, err
		}
	}
	return s.resolve(ctx, at)
}

// resolve turns the workspace's slug or id into its id; one of another
// organization does not exist.
func (s *Service) resolve(ctx context.Context, at Place) (Place, error) {
	if at.Workspace == "" {
		return at, nil
	}
	w, err := s.workspaces.Get(ctx, at.Organization, at.Workspace)
	return Place{at.Organization, w.ID}, err
}

func record(ctx context.Context, tx *db.Tx, by *access.Principal, at Place, name, action string) error {
	tenant, err := db.Value[string](ctx, tx, `SELECT tenant_id FROM organizations WHERE id = $1 AND removed_at IS NULL`, at.Organization)
	if errors.Is(err, db.ErrNone) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return activity.Record(ctx, tx, by, activity.Event{
		Tenant: tenant, Organization: at.Organization, Workspace: at.Workspace, Action: action, TargetType: "secret", TargetID: name,
	})
}

func validName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	if name == "" || len(name) > maxName || !strings.Contains(letters, name[:1]) {
		return false
	}
	return strings.Trim(name, letters+"0123456789-.") == ""
}
