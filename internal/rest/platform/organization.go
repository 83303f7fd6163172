package platform

import (
	"context"
	"net/http"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type planBrief struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Features []string `json:"features"`
}

type organization struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Plan          planBrief `json:"plan"`
	CreatedAt     rest.Time `json:"createdAt"`
	UsersCount    int64     `json:"usersCount"`
	ServicesCount int64     `json:"servicesCount"`
	Slug          string    `json:"slug"`
	TenantID      string    `json:"tenantId"`
	Home          bool      `json:"home" doc:"The tenant's own staff."`
	BodyPolicy    string    `json:"bodyPolicy" enum:"off,metadata,full" doc:"What is kept of calls: no bodies but with full."`
	ContactEmail  string    `json:"contactEmail"`
}

type organizationData struct {
	Organization organization `json:"organization"`
}

type updateOrganization struct{ Body updateOrganizationBody }

type updateOrganizationBody struct {
	Name         *string `json:"name,omitempty" maxLength:"100"`
	ContactEmail *string `json:"contactEmail,omitempty" maxLength:"320" doc:"Empty removes it."`
	BodyPolicy   *string `json:"bodyPolicy,omitempty" enum:"off,metadata,full"`
}

type createOrganization struct{ Body createOrganizationBody }

type createOrganizationBody struct {
	Name string `json:"name" minLength:"1" maxLength:"100"`
	Slug string `json:"slug,omitempty" maxLength:"32"`
}

type organizationList struct {
	Organizations []organizationRow `json:"organizations"`
}

type organizationRow struct {
	Named
	Slug        string    `json:"slug"`
	TenantID    string    `json:"tenantId"`
	PlanID      string    `json:"planId"`
	Home        bool      `json:"home"`
	CreatedAt   rest.Time `json:"createdAt"`
	SuspendedAt rest.Time `json:"suspendedAt" nullable:"true"`
}

func organizationRowOf(o *tenancy.Organization) organizationRow {
	return organizationRow{Named{o.ID, o.Name}, o.Slug, o.Tenant, o.Plan, o.Home, rest.At(o.CreatedAt), rest.At(o.SuspendedAt)}
}

type organizationRowData struct {
	Organization organizationRow `json:"organization"`
}

func (a *api) organizations() {
	tags := []string{"organizations"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations/me", ID: "getOrganization", Summary: "My organization", Tags: tags, Permission: access.OrganizationRead}, a.getOrganization)
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: "/organizations/me", ID: "updateOrganization", Summary: "Change my organization's settings", Tags: tags, Permission: access.OrgManage}, a.updateOrganization)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/organizations", ID: "createOrganization", Summary: "Found a customer organization in my tenant", Tags: tags, Permission: access.OrgManage,
		Detail: "For the tenant's own staff.", Status: http.StatusCreated, Idempotent: true, Audience: []access.Kind{access.Session}}, a.createOrganization)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations", ID: "listOrganizations", Summary: "The organizations of my tenant", Tags: tags, Permission: access.OrgManage,
		Detail: "For the tenant's own staff."}, a.listOrganizations)
}

func (a *api) organizationOf(ctx context.Context, o *tenancy.Organization) (*rest.OK[organizationData, rest.Meta], error) {
	plan, err := a.Tenancy.PlanOf(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	counts, err := a.Tenancy.Counts(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	services, err := catalog.CountServices(ctx, a.Store, o.ID)
	if err != nil {
		return nil, err
	}
	return ok(organizationData{organization{o.ID, o.Name, planBrief{plan.ID, plan.Name, plan.Features}, rest.At(o.CreatedAt), counts.Users, services,
		o.Slug, o.Tenant, o.Home, o.BodyPolicy, o.ContactEmail}}, "")
}

func (a *api) getOrganization(ctx context.Context, _ *rest.None) (*rest.OK[organizationData, rest.Meta], error) {
	o, err := a.Tenancy.Organization(ctx, rest.Principal(ctx).Organization)
	if err != nil {
		return nil, err
	}
	return a.organizationOf(ctx, o)
}

func (a *api) updateOrganization(ctx context.Context, in *updateOrganization) (*rest.OK[organizationData, rest.Meta], error) {
	by := rest.Principal(ctx)
	o, err := a.Tenancy.UpdateOrganization(ctx, by, by.Organization, tenancy.OrganizationChange{Name: in.Body.Name, ContactEmail: in.Body.ContactEmail, BodyPolicy: in.Body.BodyPolicy})
	if err != nil {
		return nil, err
	}
	return a.organizationOf(ctx, o)
}

func (a *api) createOrganization(ctx context.Context, in *createOrganization) (*rest.OK[organizationRowData, rest.Meta], error) {
	o, err := a.Tenancy.CreateOrganization(ctx, rest.Principal(ctx), in.Body.Name, in.Body.Slug)
	if err != nil {
		return nil, err
	}
	return ok(organizationRowData{organizationRowOf(o)}, "")
}

func (a *api) listOrganizations(ctx context.Context, in *rest.Page) (*rest.OK[organizationList, rest.Paged], error) {
	by := rest.Principal(ctx)
	return a.organizationsOf(ctx, by.Tenant, in)
}

func (a *api) organizationsOf(ctx context.Context, tenant string, in *rest.Page) (*rest.OK[organizationList, rest.Paged], error) {
	found, total, err := a.Tenancy.Organizations(ctx, rest.Principal(ctx), tenant, tenancy.Window{Limit: in.Limit, Offset: in.Offset()})
	if err != nil {
		return nil, err
	}
	var list organizationList
	for i := range found {
		list.Organizations = append(list.Organizations, organizationRowOf(&found[i]))
	}
	return rest.Ok(list, in.Of(total)), nil
}
