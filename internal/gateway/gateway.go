package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/gateway/eras"
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
	Allow     func(ctx context.Context, by *access.Principal) error
	Resolver  *catalog.Resolver
	Hub       *upstream.Hub
	Upstream  *eras.Translator // in front of Hub
	Calls     *call.Service
	Keys      *seal.Keys
	Notes     Notes // nil: what sessions set, and their end, is known to this process alone
	Version   string
	BaseURL   string        // for resource_metadata in challenges, once there is any
	KeepAlive time.Duration // 15 seconds: how long an open stream may be silent
	Linger    time.Duration // 30 seconds: how long a session's stream waits for a client that lost its connection
	Now       func() time.Time
	Log       *slog.Logger
}

// The bounds of the door.
const (
	maxBody      = 4 << 20
	writeTimeout = 30 * time.Second
	refreshEvery = time.Second // how soon open streams follow a change of their workspace
	sweepEvery   = 15 * time.Second
)

// Gateway is the handler of /mcp and below.
type Gateway struct {
	Options
	sessions sessions
	lists    lists
	streams  streams
	pairs    pairs
	tapes    tapes
	buffers  sync.Pool
}

// New returns the door. Run must run beside it.
func New(o Options) *Gateway {
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.Linger == 0 {
		o.Linger = 30 * time.Second
	}
	if o.Upstream == nil {
		o.Upstream = eras.New(o.Hub, o.Keys, o.Now)
	}
	g := &Gateway{Options: o, buffers: sync.Pool{New: func() any { return new(exchange) }}}
	g.sessions.init(o.Keys, o.Now)
	g.sessions.catchUp = g.catchUp
	g.lists.init(g)
	g.tapes.init()
	return g
}

// Run keeps open streams up to date and forgets what is old, until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	refresh, sweep := time.NewTicker(refreshEvery), time.NewTicker(sweepEvery)
	defer refresh.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-refresh.C:
			g.streams.refresh(ctx)
		case <-sweep.C:
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
	if after := g.serve(w, r, ep); after != nil {
		after()
	}
}

// serve serves one message. What it returns is the long rest of an answer, for
// which nothing of the message is needed any more.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, ep endpoint) (after func()) {
	x := g.begin(w, r, ep)
	defer x.end()
	switch r.Method {
	case http.MethodPost:
		g.post(x)
	case http.MethodGet:
		g.get(x)
	case http.MethodDelete:
		g.delete(x)
	default:
		w.Header().Set("Allow", "POST, GET, DELETE")
		deny(w, r, errMethod)
	}
	return x.after
}

// Refuse answers a request that the server in front of the door refuses.
func (g *Gateway) Refuse(w http.ResponseWriter, r *http.Request, err error) { deny(w, r, err) }
