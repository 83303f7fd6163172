package diagnostics

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
)

// Acting is a first-party service that may act as any user in any organization
// the user belongs to. Its secret is configured, not stored.
type Acting struct {
	Name   string
	Secret seal.Value // "hga_" and at least 32 characters
}

const (
	actingPrefix = "hga_"
	minActing    = len(actingPrefix) + 32
	headerAs     = "X-Headgate-Acting-As"
	headerIn     = "X-Headgate-Acting-In-Org"
	actingID     = "acting:"
)

// CheckActing reports whether a secret is long enough to be one. Settings call
// it at start.
func CheckActing(secret string) error {
	if !strings.HasPrefix(secret, actingPrefix) || len(secret) < minActing {
		return errors.New("an acting service's secret begins with " + actingPrefix + " and has at least 32 characters after that")
	}
	return nil
}

// actingRate is a service's own: it asks for many people.
var actingRate = quota.Limit{PerMinute: 600, Burst: 100}

func wantsToAct(r *http.Request) bool {
	return r.Header[headerAs] != nil || r.Header[headerIn] != nil
}

func isActing(p *access.Principal) bool { return strings.HasPrefix(p.ID, actingID) }

// act returns the user a service acts as. The order is that of every
// credential: known in memory, rate, then the store; and the trail has a line
// before anything happens.
func (a *api) act(r *http.Request, secret string) (*access.Principal, error) {
	name := ""
	sum := sha256.Sum256([]byte(secret))
	for _, s := range a.Acting {
		known := sha256.Sum256([]byte(s.Secret.Reveal()))
		if subtle.ConstantTimeCompare(sum[:], known[:]) == 1 && len(secret) >= minActing {
			name = s.Name
		}
	}
	if name == "" || len(r.Header[headerAs]) != 1 || len(r.Header[headerIn]) != 1 {
		return nil, errActing
	}
	if err := a.Limiter.Take("diagnostics:"+actingID+name, actingRate).Err(); err != nil {
		return nil, err
	}
	return a.actAs(r.Context(), name, r.Header.Get(headerAs), r.Header.Get(headerIn), r.Pattern)
}

// actAs builds the principal: the user's own rights in that organization, never
// more, and none of those that need the person.
func (a *api) actAs(ctx context.Context, service, user, organization, route string) (*access.Principal, error) {
	role, err := a.Tenancy.RoleOf(ctx, organization, user)
	if errors.Is(err, tenancy.ErrNoMember) || errors.Is(err, tenancy.ErrNoOrganization) {
		return nil, errActingAs
	}
	if err != nil {
		return nil, err
	}
	if err := a.Tenancy.Usable(ctx, organization); err != nil {
		return nil, errActingAs.Because(err)
	}
	u, err := a.Identity.User(ctx, user)
	if errors.Is(err, identity.ErrNoUser) || err == nil && (!u.SuspendedAt.IsZero() || u.Pool != identity.PlatformPool) {
		return nil, errActingAs
	}
	if err != nil {
		return nil, err
	}
	o, err := a.Tenancy.Organization(ctx, organization)
	if err != nil {
		return nil, err
	}
	p := &access.Principal{Kind: access.DiagnosticsKey, ID: actingID + service, Name: service, Tenant: o.Tenant, Organization: o.ID, User: u.ID,
		Role: role, Scopes: access.ScopesOf(role)}
	return p, a.Store.Tx(ctx, func(tx *db.Tx) error {
		return activity.Record(ctx, tx, p, activity.Event{Action: "acting.use", TargetType: "user", TargetID: u.ID, Details: map[string]any{"service": service, "route": route}})
	})
}
