package managemcp

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/server/request"
)

// Options are what the HTTP door needs.
type Options struct {
	Door        *rest.Door // the Platform API
	Credentials rest.Credentials
	// Authenticate says whose a credential is.
	Authenticate func(*http.Request, rest.Credential) (*access.Principal, error)
	// Allow counts a request against its principal's rate.
	Allow func(ctx context.Context, by *access.Principal) error
	// Single reports whether the installation has one organization, so that
	// nobody needs to name it.
	Single func(ctx context.Context) (bool, error)
	// Slug returns the slug of an organization, and HostSlug the one that a
	// request's host selects, "" for none; it may be nil.
	Slug     func(ctx context.Context, organization string) (string, error)
	HostSlug func(host string) string
	Version  string
}

// The headers of the door.
const (
	headerOrg      = "X-Headgate-Org-Id"
	headerSlug     = "X-Headgate-Org-Slug"
	headerOperator = "X-Headgate-Operator-Key"
	headerTicket   = "X-Headgate-Ticket" // ours, never a client's: finds the request again behind the SDK
)

// Base is where the door lives.
const Base = "/manage/mcp"

var (
	errKind      = fault.New(fault.Forbidden, "manage.key", "This door takes an organization key (ok_…), a workspace's own key (wk_…), or the token of a person's session in an organization.")
	errOrgNeeded = fault.New(fault.Invalid, "manage.org_header", "Say which organization you mean: X-Headgate-Org-Id.")
	errPath      = fault.New(fault.NotFound, "manage.path", "There is nothing here. The management MCP is at /manage/mcp.")
)

// Handler is the door over HTTP.
type Handler struct {
	Options
	own, workspace http.Handler
	tickets        sync.Map // ticket to session
}

// New returns the door. A server's tools are made by its first request: they
// hold on to the Platform API's document, which nobody may ever ask for.
func New(o Options) *Handler {
	h := &Handler{Options: o}
	serve := func(specs []spec, name string, more func(*registry, finder)) http.Handler {
		server := sync.OnceValue(func() *mcp.Server {
			g, err := newRegistry(o.Door, specs, name, o.Version, h.find)
			if err != nil {
				panic(err) // a tool does not fit the Platform API: found by any test
			}
			more(g, h.find)
			return g.server
		})
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server() },
			&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true, PropagateRequestCancellation: true})
	}
	h.own = serve(management, serverName, (*registry).extras)
	h.workspace = serve(ownWorkspace, workspaceName, func(*registry, finder) {})
	return h
}

// find returns the session of the request that a tool runs for.
func (h *Handler) find(extra *mcp.RequestExtra) (session, bool) {
	if extra == nil {
		return session{}, false
	}
	v, ok := h.tickets.Load(extra.Header.Get(headerTicket))
	if !ok {
		return session{}, false
	}
	return v.(session), true
}

// ServeHTTP admits a request and gives it to the SDK.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Base {
		h.Refuse(w, r, errPath)
		return
	}
	by, key, err := h.admit(r)
	if err != nil {
		h.Refuse(w, r, err)
		return
	}
	known := true
	if by.Kind != access.WorkspaceKey {
		if known, err = h.organization(r, by); err != nil {
			h.Refuse(w, r, err)
			return
		}
	}
	if !known { // as if nothing were here
		w.WriteHeader(http.StatusNotFound)
		return
	}
	ticket := id.New("tkt")
	h.tickets.Store(ticket, session{Identity{Key: key, Operator: r.Header.Get(headerOperator)}, h.caller(r), ""})
	defer h.tickets.Delete(ticket)
	r.Header.Set(headerTicket, ticket)
	if by.Kind == access.WorkspaceKey {
		spoken(w, r, h.workspace)
		return
	}
	spoken(w, r, h.own)
}

// admit finds out who asks.
func (h *Handler) admit(r *http.Request) (*access.Principal, string, error) {
	if err := h.Credentials.CheckURL(r.URL); err != nil {
		return nil, "", err
	}
	c, err := h.Credentials.Find(r)
	if err != nil {
		return nil, "", err
	}
	if c.Scheme == rest.NoScheme {
		return nil, "", rest.ErrNoCredential
	}
	if c.Prefix == "" && c.Scheme != rest.Bearer { // a session's token comes as one
		return nil, "", errKind
	}
	by, err := h.Authenticate(r, c)
	if err != nil {
		return nil, "", err
	}
	if i := request.From(r.Context()); i != nil {
		i.Principal = by.ID
	}
	switch by.Kind {
	case access.OrganizationKey, access.WorkspaceKey, access.Session:
	default:
		return nil, "", errKind
	}
	if by.Organization == "" {
		return nil, "", errKind
	}
	return by, c.Value, h.Allow(r.Context(), by)
}

// organization holds the request to the organization that it names: by header,
// by slug, by host. known is false when it names another one.
func (h *Handler) organization(r *http.Request, by *access.Principal) (known bool, err error) {
	named := false
	if ref := r.Header.Get(headerOrg); ref != "" {
		named = true
		if canonical, ok := id.Parse("org", ref); !ok || canonical != by.Organization {
			return false, nil
		}
	}
	slugs := []string{r.Header.Get(headerSlug)}
	if h.HostSlug != nil {
		slugs = append(slugs, h.HostSlug(r.Host))
	}
	for _, slug := range slugs {
		if slug == "" {
			continue
		}
		named = true
		own, err := h.Slug(r.Context(), by.Organization)
		if err != nil {
			return false, err
		}
		if slug != own {
			return false, nil
		}
	}
	if named {
		return true, nil
	}
	single, err := h.Single(r.Context())
	if err != nil {
		return false, err
	}
	if !single {
		return false, errOrgNeeded
	}
	return true, nil
}

// caller sends a tool's request to the Platform API in this process, as part
// of the request that asked for it: same address, same trail, same end.
func (h *Handler) caller(outer *http.Request) Caller {
	send := do(h.Door)
	return func(ctx context.Context, r *http.Request) (*http.Response, error) {
		info := request.Info{ID: id.New("req")}
		if i := request.From(outer.Context()); i != nil {
			info.Addr, info.Secure, info.Draining = i.Addr, i.Secure, i.Draining
		}
		return send(ctx, r.WithContext(request.With(ctx, info)))
	}
}

// Refuse answers what did not come as far as the protocol.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.Of(err)
	if i := request.From(r.Context()); i != nil {
		i.Code = f.Code
		if f.Kind == fault.Internal {
			i.Err = f
		}
	}
	word := strings.ToUpper(strings.ReplaceAll(f.Code, ".", "_"))
	switch {
	case f.Code == errOrgNeeded.Code:
		word = "TENANT_ORG_HEADER_REQUIRED"
	case f.Kind == fault.BadCredential:
		word = errAuth
		w.Header().Set("WWW-Authenticate", `Bearer realm="headgate"`)
	case f.Kind == fault.Forbidden:
		word = errAuth
	case f.Kind == fault.Throttled:
		word = errRate
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
	}
	status := f.Kind.Status()
	text, _ := json.Marshal(failure{Error: word, Detail: f.Message, Status: &status})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
