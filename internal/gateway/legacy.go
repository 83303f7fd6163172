package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/gateway/eras"
	"headgate/internal/gateway/notes"
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
	c := upstream.Client{Capabilities: x.object("capabilities"), Info: x.object("clientInfo")}
	if err := g.open(x, mcp.Negotiate(requested), c); err != nil {
		x.fail(err)
		return
	}
	g.lists.warm(x.r.Context(), x.ep)
	d := g.describe(x.r.Context(), x.ep, mcp.Legacy)
	out := append([]byte(`{"protocolVersion":"`), x.rev...)
	out = append(out, `","capabilities":`...)
	out = append(out, d.capabilities...)
	out = append(out, `,"serverInfo":`...)
	out = append(out, d.info...)
	if d.instructions != "" {
		out = mcp.AppendString(append(out, `,"instructions":`...), d.instructions)
	}
	x.result(append(out, '}'))
}

// open opens the session of a client that initializes.
func (g *Gateway) open(x *exchange, rev mcp.Revision, c upstream.Client) error {
	s, err := g.sessions.open(x.ep.by, rev, c)
	if err != nil {
		return err
	}
	x.s, x.rev = s, rev
	if a, ok := x.to.(pairAnswer); ok {
		return a.pair.begin(s)
	}
	x.web.w.Header().Set(mcp.HeaderSessionID, s.id)
	return nil
}

// object copies a member of params that is an object.
func (x *exchange) object(key string) []byte {
	v, ok := mcp.Get(x.body, x.e.Params, key)
	if !ok || x.body[v.Start] != '{' {
		return nil
	}
	return slices.Clone(v.Of(x.body))
}

// setLevel remembers the level, for servers the session will speak to, and
// tells those it already speaks to.
func (g *Gateway) setLevel(x *exchange) {
	v, ok := mcp.Get(x.body, x.e.Params, "level")
	level, err := mcp.String(x.body, v)
	if !ok || err != nil || !slices.Contains(levels, level) {
		x.fail(mcp.ErrBadParams.Saying("params.level must be one of %s.", strings.Join(levels, ", ")))
		return
	}
	if err := x.remember(func(n *notes.Note) { n.Level = level }, func() { x.s.setLevel(level) }); err != nil {
		x.fail(err)
		return
	}
	r := x.outbound(nil, "")
	r.Body, r.ID = slices.Clone(r.Body), slices.Clone(r.ID)
	// The next call finds the level set, but a server that hangs delays nobody.
	late := time.NewTimer(levelTime)
	defer late.Stop()
	select {
	case <-g.tell(r, x.s.around()):
	case <-late.C:
	}
	x.result([]byte("{}"))
}

// tell sends a request whose answer does not matter to servers. It returns what
// is closed once all have answered, or not in time.
func (g *Gateway) tell(r upstream.Request, servers []*catalog.Server) <-chan struct{} {
	told := make(chan struct{})
	var all sync.WaitGroup
	for _, r.Server = range servers {
		own := r
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), errandTime)
			defer cancel()
			if a, err := g.Upstream.Exchange(ctx, &own, deaf{}); err == nil {
				a.Release()
			}
		})
	}
	go func() { all.Wait(); close(told) }()
	return told
}

const levelTime = 300 * time.Millisecond

const errandTime = 10 * time.Second

var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// deaf takes events nobody asked for.
type deaf struct{}

// Event implements upstream.Sink.
func (deaf) Event([]byte, *mcp.Envelope) error { return nil }

// subscribe passes a subscription to the server that owns the resource.
func (g *Gateway) subscribe(x *exchange) {
	server, uri, err := x.target()
	if err != nil {
		x.fail(err)
		return
	}
	on := x.e.Method == mcp.MethodResourcesSubscribe
	g.relay(x, x.outbound(server, uri), func() error {
		return x.remember(func(n *notes.Note) {
			if n.Unsubscribe(uri); on && len(n.Subscriptions) < maxSubscriptions {
				n.Subscribe(notes.Subscription{URI: uri, Workspace: server.Workspace, Server: server.Key()})
			}
		}, func() { x.s.subscribe(uri, server, on) })
	})
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
	g.relay(x, r, nil)
}

// notification takes a client's notification: always 202.
func (g *Gateway) notification(x *exchange) {
	switch {
	case x.s == nil:
	case x.e.Method == mcp.NotifyCancelled:
		if !x.e.RequestID.Empty() {
			x.s.cancel(x.e.RequestID.Of(x.body))
		}
	case x.e.Method == mcp.NotifyInitialized:
	case x.e.Method == mcp.NotifyProgress:
		x.pass(x.s.waiting(x.e.Progress.Of(x.body)))
	default: // the client's roots: for every server that has to do with it
		x.pass(x.s.around())
	}
	x.to.accept()
}

// pass sends a client's notification to servers.
func (x *exchange) pass(servers []*catalog.Server) {
	up := x.g.Upstream
	for _, server := range servers {
		r := x.outbound(server, "")
		body := slices.Clone(x.body)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), errandTime)
			defer cancel()
			_ = up.Reply(ctx, &r, body) // a notification that gets lost is one
		}()
	}
}

// question passes a server's request to the client, under an id of this session.
func (x *exchange) question(message []byte, e *mcp.Envelope) error {
	if x.s == nil {
		return nil // a modern client has no way to answer a request
	}
	out, err := x.g.ask(x.s, x.ep, question{server: x.asking, during: x}, message, e)
	if out == nil || err != nil {
		return err
	}
	x.asked = true
	if x.to.streams() {
		x.to.event(out)
		return nil
	}
	x.s.tell(out)
	return nil
}

// ask makes a server's request one of this session. What the client has not
// offered to answer it is not asked: the server is told so at once.
func (g *Gateway) ask(s *session, ep endpoint, q question, message []byte, e *mcp.Envelope) ([]byte, error) {
	q.id, q.token = e.ID.Of(message), e.ProgressToken.Of(message)
	if !eras.Offers(s.client.Capabilities, e.Method, e.Params.Of(message)) {
		r := upstream.Request{Server: q.server, By: ep.by, Revision: s.revision, Affinity: s.affinity, Client: s.self()}
		no := mcp.AppendError(nil, slices.Clone(q.id), mcp.CodeMethodNotFound, "The client does not support this.", nil)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), errandTime)
			defer cancel()
			_ = g.Upstream.Reply(ctx, &r, no) // a server that has gone needs no answer
		}()
		return nil, nil
	}
	ours, err := s.ask(q)
	if err != nil {
		return nil, err
	}
	edits := []mcp.Edit{{Span: e.ID, With: ours}}
	if ep.server == nil {
		edits = signed(edits, message, mcp.Root(message), q.server)
	}
	return mcp.Splice(nil, message, ordered(edits)...), nil
}

// withdrawal is a server's cancellation of its own request, under the id that
// the client knows; nil when it knows none.
func (s *session) withdrawal(server *catalog.Server, message []byte, e *mcp.Envelope) []byte {
	if e.RequestID.Empty() {
		return nil
	}
	ours, ok := s.withdrawn(server, e.RequestID.Of(message))
	if !ok {
		return nil
	}
	return mcp.Splice(nil, message, mcp.Edit{Span: e.RequestID, With: ours})
}

// reply takes a client's answer to a server's request.
func (g *Gateway) reply(x *exchange) {
	if x.s == nil || x.e.ID.Empty() {
		x.fail(mcp.ErrNotMessage.Saying("This response answers nothing."))
		return
	}
	q, ok := x.s.answered(x.id())
	if !ok {
		x.to.accept() // late, or answered before
		return
	}
	r := x.outbound(q.server, "")
	if err := g.Upstream.Reply(x.r.Context(), &r, mcp.Splice(nil, x.body, mcp.Edit{Span: x.e.ID, With: q.id})); err != nil {
		note(x.r, err) // the call that waits for it fails by itself and says why
	}
	x.to.accept()
}

// get opens the stream on which a legacy session hears what belongs to no
// request, or goes on with the stream of a call. Without a session it is a
// client of 2024-11-05. Modern clients have none of them.
func (g *Gateway) get(x *exchange) {
	w, sid := x.web.w, x.r.Header.Get(mcp.HeaderSessionID)
	if !strings.Contains(x.r.Header.Get("Accept"), "text/event-stream") {
		w.Header().Set("Allow", "POST")
		deny(w, x.r, errMethod.Saying("GET opens an event stream: send Accept: text/event-stream, and the Mcp-Session-Id of your session."))
		return
	}
	if sid == "" {
		g.pair(x)
		return
	}
	s, err := g.sessions.find(x.r.Context(), x.ep.by, sid)
	if err != nil {
		deny(w, x.r, err)
		return
	}
	x.s, x.rev = s, s.revision
	r := x.r
	if id, n, ok := parseEventID(r.Header.Get(mcp.HeaderLastEventID)); ok {
		if t := s.tape(id); t != nil {
			x.after = func() { t.play(g, w, r, n) }
			return
		}
		if st := s.listening(id, x.ep); st != nil {
			x.after = func() { st.play(w, r, n) }
			return
		}
	}
	st, err := g.newStream(x.ep, nil)
	if err != nil {
		deny(w, x.r, err)
		return
	}
	st.id, st.first = g.tapes.name(), 1
	x.after = func() {
		st.start(s) // first, so that a call made at once is heard
		st.play(w, r, -1)
	}
}

// delete ends a legacy session.
func (g *Gateway) delete(x *exchange) {
	w, sid := x.web.w, x.r.Header.Get(mcp.HeaderSessionID)
	if sid == "" {
		deny(w, x.r, errNoHeader)
		return
	}
	s, err := g.sessions.find(x.r.Context(), x.ep.by, sid)
	if err != nil {
		deny(w, x.r, err)
		return
	}
	x.s = s
	if err := x.remember(func(n *notes.Note) { n.Ended = true }, func() {}); err != nil {
		deny(w, x.r, err)
		return
	}
	g.sessions.end(s)
	g.Hub.EndSession(s.affinity)
	w.WriteHeader(http.StatusNoContent)
}
