package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// Options are what a Gateway needs.
type Options struct {
	Authenticate func(*http.Request) (*access.Principal, error)
	// Workspace returns the id of the workspace a name stands for, for this
	// principal; "" is its default.
	Workspace func(ctx context.Context, by *access.Principal, name string) (string, error)
	// Allow counts a request that is no call against the principal's rate.
	Allow    func(ctx context.Context, by *access.Principal) error
	Resolver *catalog.Resolver
	Hub      *upstream.Hub
	Calls    *call.Service
	Keys     *seal.Keys
	Version  string
	BaseURL  string // for resource_metadata in challenges, once there is any
	Now      func() time.Time
	Log      *slog.Logger
}

// The bounds of the door.
const (
	maxBody      = 4 << 20
	keepAlive    = 15 * time.Second
	writeTimeout = 30 * time.Second
	sessionIdle  = 30 * time.Minute // in memory; the sealed id itself lasts longer
	sessionLife  = 30 * 24 * time.Hour
	maxSessions  = 1000 // in memory per principal
)

// Gateway is the handler of /mcp and below.
type Gateway struct {
	Options
	sessions sessions
	lists    lists
	streams  streamCount
	buffers  sync.Pool
}

// New returns the door. Run must run beside it.
func New(o Options) *Gateway {
	g := &Gateway{Options: o, buffers: sync.Pool{New: func() any { return new(exchange) }}}
	g.sessions.init(o.Keys, o.Now)
	g.lists.init(g)
	return g
}

// Run forgets idle sessions until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			g.sessions.sweep()
		}
	}
}

// ServeHTTP serves one HTTP request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	by, err := g.Authenticate(r)
	if err != nil {
		deny(w, r, err)
		return
	}
	ep, err := g.endpoint(r.Context(), by, r.URL.Path)
	if err != nil {
		deny(w, r, err)
		return
	}
	switch r.Method {
	case http.MethodPost:
		g.post(w, r, by, ep)
	case http.MethodGet:
		g.get(w, r, by, ep)
	case http.MethodDelete:
		g.delete(w, r, by)
	default:
		w.Header().Set("Allow", "POST, GET, DELETE")
		deny(w, r, errMethod)
	}
}

// endpoint is what a URL stands for: every server of a workspace, or one.
type endpoint struct {
	by        *access.Principal
	workspace *catalog.Workspace
	server    *catalog.Server // nil: all, merged
}

// The faults of this package.
var (
	errEndpoint = fault.New(fault.NotFound, "gateway.endpoint", "There is no such MCP endpoint. Endpoints are /mcp, /mcp/{server}, /mcp/w/{workspace} and /mcp/w/{workspace}/{server}.")
	errMethod   = fault.New(fault.Method, "gateway.http_method", "An MCP endpoint takes POST, GET and DELETE.")
	errMedia    = fault.New(fault.MediaType, "gateway.media_type", "Send the message as application/json.")
	errTooLarge = fault.New(fault.TooLarge, "gateway.too_large", "A message may have 4 MiB.")
	errSession  = fault.New(fault.NotFound, "gateway.session", "This session is unknown or over. Initialize a new one.")
	errNoHeader = fault.New(fault.Invalid, "gateway.no_session", "Initialize first, and send the Mcp-Session-Id of the answer with every request; or speak revision 2026-07-28, which has no sessions.")
	errVersion  = fault.New(fault.Invalid, "gateway.version", "This protocol revision is not supported.")
	errTool     = fault.New(fault.NotFound, "gateway.unknown", "There is no tool, prompt or resource of this name here. List what there is.")
	errNoMethod = fault.New(fault.Unsupported, "gateway.no_method", "This method is not supported here.")
	errInFlight = fault.New(fault.Invalid, "gateway.id_in_use", "A request with this id is in flight in this session. Use another id.")
	errEras     = fault.New(fault.Unsupported, "gateway.eras", "This server speaks another era of MCP than this client.")
	errDraining = fault.New(fault.Unavailable, "gateway.draining", "The server is restarting. Try again in a moment.").After(time.Second)
)

// endpoint finds what a path stands for. Its parts are slugs or ids; w and t
// are reserved. What another organization has looks like nothing.
func (g *Gateway) endpoint(ctx context.Context, by *access.Principal, path string) (*endpoint, error) {
	parts := strings.Split(strings.TrimPrefix(strings.TrimPrefix(path, "/mcp"), "/"), "/")
	if parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	name := ""
	if len(parts) >= 2 && parts[0] == "w" {
		name, parts = parts[1], parts[2:]
		if name == "" {
			return nil, errEndpoint
		}
	}
	if len(parts) > 1 || len(parts) == 1 && (parts[0] == "w" || parts[0] == "t") {
		return nil, errEndpoint
	}
	id, err := g.Workspace(ctx, by, name)
	if err != nil {
		return nil, err
	}
	ws, err := g.Resolver.Workspace(ctx, by.Organization, id)
	if err != nil {
		return nil, err
	}
	ep := &endpoint{by: by, workspace: ws}
	if len(parts) == 1 {
		s, ok := ws.Server(parts[0])
		if !ok {
			return nil, errEndpoint
		}
		ep.server = s
	}
	return ep, nil
}

// servers returns the servers behind the endpoint, the oldest first.
func (ep *endpoint) servers() []*catalog.Server {
	if ep.server != nil {
		return []*catalog.Server{ep.server}
	}
	return ep.workspace.Servers()
}
