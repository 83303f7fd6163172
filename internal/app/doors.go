package app

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/gateway"
	"headgate/internal/gateway/notes"
	"headgate/internal/rest"
	"headgate/internal/rest/account"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/rest/platform"
	"headgate/internal/seal"
	"headgate/internal/server"
	"headgate/internal/server/request"
	"headgate/internal/workspace"
	"headgate/web"
)

// readiness is what /readyz tells.
type readiness struct{ up atomic.Bool }

var errStarting = errors.New("the start is not complete")

func (a *App) isReady(ctx context.Context) error {
	switch {
	case !a.ready.up.Load():
		return errStarting
	case !a.Store.Current():
		return db.ErrAlone
	}
	return a.Store.Ping(ctx)
}

// credentials finds keys and tokens in requests, alike on every door.
func credentials() rest.Credentials {
	var c rest.Credentials
	for _, p := range apikey.Prefixes() {
		c.Prefixes = append(c.Prefixes, p.Text)
	}
	return c
}

// authenticate says whose a credential is: a key's by its prefix, else a
// session's or an external issuer's token.
func (a *App) authenticate(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix != "" {
		return a.APIKeys.Authenticate(r.Context(), c.Value, request.ClientAddr(r.Context()))
	}
	return a.Identity.Authenticate(r.Context(), c.Value)
}

// gatewayPrincipal is who speaks to the Gateway. Operator keys cannot: they
// act on the installation, not inside an organization.
func (a *App) gatewayPrincipal(find rest.Credentials) func(*http.Request) (*access.Principal, error) {
	return func(r *http.Request) (*access.Principal, error) {
		c, err := find.Find(r)
		if err != nil {
			return nil, err
		}
		if c.Scheme == rest.NoScheme {
			return nil, rest.ErrNoCredential
		}
		p, err := a.authenticate(r, c)
		if err != nil {
			return nil, err
		}
		if i := request.From(r.Context()); i != nil {
			i.Principal = p.ID
		}
		if p.Kind == access.OperatorKey || p.Organization == "" {
			return nil, access.ErrDenied.Saying("Operator keys cannot call tools. Use a key of an organization.")
		}
		return p, nil
	}
}

// workspaceOf resolves the workspace of a Gateway URL. A workspace key has its
// own and no other.
func (a *App) workspaceOf(ctx context.Context, by *access.Principal, name string) (string, error) {
	var w workspace.Workspace
	var err error
	switch {
	case name != "":
		w, err = a.Workspaces.Get(ctx, by.Organization, name)
	case by.Workspace != "":
		w, err = a.Workspaces.Get(ctx, by.Organization, by.Workspace)
	default:
		w, err = a.Workspaces.Default(ctx, by.Organization)
	}
	if err != nil {
		return "", err
	}
	if by.Kind == access.WorkspaceKey && w.ID != by.Workspace {
		return "", workspace.ErrNotFound
	}
	if err := w.Usable(); err != nil {
		return "", err
	}
	return w.ID, nil
}

// allow counts a request against its principal's rate.
func (a *App) allow(ctx context.Context, by *access.Principal) error {
	t, err := a.terms(ctx, by.Organization)
	if err != nil {
		return err
	}
	return a.Limiter.Take(by.Metered(), t.Rate).Err()
}

// doors builds every door and the server in front of them.
func (a *App) doors(context.Context) (err error) {
	a.Gateway = gateway.New(gateway.Options{Authenticate: a.gatewayPrincipal(credentials()), Workspace: a.workspaceOf, Allow: a.allow, Resolver: a.Resolver,
		Hub: a.Hub, Upstream: a.Eras, Calls: a.Calls, Keys: a.Keys, Notes: notes.New(a.Store, a.Now), Version: a.serverVersion(), BaseURL: a.Settings.PublicURL(), Now: a.Now, Log: a.Log})
	a.Store.OnChange(a.Gateway.Changed)
	a.Platform = platform.New(platform.Options{Version: a.serverVersion(), Vault: a.Vault, Budgets: a.Budgets, Approvals: a.Approvals, Templates: a.Templates, Trail: a.Checkpoints,
		Store: a.Store, Identity: a.Identity, Tenancy: a.Tenancy, APIKeys: a.APIKeys,
		Workspaces: a.Workspaces, Catalog: a.Catalog, Resolver: a.Resolver, Hub: a.Hub, Calls: a.Calls, Credits: a.Credits, Bodies: a.Bodies, Feed: a.Feed,
		Errors: a.Errors, Launch: a.Launch, Programs: a.Programs, Limiter: a.Limiter, Daily: a.Daily, Idempotency: a.Replay, Keys: a.Keys, LogsKept: a.Settings.KeepCalls, Now: a.Now, Log: a.Log})
	a.Account = account.New(account.Options{Version: a.serverVersion(), Store: a.Store, Identity: a.Identity, Tenancy: a.Tenancy, APIKeys: a.APIKeys,
		Credits: a.Credits, Limiter: a.Limiter, Idempotency: a.Replay, Keys: a.Keys, Now: a.Now})
	diagnostics.RegisterPlatform(a.Platform, diagnostics.PlatformOptions{Catalog: a.Catalog, Resolver: a.Resolver, Diagnosis: a.Diagnosis, Grants: a.Grants})
	var keyRoutes *rest.Door
	a.Diagnostics, keyRoutes = diagnostics.New(diagnostics.Options{Version: a.serverVersion(), Store: a.Store, Identity: a.Identity, Tenancy: a.Tenancy, APIKeys: a.APIKeys,
		Workspaces: a.Workspaces, Catalog: a.Catalog, Resolver: a.Resolver, Hub: a.Hub, Calls: a.Calls, Diagnosis: a.Diagnosis, Grants: a.Grants, Approvals: a.Approvals, Errors: a.Errors,
		Limiter: a.Limiter, Sealer: a.Keys, Acting: a.acting(), Now: a.Now, Log: a.Log})
	routes := []server.Route{{Prefix: "/mcp", Handler: a.Gateway, Quiet: true}, {Prefix: "/v1", Handler: a.Platform}, {Prefix: "/api/mcp", Handler: a.Account},
		{Prefix: "/api/v1", Handler: a.Diagnostics}, {Prefix: "/api/web", Handler: keyRoutes}}
	routes = append(routes, a.manageDoor())
	pages := web.Handler()
	for _, p := range web.Paths {
		routes = append(routes, server.Route{Prefix: p, Handler: pages, OwnHeaders: true})
	}
	if err := a.metrics(); err != nil {
		return err
	}
	a.Server, err = server.New(a.serverConfig(), routes...)
	return err
}

func (a *App) serverConfig() server.Config {
	s := a.Settings
	c := server.Config{Listen: s.Listen, Internal: s.InternalListen, Hosts: s.AllowHosts, Origins: s.AllowOrigins,
		MaxConnections: s.MaxConnections, Drain: s.DrainFor, Log: a.Log, Registry: a.Registry, Ready: a.isReady, Remark: a.Programs.Summary}
	if s.FastLane == "on" {
		c.FastLane = []string{"/mcp"}
	}
	if s.BaseDomain != "" {
		c.BaseDomains = []string{s.BaseDomain}
	}
	if s.BaseURL != "" {
		c.Hosts = append(c.Hosts, hostOf(s.BaseURL))
		c.Origins = append(c.Origins, s.PublicURL())
	}
	for _, n := range s.TrustedProxies {
		if p, err := netip.ParsePrefix(n); err == nil { // checked by settings
			c.TrustedProxies = append(c.TrustedProxies, p)
		}
	}
	return c
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// acting are the services that may act for people on the Diagnostics API.
func (a *App) acting() []diagnostics.Acting {
	if a.Settings.ActingService == "" {
		return nil
	}
	return []diagnostics.Acting{{Name: "acting-service", Secret: seal.NewValue(a.Settings.ActingService)}}
}
