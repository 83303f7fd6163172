package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

// ofOrganizationID is the input of what is about the caller's organization, by name.
type ofOrganizationID struct {
	ID string `path:"organizationId" maxLength:"64" doc:"The credential's organization: its id, its slug, or me."`
}

type setAllowlist struct {
	ID   string `path:"organizationId" maxLength:"64" doc:"The credential's organization: its id, its slug, or me."`
	Body setAllowlistBody
}

type setAllowlistBody struct {
	Plugins   []string `json:"plugins" maxItems:"1000" maxLength:"64" doc:"Services by slug or id. An empty list allows all."`
	EnabledBy string   `json:"enabledBy" minLength:"1" maxLength:"200" doc:"Who answers for it."`
}

type allowedRow struct {
	PluginName string    `json:"pluginName"`
	ServiceID  string    `json:"serviceId"`
	EnabledBy  string    `json:"enabledBy"`
	EnabledAt  rest.Time `json:"enabledAt"`
}

type allowlistData struct {
	OrgID    string       `json:"orgId"`
	Plugins  []allowedRow `json:"plugins"`
	AllowAll bool         `json:"allowAll" doc:"The list is empty."`
}

func (a *api) allowlists() {
	tags := []string{"services"}
	path := "/organizations/{organizationId}/plugins/allowlist"
	rest.Handle(a.door, rest.Op{Method: "GET", Path: path, ID: "getAllowlist", Summary: "Which services workspaces may have", Tags: tags, Permission: access.ServicesRead},
		func(ctx context.Context, in *ofOrganizationID) (*rest.OK[allowlistData, rest.Meta], error) {
			if err := a.ownOrganization(ctx, in.ID); err != nil {
				return nil, err
			}
			list, err := a.Catalog.Allowlist(ctx, rest.Principal(ctx))
			return answerAllowlist(ctx, list, err)
		})
	rest.Handle(a.door, rest.Op{Method: "PUT", Path: path, ID: "setAllowlist", Summary: "Replace which services workspaces may have", Tags: tags, Permission: access.OrgManage,
		Detail: "Enforced when a server is registered and at every call. While there is a list, no server of one's own can be added."},
		func(ctx context.Context, in *setAllowlist) (*rest.OK[allowlistData, rest.Meta], error) {
			if err := a.ownOrganization(ctx, in.ID); err != nil {
				return nil, err
			}
			list, err := a.Catalog.SetAllowlist(ctx, rest.Principal(ctx), in.Body.Plugins, in.Body.EnabledBy)
			return answerAllowlist(ctx, list, err)
		})
}

// ownOrganization answers an organization that is not the credential's like one that does
// not exist.
func (a *api) ownOrganization(ctx context.Context, ref string) error {
	own := rest.Principal(ctx).Organization
	if ref == "me" {
		return nil
	}
	if canonical, ok := id.Parse("org", ref); ok && canonical == own {
		return nil
	}
	o, err := a.Tenancy.Organization(ctx, own)
	if err != nil {
		return err
	}
	if ref != o.Slug {
		return tenancy.ErrNoOrganization
	}
	return nil
}

func answerAllowlist(ctx context.Context, list []catalog.Allowed, err error) (*rest.OK[allowlistData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	data := allowlistData{OrgID: rest.Principal(ctx).Organization, AllowAll: len(list) == 0}
	for _, s := range list {
		data.Plugins = append(data.Plugins, allowedRow{s.Slug, s.Service, s.EnabledBy, rest.At(s.EnabledAt)})
	}
	return ok(data, "")
}
