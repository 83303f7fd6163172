package diagnostics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/approval"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/tenancy"
	"headgate/internal/upstream"
	"headgate/internal/workspace"
)

// Options are what the doors are made of. Everything is needed but what says
// otherwise.
type Options struct {
	Version string // of this program

	Store      *db.Store // for the audit trail of acting services
	Identity   *identity.Service
	Tenancy    *tenancy.Service
	APIKeys    *apikey.Service
	Workspaces *workspace.Service
	Catalog    *catalog.Catalog
	Resolver   *catalog.Resolver
	Hub        *upstream.Hub
	Calls      *call.Service
	Via        upstream.Exchanger // how calls are sent; nil: as call.Service does
	Diagnosis  *diagnosis.Service
	Grants     *grants.Service
	Approvals  *approval.Service
	Errors     *activity.Errors // nil: failures are kept in the server's log alone
	Limiter    *quota.Limiter[string]
	Sealer     rest.Sealer // seals cursors
	Acting     []Acting    // services that may act for people; nil turns it off

	// Confirm is the second step of making a key: it proves that the key works
	// where it was made for. Nil is a sign-in with it.
	Confirm func(ctx context.Context, value string, k apikey.Key) error
	// Cookie is the session cookie that /api/web takes; "" takes none.
	Cookie string

	Now func() time.Time
	Log *slog.Logger
}

// rate is every key's own (sources.md 2.1).
var rate = quota.Limit{PerMinute: 60, Burst: 10}

// guests is the rate of requests whose credential is not looked at: per address.
var guests = quota.Limit{PerMinute: 300, Burst: 100}

// api is the doors with what their handlers work with.
type api struct {
	Options
	door *rest.Door
	web  *rest.Door
}

// New returns the Diagnostics API and the key routes beside it.
func New(o Options) (door, web *rest.Door) {
	a := &api{Options: o}
	if a.Confirm == nil {
		a.Confirm = a.confirm
	}
	cfg := rest.Config{
		Base: "/api/v1", Title: "Headgate Diagnostics API", Version: o.Version,
		Detail:       "Is this MCP server well? Validate it, examine it, list what it has, call it.",
		Form:         rest.DiagnosticsForm(nil),
		Credentials:  rest.Credentials{Prefixes: append(prefixes(), actingPrefix)},
		Authenticate: a.authenticate,
		Limit:        a.limit,
		Failed:       a.failed,
		Sealer:       o.Sealer,
	}
	a.door = rest.New(cfg)
	for _, register := range []func(){a.people, a.projects, a.servers, a.checks, a.lists, a.calls, a.tokens} {
		register()
	}
	cfg.Base, cfg.Title, cfg.Detail = "/api/web", "Headgate keys in the browser", "Diagnostics keys of the person who is signed in. Keys do not manage keys."
	cfg.Credentials = rest.Credentials{Prefixes: append(prefixes(), actingPrefix), Cookie: o.Cookie}
	cfg.Authenticate = a.session
	a.web = rest.New(cfg)
	a.keys()
	return a.door, a.web
}

// mayRemove returns approval.ErrNeeded where a person has to agree to removals
// first: this door's contract has no answer for what waits. What holds back
// secrets is asked where they are kept.
func (a *api) mayRemove(ctx context.Context) error {
	return a.Approvals.Demand(ctx, a.Store, rest.Principal(ctx), approval.Destructive)
}

// prefixes are those of all kinds of keys.
func prefixes() (list []string) {
	for _, p := range apikey.Prefixes() {
		list = append(list, p.Text)
	}
	return list
}

// authenticate says whose a credential is. Keys of other doors are judged by
// their prefix, and nobody but a person gets in.
func (a *api) authenticate(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix == actingPrefix {
		return a.act(r, c.Value)
	}
	if wantsToAct(r) {
		return nil, errActing // no header turns one credential into another
	}
	if c.Prefix == "" {
		return a.session(r, c)
	}
	if kind, _ := apikey.KindOf(c.Value); kind != access.DiagnosticsKey {
		return nil, errOtherKey
	}
	return a.APIKeys.Authenticate(r.Context(), c.Value, request.ClientAddr(r.Context()))
}

// session takes the sessions of people, and nobody else's token.
func (a *api) session(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix != "" {
		return nil, errOtherKey // unreached on key routes, which refuse keys before
	}
	p, err := a.Identity.Authenticate(r.Context(), c.Value)
	if err != nil {
		return nil, err
	}
	if p.Kind != access.Session || p.User == "" {
		return nil, errOtherKey
	}
	return p, nil
}

// limit takes one request from a credential's rate. It reads nothing.
func (a *api) limit(r *http.Request, p *access.Principal) (rest.Quota, error) {
	if p != nil && isActing(p) {
		return rest.Quota{}, nil // taken before the user was looked up
	}
	key, limit := "diagnostics:guest:"+request.ClientAddr(r.Context()).String(), guests
	if p != nil {
		key, limit = "diagnostics:"+p.Metered(), rate
	}
	d := a.Limiter.Take(key, limit)
	return rest.Quota{Limit: d.Limit, Remaining: d.Remaining, Reset: d.Reset}, d.Err()
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
		Door: "diagnostics", Operation: rest.CurrentOp(ctx).ID, Severity: severity})
}

// InProject is the input of what is about one project.
type InProject struct {
	ProjectID string `path:"projectId" maxLength:"64" doc:"A workspace's id or slug."`
}

// InServer is the input of what is about one server.
type InServer struct {
	InProject
	ServerID string `path:"serverId" maxLength:"64" doc:"A server's id or slug."`
}

// project finds the workspace of a path.
func (a *api) project(ctx context.Context, in InProject) (workspace.Workspace, error) {
	return a.Workspaces.Get(ctx, rest.Principal(ctx).Organization, in.ProjectID)
}

// server finds the server of a path.
func (a *api) server(ctx context.Context, in InServer) (workspace.Workspace, *catalog.Server, error) {
	w, err := a.project(ctx, in.InProject)
	if err != nil {
		return w, nil, err
	}
	known, err := a.Resolver.Workspace(ctx, w.Organization, w.ID)
	if err != nil {
		return w, nil, err
	}
	s, ok := known.Server(canonical(in.ServerID))
	if !ok {
		return w, nil, catalog.ErrServerNotFound
	}
	return w, s, nil
}
