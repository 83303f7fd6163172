package gateway

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// legacy serves the methods only revisions before 2026-07-28 have.
func (g *Gateway) legacy(x *exchange) {
	switch x.e.Method {
	case mcp.MethodInitialize:
		g.initialize(x)
	case mcp.MethodPing:
		x.result([]byte("{}"))
	case mcp.MethodSetLevel:
		g.setLevel(x)
	case mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe:
		g.subscribe(x)
	default:
		x.fail(errNoMethod)
	}
}

// initialize opens a session: it answers from what is known of the servers and
// waits for none that hangs.
func (g *Gateway) initialize(x *exchange) {
	var requested string
	if v, ok := mcp.Get(x.body, x.e.Params, "protocolVersion"); ok {
		requested, _ = mcp.String(x.body, v)
	}
	if requested == "" {
		x.fail(mcp.ErrBadParams.Saying("initialize needs params.protocolVersion."))
		return
	}
	rev := mcp.Negotiate(requested)
	var c upstream.Client
	if v, ok := mcp.Get(x.body, x.e.Params, "capabilities"); ok {
		c.Capabilities = append([]byte(nil), v.Of(x.body)...)
	}
	if v, ok := mcp.Get(x.body, x.e.Params, "clientInfo"); ok {
		c.Info = append([]byte(nil), v.Of(x.body)...)
	}
	s, err := g.sessions.open(x.by, rev, c)
	if err != nil {
		x.fail(err)
		return
	}
	x.w.Header().Set(mcp.HeaderSessionID, s.id)
	d := g.describe(x.r.Context(), x.ep, mcp.Legacy)
	out := append([]byte(`{"protocolVersion":"`), rev...)
	out = append(out, `","capabilities":`...)
	out = append(out, d.capabilities...)
	out = append(out, `,"serverInfo":`...)
	out = append(out, d.info...)
	if d.instructions != "" {
		out = mcp.AppendString(append(out, `,"instructions":`...), d.instructions)
	}
	x.result(append(out, '}'))
}

// description is what an endpoint says of itself.
type description struct {
	capabilities []byte
	info         []byte
	instructions string
}

// merged is what an endpoint over several servers offers: everything, since
// servers come and go under it. A list without items is an honest answer.
const mergedCapabilities = `{"completions":{},"logging":{},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"tools":{"listChanged":true}}`

// describe tells what an endpoint offers: one server's own words, or the
// merged ones, also when that server does not answer soon.
func (g *Gateway) describe(ctx context.Context, ep *endpoint, era mcp.Era) description {
	d := description{capabilities: []byte(mergedCapabilities), info: g.info()}
	if ep.server == nil {
		return d
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	f, err := g.Hub.Eras(ctx, ep.server, ep.by, era)
	if err != nil {
		return d
	}
	d.instructions = f.Instructions
	if len(f.Capabilities) > 0 {
		d.capabilities = f.Capabilities
	}
	return d
}

// info is our implementation, as serverInfo.
func (g *Gateway) info() []byte {
	return append(mcp.AppendString([]byte(`{"name":"headgate","title":"Headgate","version":`), g.Version), '}')
}

// setLevel remembers the level and passes it on to the servers of the endpoint
// that the session already speaks to; others hear of it with their first call.
func (g *Gateway) setLevel(x *exchange) {
	v, ok := mcp.Get(x.body, x.e.Params, "level")
	level, err := mcp.String(x.body, v)
	if !ok || err != nil || !validLevel(level) {
		x.fail(mcp.ErrBadParams.Saying("params.level must be one of debug, info, notice, warning, error, critical, alert, emergency."))
		return
	}
	x.s.mu.Lock()
	x.s.level = level
	x.s.mu.Unlock()
	g.toEach(x)
}

func validLevel(l string) bool {
	switch l {
	case "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency":
		return true
	}
	return false
}

// toEach relays a request without a target to the servers of the endpoint: one
// server's answer is the answer; of several, each is told and none waited for.
func (g *Gateway) toEach(x *exchange) {
	if x.ep.server != nil {
		g.relay(x, x.outbound(x.ep.server, ""))
		return
	}
	for _, s := range x.ep.servers() {
		r := x.outbound(s, "")
		r.Body, r.ID = append([]byte(nil), r.Body...), append([]byte(nil), r.ID...)
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), 10*time.Second)
			defer cancel()
			if a, err := g.Calls.Upstream.Exchange(ctx, &r, discard{}); err == nil {
				a.Release()
			}
		}()
	}
	x.result([]byte("{}"))
}

// discard takes events nobody asked for.
type discard struct{}

// Event implements upstream.Sink.
func (discard) Event([]byte, *mcp.Envelope) error { return nil }

// relay sends a request that is no call, as bytes, and gives its answer back.
func (g *Gateway) relay(x *exchange, r upstream.Request) {
	ctx, cancel := x.context()
	defer cancel()
	if x.s != nil {
		if err := x.s.begin(x.id(), cancel); err != nil {
			x.fail(err)
			return
		}
		defer x.s.done(x.id())
	}
	x.asking = r.Server
	a, err := g.Calls.Upstream.Exchange(ctx, &r, &x.sink)
	if err != nil {
		x.fail(err)
		return
	}
	defer a.Release()
	x.answer(x.status(a), a.Body)
}

// subscribe passes a subscription to the server that owns the resource.
func (g *Gateway) subscribe(x *exchange) {
	server, uri, err := x.target()
	if err != nil {
		x.fail(err)
		return
	}
	x.s.mu.Lock()
	if x.e.Method == mcp.MethodResourcesSubscribe {
		if x.s.subs == nil {
			x.s.subs = map[string]*catalog.Server{}
		}
		x.s.subs[uri] = server
	} else {
		delete(x.s.subs, uri)
	}
	x.s.mu.Unlock()
	g.relay(x, x.outbound(server, uri))
}

// complete asks the server that owns the prompt or template.
func (g *Gateway) complete(x *exchange) {
	server, ref, err := x.completionTarget()
	if err != nil {
		x.fail(err)
		return
	}
	r := x.outbound(server, "")
	if ref.with != nil {
		x.sent = mcp.Splice(x.sent[:0], x.body, mcp.Edit{Span: ref.span, With: ref.with})
		r.Body = x.sent
	}
	g.relay(x, r)
}

// notification takes a client's notification: always 202.
func (x *exchange) notification() {
	switch {
	case x.s == nil:
	case x.e.Method == "notifications/cancelled":
		if !x.e.RequestID.Empty() {
			x.s.cancel(x.e.RequestID.Of(x.body))
		}
	case x.e.Method == "notifications/initialized":
	case x.ep.server != nil: // progress of a client, roots changed
		r := x.outbound(x.ep.server, "")
		if err := x.g.Hub.Reply(x.r.Context(), &r, x.body); err != nil {
			note(x.r, err)
		}
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// question passes a server's request to the client, under an id of this session.
func (x *exchange) question(message []byte, e *mcp.Envelope) error {
	if x.s == nil {
		return nil // a modern client has no way to answer a request
	}
	ours := x.s.ask(x.asking, e.ID.Of(message))
	return x.sink.send(mcp.Splice(nil, message, mcp.Edit{Span: e.ID, With: ours}))
}

// reply takes a client's answer to a server's request.
func (x *exchange) reply() {
	if x.s == nil || x.e.ID.Empty() {
		x.fail(mcp.ErrNotMessage.Saying("This response answers nothing."))
		return
	}
	q, ok := x.s.answered(x.id())
	if !ok {
		x.w.WriteHeader(http.StatusAccepted) // late, or answered before
		return
	}
	r := x.outbound(q.server, "")
	body := mcp.Splice(nil, x.body, mcp.Edit{Span: x.e.ID, With: q.id})
	if err := x.g.Hub.Reply(x.r.Context(), &r, body); err != nil {
		x.fail(err)
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
}
