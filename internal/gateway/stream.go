package gateway

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	streamQueue = 256      // messages a client may lag behind before its stream ends
	streamBytes = 4 << 20  // and their size
	maxSent     = 64       // events kept of a session's stream, for a client that comes back
	maxSentSize = 64 << 10 // and their size
	watchTime   = 30 * time.Second
	watchAgain  = 30 * time.Second // after a server could not be watched
)

// stream is one long answer to a client: what servers say outside of requests.
type stream struct {
	g       *Gateway
	ep      endpoint
	session *session // legacy
	filter  *filter  // modern

	mu      sync.Mutex
	queue   [][]byte
	size    int
	watches map[watchKey]*watch
	seen    *catalog.Workspace // the one the watches are for
	turn    chan struct{}      // the connection that it is written to; closed when another one takes over
	rest    *time.Timer        // ends it, while its client is away
	left    bool

	id    string   // before the number in its events' ids; "" when it has none
	sent  [][]byte // the last events, with their ids
	first int      // the number of sent[0]
	kept  int      // bytes in sent

	wake chan struct{} // something is in the queue
	over chan struct{} // ended by us
	once sync.Once
}

// watchKey names a watch: the shared one of a server's lists, or the one of
// what belongs to this client alone.
type watchKey struct {
	server string
	own    bool
}

// watch is one server being listened to.
type watch struct {
	server *catalog.Server
	self   upstream.Client // for a session that has to be opened
	uris   []string
	opened chan struct{} // closed once it is open, or has failed
	stop   func()        // nil until then
	behind bool          // the watch it replaces is still heard
	ended  bool
	failed time.Time
}

// newStream makes a stream that hears nothing yet.
func (g *Gateway) newStream(ep endpoint, f *filter) (*stream, error) {
	if err := access.Require(ep.by, access.ServicesRead); err != nil {
		return nil, err
	}
	st := &stream{g: g, ep: ep, filter: f, watches: map[watchKey]*watch{}, wake: make(chan struct{}, 1), over: make(chan struct{})}
	return st, g.streams.enter(st)
}

// start begins to listen to the endpoint's servers, for a session if there is
// one. A session's messages go to one stream: that of the newest connection.
func (st *stream) start(s *session) {
	st.mu.Lock()
	st.session = s
	st.follow(st.ep.workspace)
	st.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	old := s.stream
	s.stream = st
	for _, server := range s.servers() {
		st.hearOwn(server, s.said(), s.subscriptions(server))
	}
	s.mu.Unlock()
	if old != nil {
		old.end()
	}
}

// follow watches the lists of the servers the endpoint now has; the caller
// holds the lock.
func (st *stream) follow(ws *catalog.Workspace) {
	st.seen = ws
	wanted := map[watchKey]bool{}
	for _, s := range st.servers(ws) {
		key := watchKey{server: s.Key()}
		wanted[key] = true
		if w := st.watches[key]; w != nil && w.server.Version == s.Version {
			continue
		}
		st.open(key, s, upstream.Client{}, nil)
	}
	for key, w := range st.watches {
		if !key.own && !wanted[key] {
			st.close(key, w)
		}
	}
}

// servers returns the enabled servers of the endpoint in a state of its workspace.
func (st *stream) servers(ws *catalog.Workspace) []*catalog.Server {
	if st.filter != nil && len(st.filter.lists) == 0 {
		return nil
	}
	list := ws.Servers()
	if st.ep.server != nil {
		s, ok := ws.Server(st.ep.server.Slug)
		if !ok {
			return nil
		}
		list = []*catalog.Server{s}
	}
	return slices.DeleteFunc(slices.Clone(list), func(s *catalog.Server) bool { return !s.Enabled })
}

// open watches a server in the background: one that hangs delays no other. The
// watch it replaces goes on until then, so that nothing is missed and the two
// share a connection. The caller holds the lock.
func (st *stream) open(key watchKey, server *catalog.Server, self upstream.Client, uris []string) {
	old := st.watches[key]
	w := &watch{server: server, self: self, uris: uris, behind: old != nil, opened: make(chan struct{})}
	st.watches[key] = w
	r := upstream.Request{Server: server, By: st.ep.by, Revision: mcp.LatestModern}
	if st.session != nil {
		r.Revision, r.Affinity, r.Client = st.session.revision, st.session.affinity, self
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), watchTime)
		defer cancel()
		tell := func(message []byte, e *mcp.Envelope) { st.hear(key, w, message, e) }
		var stop func()
		var err error
		if key.own {
			stop, err = st.g.Hub.Watch(ctx, &r, uris, tell)
		} else {
			stop, err = st.g.Hub.WatchLists(ctx, server, st.ep.by, tell)
		}
		if key.own && err == nil {
			st.g.Hub.Ready(ctx, &r)
		}
		st.mu.Lock()
		defer st.mu.Unlock()
		close(w.opened)
		if w.behind = false; old != nil {
			st.close(key, old)
		}
		if err != nil {
			w.failed = time.Now()
			return
		}
		if w.stop = stop; w.ended {
			go stop()
		}
	}()
}

// close ends a watch; the caller holds the lock.
func (st *stream) close(key watchKey, w *watch) {
	if st.watches[key] == w {
		delete(st.watches, key)
	}
	w.ended = true
	if w.stop != nil {
		go w.stop() // it takes locks of connections that may be telling us something
	}
}

// hearOwn watches what belongs to this client alone at a server: its session
// there, and updates of resources. It returns what is closed once that is so.
func (st *stream) hearOwn(server *catalog.Server, self upstream.Client, uris []string) <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	key := watchKey{server.Key(), true}
	w := st.watches[key]
	if w == nil || w.server.Version != server.Version || !slices.Equal(w.uris, uris) {
		select {
		case <-st.over:
			return nil
		default:
			st.open(key, server, self, uris)
			w = st.watches[key]
		}
	}
	return w.opened
}

// refresh follows changes of the workspace, and tries again what could not be
// watched.
func (st *stream) refresh(ctx context.Context, now time.Time) {
	ws, err := st.g.Resolver.Workspace(ctx, st.ep.by.Organization, st.ep.workspace.ID)
	if err != nil {
		return
	}
	st.mu.Lock()
	changed := st.seen != nil && ws != st.seen
	for key, w := range st.watches {
		if !w.failed.IsZero() && now.Sub(w.failed) > watchAgain {
			st.open(key, w.server, w.self, w.uris)
		}
	}
	if changed {
		st.follow(ws)
	}
	st.mu.Unlock()
	if !changed {
		return
	}
	for _, method := range []string{mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged} {
		st.tell(method)
	}
}

// tell queues a notification of our own.
func (st *stream) tell(method string) {
	message := mcp.AppendRequest(nil, nil, method, nil)
	var e mcp.Envelope
	if mcp.ScanReply(message, &e, mcp.Limits{}) == nil {
		st.pass(message, &e)
	}
}

// hear takes a message of a server; it must not block.
func (st *stream) hear(key watchKey, w *watch, message []byte, e *mcp.Envelope) {
	listed := e.Method == mcp.NotifyToolsChanged || e.Method == mcp.NotifyPromptsChanged || e.Method == mcp.NotifyResourcesChanged
	st.mu.Lock()
	heard, uris := !w.behind && !w.ended, w.uris
	if next := st.watches[key]; heard && next != nil {
		uris = next.uris // the one that is about to replace it
	}
	st.mu.Unlock()
	if !heard || key.own == listed || e.Method == mcp.NotifySubscriptionsAck {
		return // changes of lists come by the shared watch; acknowledgements are for the hub
	}
	if e.Method == mcp.NotifyResourceUpdated && !matches(uris, message, e) {
		return // another client's
	}
	if e.Method == mcp.NotifyTasks {
		news := st.filter.taskNews(w.server, message, e, st.ep.server == nil)
		var env mcp.Envelope
		if news != nil && mcp.ScanReply(news, &env, mcp.Limits{}) == nil {
			st.pass(news, &env)
		}
		return
	}
	switch {
	case e.Kind == mcp.Request && st.session != nil:
		if ours, err := st.g.ask(st.session, st.ep, question{server: w.server}, message, e); ours != nil && err == nil {
			st.push(ours)
		}
	case e.Kind == mcp.Request:
	case e.Method == mcp.NotifyCancelled:
		if st.session != nil {
			if message = st.session.withdrawal(w.server, message, e); message != nil {
				st.push(message)
			}
		}
	default:
		st.pass(message, e)
	}
}

// matches reports whether an update is of one of the resources, or of a part
// of one.
func matches(uris []string, message []byte, e *mcp.Envelope) bool {
	uri, err := mcp.String(message, e.URI)
	return err == nil && slices.ContainsFunc(uris, func(u string) bool {
		rest, ok := strings.CutPrefix(uri, u)
		return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(u, "/"))
	})
}

// pass queues a notification, as its era has it.
func (st *stream) pass(message []byte, e *mcp.Envelope) {
	switch {
	case st.filter == nil:
		st.push(untagged(message, e))
	case st.filter.wants(e):
		st.push(tagged(message, e, st.filter.id))
	}
}

// push queues a message; a client that does not read loses its stream, and
// asks again when it wants to go on.
func (st *stream) push(message []byte) {
	st.mu.Lock()
	n := len(st.queue)
	if n > 0 && bytes.Equal(st.queue[n-1], message) {
		st.mu.Unlock() // a change that is still to be told
		return
	}
	full := n >= streamQueue || st.size+len(message) > streamBytes
	if !full {
		st.queue = append(st.queue, message)
		st.size += len(message)
	}
	st.mu.Unlock()
	if full {
		st.end()
		return
	}
	select {
	case st.wake <- struct{}{}:
	default:
	}
}
