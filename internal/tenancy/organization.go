package tenancy

import (
	"context"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
)

// CreateOrganization founds a customer organization in the tenant of by, who
// must manage the tenant's home organization and becomes its owner.
func (s *Service) CreateOrganization(ctx context.Context, by *access.Principal, name, slug string) (*Organization, error) {
	if by == nil || by.Organization == "" {
		return nil, access.ErrDenied
	}
	if err := s.managesHome(ctx, by); err != nil {
		return nil, err
	}
	var o *Organization
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if o, err = s.Found(ctx, tx, by, Founding{Tenant: by.Tenant, Name: name, Slug: slug}); err != nil || by.User == "" {
			return err
		}
		return s.AddMember(ctx, tx, by, Membership{Organization: o.ID, User: by.User, Role: access.Owner, Seat: true})
	})
	return o, err
}

func (s *Service) managesHome(ctx context.Context, by *access.Principal) error {
	home, err := s.Organization(ctx, by.Organization)
	if err != nil {
		return err
	}
	if !home.Home {
		return access.ErrDenied.Saying("This needs the tenant's home organization: switch to it first.")
	}
	return access.Require(by, access.OrgManage)
}

// OrganizationChange says what UpdateOrganization sets; nil leaves it.
type OrganizationChange struct {
	Name         *string
	ContactEmail *string // "" removes it
	BodyPolicy   *string
}

// UpdateOrganization changes what people may set themselves.
func (s *Service) UpdateOrganization(ctx context.Context, by *access.Principal, organization string, c OrganizationChange) (*Organization, error) {
	if err := may(by, organization, access.OrgManage); err != nil {
		return nil, err
	}
	return s.change(ctx, by, organization, "organization.update", func(o *Organization) (err error) {
		if c.Name != nil {
			if !validName(*c.Name) {
				return ErrName
			}
			o.Name = *c.Name
		}
		if c.BodyPolicy != nil {
			if *c.BodyPolicy != BodiesOff && *c.BodyPolicy != BodiesMetadata && *c.BodyPolicy != BodiesFull {
				return ErrBodyPolicy
			}
			o.BodyPolicy = *c.BodyPolicy
		}
		if c.ContactEmail != nil {
			o.ContactEmail = ""
			if *c.ContactEmail != "" {
				o.ContactEmail, err = NormalEmail(*c.ContactEmail)
			}
		}
		return err
	})
}

// SetPlan puts an organization on a plan; operators only. What is in use above
// the new limits stays, but nothing more is added.
func (s *Service) SetPlan(ctx context.Context, by *access.Principal, organization, slug string) (*Organization, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, err
	}
	var o *Organization
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		o, err = s.ChangePlan(ctx, tx, by, organization, slug)
		return err
	})
	return o, err
}

// ChangePlan is SetPlan in the caller's transaction, for subscriptions that
// start and end; it asks for no permission.
func (s *Service) ChangePlan(ctx context.Context, tx *db.Tx, by *access.Principal, organization, slug string) (*Organization, error) {
	plan, err := s.PlanBySlug(ctx, tx, slug)
	if err != nil {
		return nil, err
	}
	o, err := lockOrganization(ctx, tx, organization)
	if err != nil {
		return nil, err
	}
	o.Plan = plan.ID
	return o, s.save(ctx, tx, by, o, "organization.plan", map[string]any{"plan": slug})
}

// SuspendOrganization stops an organization: nobody works in it until it is
// resumed. Operators may, and a tenant's home staff for its customers.
func (s *Service) SuspendOrganization(ctx context.Context, by *access.Principal, organization string) (*Organization, error) {
	return s.govern(ctx, by, organization, "organization.suspend", func(o *Organization) error {
		if o.Home {
			return ErrHome
		}
		if o.SuspendedAt.IsZero() {
			o.SuspendedAt = s.now()
		}
		return nil
	})
}

// ResumeOrganization ends a suspension.
func (s *Service) ResumeOrganization(ctx context.Context, by *access.Principal, organization string) (*Organization, error) {
	return s.govern(ctx, by, organization, "organization.resume", func(o *Organization) error {
		o.SuspendedAt = time.Time{}
		return nil
	})
}

// RemoveOrganization ends a customer organization for good. Its slug stays
// taken, so that no later organization is mistaken for it.
func (s *Service) RemoveOrganization(ctx context.Context, by *access.Principal, organization string) (*Organization, error) {
	remove := func(o *Organization) error {
		if o.Home {
			return ErrHome
		}
		o.RemovedAt = s.now()
		return nil
	}
	if by != nil && by.Organization == organization {
		if err := may(by, organization, access.OrgOwn); err != nil {
			return nil, err
		}
		return s.change(ctx, by, organization, "organization.remove", remove)
	}
	return s.govern(ctx, by, organization, "organization.remove", remove)
}

// govern is change for those above the organization.
func (s *Service) govern(ctx context.Context, by *access.Principal, organization, action string, edit func(*Organization) error) (*Organization, error) {
	if access.Require(by, access.Operate) != nil {
		if by == nil || by.Organization == "" {
			return nil, access.ErrDenied
		}
		o, err := s.Organization(ctx, organization)
		if err != nil {
			return nil, err
		}
		if o.Tenant != by.Tenant {
			return nil, ErrNoOrganization
		}
		if err := s.managesHome(ctx, by); err != nil {
			return nil, err
		}
	}
	return s.change(ctx, by, organization, action, edit)
}

func (s *Service) change(ctx context.Context, by *access.Principal, organization, action string, edit func(*Organization) error) (*Organization, error) {
	var o *Organization
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if o, err = lockOrganization(ctx, tx, organization); err != nil {
			return err
		}
		if err := edit(o); err != nil {
			return err
		}
		return s.save(ctx, tx, by, o, action, map[string]any{"name": o.Name})
	})
	return o, err
}

func (s *Service) save(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization, action string, details map[string]any) error {
	if err := updateOrganization(ctx, tx, o); err != nil {
		return err
	}
	tx.Changed(KindOrganization, o.ID)
	return s.record(ctx, tx, by, o, action, "organization", o.ID, details)
}

// SuspendTenant stops everything of a tenant; operators only.
func (s *Service) SuspendTenant(ctx context.Context, by *access.Principal, tenant string) error {
	return s.setSuspended(ctx, by, tenant, "tenant.suspend", s.now())
}

// ResumeTenant ends a tenant's suspension; operators only.
func (s *Service) ResumeTenant(ctx context.Context, by *access.Principal, tenant string) error {
	return s.setSuspended(ctx, by, tenant, "tenant.resume", time.Time{})
}

func (s *Service) setSuspended(ctx context.Context, by *access.Principal, tenant, action string, at time.Time) error {
	if err := access.Require(by, access.Operate); err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE tenants SET suspended_at = $2 WHERE id = $1`, tenant, db.Millis(at))
		if err != nil {
			return fmt.Errorf("suspend tenant: %w", err)
		}
		if n == 0 {
			return ErrNoTenant
		}
		tx.Changed(KindTenant, tenant)
		return activity.Record(ctx, tx, by, activity.Event{Tenant: tenant, Action: action, TargetType: "tenant", TargetID: tenant})
	})
}

// Window selects a part of a list.
type Window struct{ Limit, Offset int }

// Tenants lists the installation's tenants, oldest first, and says how many
// there are; operators only.
func (s *Service) Tenants(ctx context.Context, by *access.Principal, w Window) ([]Tenant, int64, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, 0, err
	}
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*) FROM tenants`)
	if err != nil {
		return nil, 0, fmt.Errorf("count tenants: %w", err)
	}
	list, err := db.All(ctx, s.store, (*Tenant).fields, `SELECT `+tenantColumns+` FROM tenants ORDER BY id LIMIT $1 OFFSET $2`, w.Limit, w.Offset)
	return list, total, err
}

// Organizations lists the tenant's organizations, oldest first, and says how
// many there are. "" as tenant lists all, for operators.
func (s *Service) Organizations(ctx context.Context, by *access.Principal, tenant string, w Window) ([]Organization, int64, error) {
	if access.Require(by, access.Operate) != nil {
		if by == nil || by.Tenant != tenant || tenant == "" {
			return nil, 0, ErrNoTenant
		}
		if err := s.managesHome(ctx, by); err != nil {
			return nil, 0, err
		}
	}
	const where = ` FROM organizations WHERE removed_at IS NULL AND ($1 = '' OR tenant_id = $1)`
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*)`+where, tenant)
	if err != nil {
		return nil, 0, fmt.Errorf("count organizations: %w", err)
	}
	list, err := db.All(ctx, s.store, (*Organization).fields, `SELECT `+organizationColumns+where+` ORDER BY id LIMIT $2 OFFSET $3`, tenant, w.Limit, w.Offset)
	return list, total, err
}

// HomeOf returns a tenant's home organization.
func (s *Service) HomeOf(ctx context.Context, q db.Querier, tenant string) (*Organization, error) {
	return oneOrganization(ctx, q, `tenant_id = $1 AND home`, tenant)
}

// Find returns a live organization in the caller's transaction. A tenant that
// is not "" must be its tenant.
func (s *Service) Find(ctx context.Context, q db.Querier, tenant, organization string) (*Organization, error) {
	return oneOrganization(ctx, q, `id = $1 AND removed_at IS NULL AND ($2 = '' OR tenant_id = $2)`, organization, tenant)
}
