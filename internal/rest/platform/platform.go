package platform

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/approval"
	"headgate/internal/budget"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/launch"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/meter"
	"headgate/internal/seal"
	"headgate/internal/server/request"
	"headgate/internal/template"
	"headgate/internal/tenancy"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
	"headgate/internal/vault"
	"headgate/internal/workspace"
)

// Options are what the door is made of. Everything is needed but what says
// otherwise.
type Options struct {
	Version string // of this program

	Store      *db.Store // the logs are read from it
	Identity   *identity.Service
	Tenancy    *tenancy.Service
	APIKeys    *apikey.Service
	Workspaces *workspace.Service
	Catalog    *catalog.Catalog
	Resolver   *catalog.Resolver
	Hub        *upstream.Hub
	Calls      *call.Service
	Via        upstream.Exchanger // how calls are sent; nil: as call.Service does
	Credits    *credit.Service
	Vault      *vault.Service
	Budgets    *budget.Service
	Approvals  *approval.Service
	Templates  *template.Service
	Trail      *activity.Checkpoints
	Bodies     *activity.Bodies
	Feed       *activity.Feed
	Errors     *activity.Errors // nil: failures are kept in the server's log alone
	Launch     *launch.Service  // the operator's catalog of programs
	Programs   *stdio.Host

	Limiter     *quota.Limiter[string] // the one that calls are counted in
	Daily       *quota.Service         // requests per day
	Addresses   quota.Limit            // of requests without a principal, per address; zero: 300 a minute, 100 at once
	Operators   quota.Limit            // of operator keys, which have no plan; zero: 6,000 a minute, 1,000 at once
	Idempotency rest.IdempotencyStore
	Keys        *seal.Keys // seals cursors and stored answers

	Packs    []credit.Pack // credit packs on offer; nil: credit.DefaultPacks
	LogsKept time.Duration // how long the call log is kept; zero: 90 days
	Now      func() time.Time
	Log      *slog.Logger
}

// Cookie is the session cookie of the dashboard, and refreshCookie the one
// that renews it. Browsers keep __Host- cookies to one host, over TLS or on
// localhost.
const (
	Cookie        = "__Host-headgate"
	refreshCookie = "__Host-headgate-refresh"
)

// api is the door with what its handlers work with.
type api struct {
	Options
	door *rest.Door
}

// New returns the door.
func New(o Options) *rest.Door {
	if o.Packs == nil {
		o.Packs = credit.DefaultPacks
	}
	if o.LogsKept == 0 {
		o.LogsKept = 90 * 24 * time.Hour
	}
	a := &api{Options: o}
	a.door = rest.New(rest.Config{
		Base: "/v1", Title: "Headgate Platform API", Version: o.Version,
		Detail:      "Everything the dashboard, the CLI and the Management MCP can do.",
		Form:        rest.PlatformForm(codes),
		Credentials: rest.Credentials{Prefixes: keyPrefixes(nil), Cookie: Cookie},

		Authenticate: a.authenticate, CredentialFaults: []*fault.Error{identity.ErrTokenExpired},
		Limit:       meter.Meter{Limiter: o.Limiter, Tenancy: o.Tenancy, Addresses: o.Addresses, Operators: o.Operators}.Limit,
		Failed:      a.failed,
		Gate:        a.gate,
		Waits:       reflect.TypeFor[rest.OK[approvalData, rest.Meta]](),
		Needs:       approval.ErrNeeded,
		Idempotency: o.Idempotency,
		Sealer:      o.Keys,
	})
	for _, register := range []func(){
		a.auth, a.users, a.sessions, a.apiKeys,
		a.services, a.prices, a.servers, a.lists, a.execute, a.stdio,
		a.requestLogs, a.exports, a.trails, a.usage,
		a.organizations, a.members, a.invitations, a.organizationKeys, a.plans, a.credits, a.manage,
		a.adminAccounts, a.adminAnalytics, a.adminTenancy,
	} {
		register()
	}
	return a.door
}

// keyPrefixes lists the prefixes of the kinds that are picked; nil picks all.
func keyPrefixes(pick func(access.Kind) bool) []string {
	var list []string
	for _, p := range apikey.Prefixes() {
		if pick == nil || pick(p.Kind) {
			list = append(list, p.Text)
		}
	}
	return list
}

// unmanaging are the prefixes of keys that may not manage keys.
var unmanaging = keyPrefixes(func(k access.Kind) bool { return k != access.OrganizationKey && k != access.OperatorKey })

// ours are the kinds of keys that open this door.
var ours = []access.Kind{access.PersonalKey, access.OrganizationKey, access.OperatorKey}

// authenticate says whose a credential is. Keys of other doors are refused by
// their prefix, so that nobody learns here whether one exists.
func (a *api) authenticate(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix == "" {
		return a.Identity.Authenticate(r.Context(), c.Value)
	}
	kind, ok := apikey.KindOf(c.Value)
	own := kind == access.WorkspaceKey && (r.URL.Path == selfPath || strings.HasPrefix(r.URL.Path, selfPath+"/"))
	if !ok || !own && !slices.Contains(ours, kind) {
		return nil, errOtherDoor
	}
	return a.APIKeys.Authenticate(r.Context(), c.Value, request.ClientAddr(r.Context()))
}

// failed writes the error log.
func (a *api) failed(ctx context.Context, f *fault.Error) {
	if a.Errors == nil {
		return
	}
	severity := activity.SeverityWarning
	if f.Kind == fault.Internal {
		severity = activity.SeverityError
	}
	a.Errors.Add(activity.ErrorLine{Organization: rest.Principal(ctx).Organization, RequestID: rest.RequestID(ctx), Code: f.Code, Message: f.Message,
		Door: "platform", Operation: rest.CurrentOp(ctx).ID, Severity: severity})
}

// client is where a session is started from.
func client(ctx context.Context, userAgent string) identity.Client {
	return identity.Client{IP: request.ClientAddr(ctx), UserAgent: userAgent}
}

func ok[T any](data T, message string) (*rest.OK[T, rest.Meta], error) {
	return rest.Ok(data, rest.Meta{Message: message}), nil
}

// empty is data that has nothing to say.
type empty struct{}
