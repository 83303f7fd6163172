package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type savePlan struct {
	Slug string `path:"planSlug" maxLength:"32"`
	Body savePlanBody
}

type savePlanBody struct {
	Name           string   `json:"name" minLength:"1" maxLength:"100"`
	Users          *int64   `json:"users,omitempty" minimum:"0" maximum:"1000000000" doc:"Left out: without a limit, here and below."`
	Services       *int64   `json:"services,omitempty" minimum:"0" maximum:"1000000000"`
	RequestsPerDay *int64   `json:"requestsPerDay,omitempty" minimum:"0" maximum:"1000000000000"`
	RatePerMinute  int64    `json:"ratePerMinute" minimum:"1" maximum:"1000000000"`
	Burst          int64    `json:"burst" minimum:"1" maximum:"1000000000"`
	MonthlyCredits int64    `json:"monthlyCredits" minimum:"0" maximum:"1000000000000000"`
	Features       []string `json:"features,omitempty" maxItems:"50" maxLength:"200"`
}

type tenantRow struct {
	Named
	Slug        string    `json:"slug"`
	CreatedAt   rest.Time `json:"createdAt"`
	SuspendedAt rest.Time `json:"suspendedAt" nullable:"true"`
}

type tenantList struct {
	Tenants []tenantRow `json:"tenants"`
}

type adminOrganizations struct {
	rest.Page
	TenantID string `query:"tenantId" maxLength:"64"`
}

// ByOrganization is the input of what is about one organization.
type ByOrganization struct {
	ID string `path:"organizationId" maxLength:"64"`
}

type setPlan struct {
	ByOrganization
	Body setPlanBody
}

type setPlanBody struct {
	Plan string `json:"plan" minLength:"1" maxLength:"32" doc:"Its slug."`
}

func (a *api) adminTenancy() {
	rest.Handle(a.door, adminOp("GET", "/plans", "adminListPlans", "Plans"), a.listPlans)
	save := adminOp("PUT", "/plans/{planSlug}", "adminSavePlan", "Add or replace a plan")
	save.Makes = true
	rest.Handle(a.door, save, a.adminSavePlan)
	rest.Handle(a.door, adminOp("GET", "/tenants", "adminListTenants", "Tenants"), a.adminListTenants)
	rest.Handle(a.door, adminOp("GET", "/organizations", "adminListOrganizations", "Organizations of all tenants", fault.NotFound), a.adminListOrganizations)
	rest.Handle(a.door, adminOp("PUT", "/organizations/{organizationId}/plan", "adminSetPlan", "Put an organization on a plan"), a.adminSetPlan)
	rest.Handle(a.door, adminOp("POST", "/organizations/{organizationId}/suspend", "adminSuspendOrganization", "Let nobody work in an organization", fault.Conflict), a.adminChange(a.Tenancy.SuspendOrganization))
	rest.Handle(a.door, adminOp("POST", "/organizations/{organizationId}/resume", "adminResumeOrganization", "End a suspension"), a.adminChange(a.Tenancy.ResumeOrganization))
}

func limitFrom(n *int64) tenancy.Limit {
	if n == nil {
		return tenancy.Unlimited
	}
	return tenancy.Limit(*n)
}

func (a *api) adminSavePlan(ctx context.Context, in *savePlan) (*rest.OK[planData, rest.Meta], error) {
	b := in.Body
	p, err := a.Tenancy.SavePlan(ctx, rest.Principal(ctx), tenancy.Plan{Slug: in.Slug, Name: b.Name, Users: limitFrom(b.Users), Services: limitFrom(b.Services),
		RequestsPerDay: limitFrom(b.RequestsPerDay), RatePerMinute: b.RatePerMinute, Burst: b.Burst, MonthlyCredits: b.MonthlyCredits, Features: b.Features})
	if err != nil {
		return nil, err
	}
	return ok(planData{planOf(p)}, "")
}

func (a *api) adminListTenants(ctx context.Context, in *rest.Page) (*rest.OK[tenantList, rest.Paged], error) {
	found, total, err := a.Tenancy.Tenants(ctx, rest.Principal(ctx), tenancy.Window{Limit: in.Limit, Offset: in.Offset()})
	if err != nil {
		return nil, err
	}
	var list tenantList
	for _, t := range found {
		list.Tenants = append(list.Tenants, tenantRow{Named{t.ID, t.Name}, t.Slug, rest.At(t.CreatedAt), rest.At(t.SuspendedAt)})
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) adminListOrganizations(ctx context.Context, in *adminOrganizations) (*rest.OK[organizationList, rest.Paged], error) {
	tenant := ""
	if in.TenantID != "" {
		var err error
		if tenant, err = ref("ten", in.TenantID, tenancy.ErrNoTenant); err != nil {
			return nil, err
		}
	}
	return a.organizationsOf(ctx, tenant, &in.Page)
}

func (a *api) adminSetPlan(ctx context.Context, in *setPlan) (*rest.OK[organizationRowData, rest.Meta], error) {
	organization, err := ref("org", in.ID, tenancy.ErrNoOrganization)
	if err != nil {
		return nil, err
	}
	o, err := a.Tenancy.SetPlan(ctx, rest.Principal(ctx), organization, in.Body.Plan)
	if err != nil {
		return nil, err
	}
	return ok(organizationRowData{organizationRowOf(o)}, "")
}

// adminChange makes the handler of a change of an organization.
func (a *api) adminChange(change func(context.Context, *access.Principal, string) (*tenancy.Organization, error)) func(context.Context, *ByOrganization) (*rest.OK[organizationRowData, rest.Meta], error) {
	return func(ctx context.Context, in *ByOrganization) (*rest.OK[organizationRowData, rest.Meta], error) {
		organization, err := ref("org", in.ID, tenancy.ErrNoOrganization)
		if err != nil {
			return nil, err
		}
		o, err := change(ctx, rest.Principal(ctx), organization)
		if err != nil {
			return nil, err
		}
		return ok(organizationRowData{organizationRowOf(o)}, "")
	}
}
