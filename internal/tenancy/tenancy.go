package tenancy

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/tenancy/recall"
)

// The kinds of changes this package announces (db.Tx.Changed), each with an
// id; a membership's is its user's.
const (
	KindTenant       = "tenant"
	KindOrganization = "organization"
	KindPlan         = "plan"
	KindMembership   = "membership"
)

// Tenant is the isolation boundary: one developer company.
type Tenant struct {
	ID          string
	Slug        string
	Name        string
	CreatedAt   time.Time
	SuspendedAt time.Time
}

// Organization is a group of people inside a tenant.
type Organization struct {
	ID           string
	Tenant       string
	Slug         string
	Name         string
	Home         bool // the tenant's own staff
	Plan         string
	BodyPolicy   string
	ContactEmail string
	CreatedAt    time.Time
	SuspendedAt  time.Time
	RemovedAt    time.Time
}

// What an organization keeps of the bodies of its calls.
const (
	BodiesOff      = "off"
	BodiesMetadata = "metadata"
	BodiesFull     = "full"
)

// Service holds the operations. Its methods open their own transaction unless
// they take one.
type Service struct {
	store *db.Store
	keys  *seal.Keys
	now   func() time.Time

	tenants       *recall.Cache[*Tenant]
	organizations *recall.Cache[*Organization]
	slugs         *recall.Cache[string]
	plans         *recall.Cache[*Plan]
	memberships   *recall.Cache[map[string]*Membership] // by user, then by organization

	found []func(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization) error
	leave []func(ctx context.Context, tx *db.Tx, by *access.Principal, organization, user string) error
}

// New returns a service on the store. keys hash the invitations' tokens.
func New(store *db.Store, keys *seal.Keys, now func() time.Time) *Service {
	s := &Service{store: store, keys: keys, now: func() time.Time { return now().UTC().Truncate(time.Millisecond) }}
	s.tenants = recall.New(store, KindTenant, 10_000, now, func(ctx context.Context, ref string) (*Tenant, error) {
		return oneTenant(ctx, store, ref)
	})
	s.organizations = recall.New(store, KindOrganization, 10_000, now, func(ctx context.Context, ref string) (*Organization, error) {
		return oneOrganization(ctx, store, `id = $1`, ref)
	})
	// A slug never changes, so nothing announces it.
	s.slugs = recall.New(store, "", 10_000, now, func(ctx context.Context, ref string) (string, error) {
		o, err := oneOrganization(ctx, store, `slug = $1`, ref)
		if err != nil {
			return "", err
		}
		return o.ID, nil
	})
	s.plans = recall.New(store, KindPlan, 1000, now, func(ctx context.Context, ref string) (*Plan, error) {
		return onePlan(ctx, store, `id = $1`, ref)
	})
	s.memberships = recall.New(store, KindMembership, 50_000, now, func(ctx context.Context, ref string) (map[string]*Membership, error) {
		return membershipsOf(ctx, store, ref)
	})
	return s
}

// OnFound registers what joins the transaction that founds an organization,
// such as its default workspace. Call it while the program is composed.
func (s *Service) OnFound(fn func(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization) error) {
	s.found = append(s.found, fn)
}

// OnLeave registers what joins the transaction in which somebody stops being
// an active member, such as the end of their sessions there.
func (s *Service) OnLeave(fn func(ctx context.Context, tx *db.Tx, by *access.Principal, organization, user string) error) {
	s.leave = append(s.leave, fn)
}

// Tenant returns a tenant by id.
func (s *Service) Tenant(ctx context.Context, tenant string) (*Tenant, error) {
	return s.tenants.Get(ctx, tenant)
}

// Organization returns an organization by id, removed and suspended ones too.
func (s *Service) Organization(ctx context.Context, organization string) (*Organization, error) {
	return s.organizations.Get(ctx, organization)
}

// OrganizationBySlug returns an organization by its slug; removed ones are
// not found.
func (s *Service) OrganizationBySlug(ctx context.Context, slug string) (*Organization, error) {
	if !validSlug(slug) {
		return nil, ErrNoOrganization
	}
	ref, err := s.slugs.Get(ctx, slug)
	if err != nil {
		return nil, err
	}
	o, err := s.organizations.Get(ctx, ref)
	if err == nil && !o.RemovedAt.IsZero() {
		return nil, ErrNoOrganization
	}
	return o, err
}

// Usable returns nil when people and programs may work in the organization,
// ErrNoOrganization when it is gone, and ErrSuspended when it or its tenant is
// suspended.
func (s *Service) Usable(ctx context.Context, organization string) error {
	o, err := s.Organization(ctx, organization)
	if err != nil {
		return err
	}
	t, err := s.Tenant(ctx, o.Tenant)
	if err != nil {
		return err
	}
	switch {
	case !o.RemovedAt.IsZero():
		return ErrNoOrganization
	case !o.SuspendedAt.IsZero() || !t.SuspendedAt.IsZero():
		return ErrSuspended
	}
	return nil
}

// PlanOf returns the plan an organization is on.
func (s *Service) PlanOf(ctx context.Context, organization string) (*Plan, error) {
	o, err := s.Organization(ctx, organization)
	if err != nil {
		return nil, err
	}
	return s.Plan(ctx, o.Plan)
}

// Founding describes a new organization.
type Founding struct {
	Tenant string // "" founds a tenant too, whose home organization this becomes
	Name   string
	Slug   string // "" makes one of Name
	Plan   string // a plan's slug; "" is FreePlan
	// Names of the tenant when it is founded; "" takes the organization's.
	TenantName, TenantSlug string
}

// Found makes an organization, and its tenant when none is given, in the
// caller's transaction. It asks for no permission: registration and first
// start found on behalf of people who have none yet.
func (s *Service) Found(ctx context.Context, tx *db.Tx, by *access.Principal, f Founding) (*Organization, error) {
	if !validName(f.Name) || f.TenantName != "" && !validName(f.TenantName) {
		return nil, ErrName
	}
	if f.Slug != "" && !validSlug(f.Slug) || f.TenantSlug != "" && !validSlug(f.TenantSlug) {
		return nil, ErrName.Saying("A slug has 1 to 32 characters of a-z, 0-9 and dash, and does not begin with a dash.")
	}
	if f.Plan == "" {
		f.Plan = FreePlan
	}
	plan, err := s.PlanBySlug(ctx, tx, f.Plan)
	if err != nil {
		return nil, err
	}
	o := &Organization{ID: id.New("org"), Tenant: f.Tenant, Name: f.Name, Home: f.Tenant == "", Plan: plan.ID, BodyPolicy: BodiesFull, CreatedAt: s.now()}
	if o.Home {
		if o.Tenant, err = s.foundTenant(ctx, tx, by, f); err != nil {
			return nil, err
		}
	}
	if err := insertOrganization(ctx, tx, o, f.Slug); err != nil {
		return nil, err
	}
	if err := s.record(ctx, tx, by, o, "organization.create", "organization", o.ID, map[string]any{"name": o.Name, "slug": o.Slug, "plan": f.Plan, "home": o.Home}); err != nil {
		return nil, err
	}
	for _, fn := range s.found {
		if err := fn(ctx, tx, by, o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (s *Service) foundTenant(ctx context.Context, tx *db.Tx, by *access.Principal, f Founding) (string, error) {
	t := &Tenant{ID: id.New("ten"), Name: f.TenantName, CreatedAt: s.now()}
	if t.Name == "" {
		t.Name = f.Name
	}
	if err := insertTenant(ctx, tx, t, f.TenantSlug); err != nil {
		return "", err
	}
	return t.ID, activity.Record(ctx, tx, by, activity.Event{Tenant: t.ID, Action: "tenant.create", TargetType: "tenant", TargetID: t.ID, Details: map[string]any{"name": t.Name, "slug": t.Slug}})
}

// record writes the audit event of a change in one organization, whoever acts.
func (s *Service) record(ctx context.Context, tx *db.Tx, by *access.Principal, o *Organization, action, targetType, target string, details map[string]any) error {
	return activity.Record(ctx, tx, by, activity.Event{Tenant: o.Tenant, Organization: o.ID, Action: action, TargetType: targetType, TargetID: target, Details: details})
}

// may returns nil when by may do perm inside the organization. Another
// organization's is answered like one that does not exist.
func may(by *access.Principal, organization string, perm access.Permission) error {
	switch {
	case by == nil:
		return access.ErrDenied
	case by.Kind == access.System:
		return nil
	case by.Kind != access.OperatorKey && by.Organization != organization:
		return ErrNoOrganization
	}
	return access.Require(by, perm)
}
