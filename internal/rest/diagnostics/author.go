package diagnostics

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/tenancy"
)

// Author returns diagnosis.Options.RunAs: as whom a schedule looks at its
// server. That is who set it, as long as they are a member who may; else
// nobody, and the organization's own credentials are used.
func Author(t *tenancy.Service) func(ctx context.Context, organization, user string) *access.Principal {
	return func(ctx context.Context, organization, user string) *access.Principal {
		role, err := t.RoleOf(ctx, organization, user)
		if err != nil || t.Usable(ctx, organization) != nil {
			return nil
		}
		o, err := t.Organization(ctx, organization)
		if err != nil {
			return nil
		}
		p := &access.Principal{Kind: access.DiagnosticsKey, ID: "schedule:" + user, Name: "schedule", Tenant: o.Tenant, Organization: o.ID, User: user, Role: role, Scopes: access.ScopesOf(role)}
		if !p.Can(access.Diagnose) {
			return nil
		}
		return p
	}
}
