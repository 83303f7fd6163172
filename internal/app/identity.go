package app

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/identity"
	"headgate/internal/seal"
)

// buildIdentity makes people and sessions, with mail and the external issuer.
func (a *App) buildIdentity(ctx context.Context) (err error) {
	s := a.Settings
	o := identity.Options{Now: a.Now, Log: a.Log, SignUp: identity.SignUp(s.SignUp), BaseURL: s.PublicURL(), Access: s.SessionFor, Complete: a.complete, Outgoing: a.outgoing}
	if s.ExternalIssuer != "" {
		o.Issuers = []identity.Issuer{{URL: s.ExternalIssuer, Audience: s.ExternalAudience, Algorithm: s.ExternalAlgorithm, JWKS: s.ExternalJWKS,
			Secret: seal.NewValue(s.ExternalSecret), TrustEmail: s.ExternalSecret != "", Provision: true}}
		o.HTTP = a.Guard.HTTPClient(10*time.Second, 1<<20)
	}
	a.Identity, err = identity.New(ctx, a.Store, a.Keys, a.Tenancy, o)
	return err
}

// complete fills in the default workspace of a session.
func (a *App) complete(ctx context.Context, p *access.Principal) error {
	w, err := a.Workspaces.Default(ctx, p.Organization)
	if err != nil {
		return err
	}
	p.Workspace = w.ID
	return nil
}
