package gateway

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

const (
	streamQueue      = 256 // messages a client may lag behind before its stream ends
	maxStreamsEach   = 64  // open streams of one principal
	maxSubscriptions = 1000
)

// errStreams means that a principal has too many streams open.
var errStreams = fault.New(fault.Throttled, "gateway.streams", "Too many streams are open for this credential. Close some first.").After(5 * time.Second)

// filter is what a modern subscription asks for; a legacy stream has none and
// hears everything of its session.
type filter struct {
	id    []byte // of the listen request, raw
	lists []string
	uris  []string
}

func (f *filter) wants(e *mcp.Envelope, message []byte) bool {
	switch e.Method {
	case mcp.NotifyToolsChanged:
		return slices.Contains(f.lists, "toolsListChanged")
	case mcp.NotifyPromptsChanged:
		return slices.Contains(f.lists, "promptsListChanged")
	case mcp.NotifyResourcesChanged:
		return slices.Contains(f.lists, "resourcesListChanged")
	case mcp.NotifyResourceUpdated:
		uri, err := mcp.String(message, e.URI)
		return err == nil && slices.ContainsFunc(f.uris, func(u string) bool { return uri == u || strings.HasPrefix(uri, u+"/") })
	}
	return false
}

// stream is one long answer to a client.
type stream struct {
	g       *Gateway
	by      *access.Principal
	session *session // legacy
	filter  *filter  // modern
	queue   chan []byte
	over    chan struct{} // ended by us
	once    sync.Once
	stops   []func()
	server  bool // ended because the server stops
}

// openStream begins to listen to the endpoint's servers.
func (g *Gateway) openStream(x *exchange, f *filter) (*stream, error) {
	if err := access.Require(x.by, access.ServicesRead); err != nil {
		return nil, err
	}
	if !g.streams.enter(x.by.ID) {
		return nil, errStreams
	}
	st := &stream{g: g, by: x.by, session: x.s, filter: f, queue: make(chan []byte, streamQueue), over: make(chan struct{})}
	if x.s != nil {
		x.s.mu.Lock()
		if x.s.streams == nil {
			x.s.streams = map[*stream]struct{}{}
		}
		x.s.streams[st] = struct{}{}
		x.s.mu.Unlock()
	}
	var uris []string
	if f != nil {
		uris = f.uris
	}
	for _, s := range x.ep.servers() {
		if !s.Enabled {
			continue
		}
		r := upstream.Request{Server: s, By: x.by, Revision: x.rev}
		if x.s != nil {
			r.Affinity, r.Client = x.s.affinity, x.s.client
		}
		ctx := context.WithoutCancel(x.r.Context())
		// Opened beside the answer: a server that hangs delays no other.
		st.watch(ctx, &r, uris)
	}
	return st, nil
}

// get opens the stream on which a legacy session hears what belongs to no
// request. Modern clients have none.
func (g *Gateway) get(w http.ResponseWriter, r *http.Request, by *access.Principal, ep *endpoint) {
	sid := r.Header.Get(mcp.HeaderSessionID)
	if sid == "" || !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		w.Header().Set("Allow", "POST")
		deny(w, r, errMethod.Saying("GET opens the event stream of a session: send Mcp-Session-Id and Accept: text/event-stream."))
		return
	}
	s, err := g.sessions.find(by, sid)
	if err != nil {
		deny(w, r, err)
		return
	}
	x := g.begin(w, r, by, ep)
	defer x.end()
	x.s, x.rev = s, s.revision
	st, err := g.openStream(x, nil)
	if err != nil {
		deny(w, r, err)
		return
	}
	defer st.leave()
	streamHeaders(w)
	_ = http.NewResponseController(w).Flush()
	st.serve(w, r)
}

// delete ends a legacy session.
func (g *Gateway) delete(w http.ResponseWriter, r *http.Request, by *access.Principal) {
	sid := r.Header.Get(mcp.HeaderSessionID)
	if sid == "" {
		deny(w, r, errNoHeader)
		return
	}
	s, err := g.sessions.find(by, sid)
	if err != nil {
		deny(w, r, err)
		return
	}
	g.sessions.end(s)
	g.Hub.EndSession(s.affinity)
	w.WriteHeader(http.StatusNoContent)
}

// watch listens to one server in the background.
func (st *stream) watch(ctx context.Context, r *upstream.Request, uris []string) {
	ready := make(chan func(), 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		stop, err := st.g.Hub.Watch(ctx, r, uris, func(message []byte, e *mcp.Envelope) { st.hear(r, message, e) })
		if err != nil {
			stop = func() {} // the server has no stream; its lists are fetched when they are old
		}
		ready <- stop
	}()
	st.stops = append(st.stops, func() { go func() { (<-ready)() }() })
}

// hear takes a message of a server; it must not block.
func (st *stream) hear(r *upstream.Request, message []byte, e *mcp.Envelope) {
	switch {
	case st.filter != nil:
		if e.Kind != mcp.Notification || !st.filter.wants(e, message) {
			return
		}
		st.push(tag(message, e, st.filter.id))
	case e.Kind == mcp.Request && st.session != nil:
		ours := st.session.ask(r.Server, e.ID.Of(message))
		st.push(mcp.Splice(nil, message, mcp.Edit{Span: e.ID, With: ours}))
	case e.Kind == mcp.Notification:
		st.push(append([]byte(nil), message...))
	}
}

// tag marks a notification with the subscription it belongs to.
func tag(message []byte, e *mcp.Envelope, id []byte) []byte {
	meta := append(append([]byte(`{"`+mcp.MetaSubscriptionID+`":`), id...), '}')
	switch {
	case !e.Meta.Empty():
		return mcp.InsertMember(nil, message, e.Meta, mcp.MetaSubscriptionID, id)
	case !e.Params.Empty():
		return mcp.InsertMember(nil, message, e.Params, "_meta", meta)
	}
	params := append(append([]byte(`{"_meta":`), meta...), '}')
	return mcp.InsertMember(nil, message, mcp.Root(message), "params", params)
}

// push queues a message; a client that does not read loses its stream, and
// asks again when it wants to go on.
func (st *stream) push(message []byte) {
	select {
	case st.queue <- message:
	default:
		st.end()
	}
}

// end ends the stream from our side.
func (st *stream) end() { st.once.Do(func() { close(st.over) }) }

// leave takes the stream out of everything that knows it.
func (st *stream) leave() {
	st.end()
	for _, stop := range st.stops {
		stop()
	}
	if st.session != nil {
		st.session.mu.Lock()
		delete(st.session.streams, st)
		st.session.mu.Unlock()
	}
	st.g.streams.leave(st.by.ID)
}

func (st *stream) graceful() bool { return st.server }

// serve writes until the client hangs up, the credential ends, or we stop.
func (st *stream) serve(w http.ResponseWriter, r *http.Request) {
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	var expires <-chan time.Time
	if !st.by.ExpiresAt.IsZero() && st.by.Kind != access.Session {
		t := time.NewTimer(st.by.ExpiresAt.Sub(st.g.Now()))
		defer t.Stop()
		expires = t.C
	}
	for {
		select {
		case m := <-st.queue:
			if st.event(w, m) != nil {
				return
			}
		case <-alive.C:
			soon(w)
			if _, err := io.WriteString(w, ": keep-alive\n\n"); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		case <-st.over:
			return
		case <-st.by.Revoked():
			return
		case <-expires:
			return
		case <-request.Draining(r.Context()):
			st.server = true
			return
		}
	}
}

func (st *stream) event(w http.ResponseWriter, message []byte) error {
	soon(w)
	if _, err := w.Write(appendEvent(nil, "", message)); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// streamCount bounds the open streams of each principal.
type streamCount struct {
	mu   sync.Mutex
	open map[string]int
}

func (c *streamCount) enter(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] >= maxStreamsEach {
		return false
	}
	if c.open == nil {
		c.open = map[string]int{}
	}
	c.open[id]++
	return true
}

func (c *streamCount) leave(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id]--; c.open[id] <= 0 {
		delete(c.open, id)
	}
}
