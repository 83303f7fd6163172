package upstream

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxBackoff = time.Minute
	settled    = 30 * time.Second // a stream that lasted so long starts over with short waits
	listenID   = `"headgate-listen"`
)

// stream is the stream of notifications of a session (legacy) or of a peer
// (modern), open as long as somebody watches.
type stream struct {
	peer   *peer
	key    sessionKey
	want   mcp.Era
	r      *Request // whose session it is, if the server is a legacy one
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	watchers map[*watcher]bool
	renew    context.CancelFunc // ends the present connection, for another filter
	last     string             // the last event's id
	retry    time.Duration
	opened   int

	reading *session // the legacy session whose stream is open
	ready   chan struct{}
	settle  sync.Once // closes ready

	subscribing sync.Mutex
	subscribed  map[string]bool // resources, in the legacy session below
	session     *session
}

func (s *stream) join(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.union()
	s.watchers[w] = true
	s.refilter(before)
}

func (s *stream) part(w *watcher) {
	s.peer.mu.Lock()
	defer s.peer.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.union()
	delete(s.watchers, w)
	if len(s.watchers) > 0 {
		s.refilter(before)
		return
	}
	if s.peer.streams[s.key] == s {
		delete(s.peer.streams, s.key)
	}
	s.cancel()
}

// union returns the resources that somebody watches, in order.
func (s *stream) union() []string {
	all := map[string]bool{}
	for w := range s.watchers {
		for _, uri := range w.resources {
			all[uri] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// refilter follows other resources being asked for: a legacy server is told in
// the session, a modern stream is opened anew.
func (s *stream) refilter(before []string) {
	resources := s.union()
	if s.renew == nil || slices.Equal(before, resources) {
		return
	}
	session, ctx := s.reading, s.ctx
	if session == nil {
		s.renew()
		return
	}
	s.peer.hub.spawn(func() { s.subscribe(ctx, session) })
}

var (
	errNoStream = errors.New("the server offers no stream")
	errRenew    = errors.New("another filter")
)

// run keeps the stream open.
func (s *stream) run() {
	wait := s.peer.hub.opts.Resume
	for s.ctx.Err() == nil {
		start := time.Now()
		err := s.once()
		s.settle.Do(func() { close(s.ready) })
		switch {
		case errors.Is(err, errRenew):
			continue
		case errors.Is(err, errNoStream):
			<-s.ctx.Done() // asking again would get the same answer
			return
		case time.Since(start) > settled:
			wait = s.peer.hub.opts.Resume
		}
		s.mu.Lock()
		d := max(wait, min(s.retry, maxBackoff))
		s.mu.Unlock()
		pause(s.ctx, d/2+rand.N(d/2+1), time.Time{})
		wait = min(2*wait, maxBackoff)
	}
}

// once opens the stream and reads it to its end.
func (s *stream) once() error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.mu.Lock()
	s.renew = cancel
	resources := s.union()
	s.mu.Unlock()
	f, err := s.peer.facts(ctx, s.want, cached)
	switch {
	case err != nil:
	case f.Era == mcp.Modern:
		err = s.listen(ctx, resources)
	default:
		err = s.get(ctx)
	}
	if ctx.Err() != nil && s.ctx.Err() == nil {
		return errRenew
	}
	return err
}

// get reads the GET stream of a legacy session.
func (s *stream) get(ctx context.Context) error {
	p := s.peer
	session, err := p.session(ctx, keyOf(s.r), s.r, time.Now().Add(handshake))
	if err != nil {
		return err
	}
	s.setReading(session)
	defer s.setReading(nil)
	s.subscribe(ctx, session)
	fields := slices.Clone(session.fields)
	s.mu.Lock()
	if s.last != "" {
		fields = append(fields, wire.Field{Name: mcp.HeaderLastEventID, Value: s.last})
	}
	s.mu.Unlock()
	resp, err := p.hub.streams.Do(ctx, &wire.Request{Method: "GET", Target: p.target.Load(), Accept: "text/event-stream", Fields: fields})
	if err != nil {
		return honest(err)
	}
	defer resp.Release()
	switch {
	case resp.Status == 405, resp.Status == 501, resp.Status == 404 && session.id == "":
		return errNoStream
	case resp.Status == 404:
		p.lose(session)
		s.forget()
		return errSessionLost
	case resp.Status >= 300 || resp.Kind != wire.SSE:
		return ErrRejected.With("status", resp.Status)
	}
	s.reopened()
	return s.read(resp, session)
}

func (s *stream) setReading(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = session
}

// subscribe asks a legacy server for the updates of the resources somebody
// watches, and for those of others no more. One that it refuses has no updates.
func (s *stream) subscribe(ctx context.Context, session *session) {
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	s.mu.Lock()
	resources := s.union()
	s.mu.Unlock()
	if s.session != session {
		s.session, s.subscribed = session, map[string]bool{}
	}
	ask := func(method, uri string) error {
		r := *s.r
		r.Method, r.ID, r.Timeout = method, []byte("1"), probeTime
		r.Body = mcp.AppendRequest(nil, r.ID, method, append(mcp.AppendString([]byte(`{"uri":`), uri), '}'))
		a, err := s.peer.hub.begin(s.peer, &r, nil, s.peer.hub.opts.Now()).run(ctx)
		a.Release()
		return err
	}
	for uri := range s.subscribed {
		if !slices.Contains(resources, uri) && ask(mcp.MethodResourcesUnsubscribe, uri) == nil {
			delete(s.subscribed, uri)
		}
	}
	for _, uri := range resources {
		if strings.HasPrefix(uri, taskTopic) {
			continue
		}
		if !s.subscribed[uri] && ask(mcp.MethodResourcesSubscribe, uri) == nil {
			s.subscribed[uri] = true
		}
	}
}

// listen reads a modern subscription.
func (s *stream) listen(ctx context.Context, resources []string) error {
	p := s.peer
	body := p.hub.listenFor(resources)
	resp, err := p.hub.streams.Do(ctx, &wire.Request{Target: p.target.Load(), Body: [][]byte{body},
		Fields: []wire.Field{{Name: mcp.HeaderProtocolVersion, Value: string(mcp.LatestModern)}, {Name: mcp.HeaderMethod, Value: mcp.MethodSubscriptionsListen}}})
	if err != nil {
		return honest(err)
	}
	defer resp.Release()
	if resp.Status >= 300 || resp.Kind != wire.SSE {
		_, err := p.hub.oneReply(resp, []byte(listenID))
		if refusesEra(err) || errors.Is(err, errRPC) || err == nil {
			return errNoStream
		}
		return err
	}
	s.reopened()
	return s.read(resp, nil)
}

// taskTopic begins what a watcher of a task asks for beside resources; no URI
// does.
const taskTopic = "\x00task:"

// TaskTopic names a task among the resources of a Watch: its notifications
// (the tasks extension) come too. Only modern servers have them.
func TaskTopic(id string) string { return taskTopic + id }

// listenFor makes the request for a modern subscription.
func (h *Hub) listenFor(topics []string) []byte {
	filter := []byte(`"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true`)
	var resources, tasks []byte
	for _, topic := range topics {
		list, id := &resources, topic
		if task, ok := strings.CutPrefix(topic, taskTopic); ok {
			list, id = &tasks, task
		}
		*list = mcp.AppendString(append(*list, ','), id)
	}
	capabilities := `{}`
	if resources != nil {
		filter = append(append(append(filter, `,"resourceSubscriptions":[`...), resources[1:]...), ']')
	}
	if tasks != nil {
		filter = append(append(append(filter, `,"taskIds":[`...), tasks[1:]...), ']')
		capabilities = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	}
	return h.appendCapable(nil, []byte(listenID), mcp.MethodSubscriptionsListen, append(filter, "},"...), capabilities)
}

// reopened notes a new connection. What was said between two of them is lost,
// so everything in memory counts as old.
func (s *stream) reopened() {
	s.settle.Do(func() { close(s.ready) })
	s.mu.Lock()
	s.opened++
	again := s.opened > 1
	s.mu.Unlock()
	if again {
		for kind := range kinds {
			s.peer.outdate(kind)
		}
	}
}

// forget drops the place to go on from.
func (s *stream) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = ""
}

// read passes events on until the stream ends.
func (s *stream) read(resp *wire.Response, session *session) error {
	var env mcp.Envelope
	for {
		e, err := resp.NextEvent(maxAnswer)
		if last, retry := resp.Resume(); last != "" {
			s.mu.Lock()
			s.last, s.retry = last, retry
			s.mu.Unlock()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return honest(err)
		}
		if len(e.Data) == 0 || len(e.Name) > 0 && string(e.Name) != "message" {
			continue
		}
		messages := [][]byte{e.Data}
		if err := mcp.ScanReply(e.Data, &env, mcp.Limits{}); err != nil {
			if session == nil {
				return ErrNonsense.Because(err)
			}
			if messages, err = session.split(e.Data, err); err != nil {
				return err
			}
		}
		for _, message := range messages {
			if err := mcp.ScanReply(message, &env, mcp.Limits{}); err != nil {
				return ErrNonsense.Because(err)
			}
			s.pass(message, &env, session)
		}
	}
}

func (s *stream) pass(message []byte, e *mcp.Envelope, session *session) {
	switch e.Kind {
	case mcp.Notification:
		s.peer.notice(e)
	case mcp.Request:
		// Only a downstream session of its own has somebody who could answer.
		if session == nil {
			return
		}
		if session.shared || e.Method == mcp.MethodPing {
			s.peer.decline(session, message, e)
			return
		}
	default: // the graceful end of a subscription
		return
	}
	s.mu.Lock()
	watchers := slices.Collect(maps.Keys(s.watchers))
	s.mu.Unlock()
	for _, w := range watchers {
		w.tell(message, e)
	}
}
