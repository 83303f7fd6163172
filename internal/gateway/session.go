package gateway

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// session is a legacy client's. Its id is sealed and holds all that a restart
// must not lose; the rest is rebuilt as it is used.
type session struct {
	id       string
	affinity string // what servers' own sessions hang on; never shown
	ref      string // what replicas call it
	owner    string // principal id
	revision mcp.Revision
	client   upstream.Client
	until    time.Time                        // when the id is too old
	used     atomic.Int64                     // unix seconds
	user     atomic.Pointer[access.Principal] // who used it, as of then

	noting sync.Mutex    // held while what is noted of the session is read or written, and taken over; before mu
	heard  atomic.Uint64 // counts that other replicas have written it
	known  atomic.Uint64 // what of that is in here

	mu       sync.Mutex
	inflight map[string]context.CancelFunc // by raw request id
	asked    map[string]question           // requests of servers, by the id we gave them
	serial   uint64
	touched  map[string]*catalog.Server // servers with something of this session, by key
	recent   *catalog.Server            // that was touched last
	subs     map[string]*catalog.Server // resources subscribed to
	level    string                     // of logging/setLevel
	stream   *stream                    // where the client hears what belongs to no request
	tapes    []*tape
	over     bool // ended for good
}

// question is a request of a server that the client is to answer.
type question struct {
	server *catalog.Server
	id     []byte    // as the server gave it
	token  []byte    // of the client's progress on it, raw; empty when the server wants to hear of none
	during *exchange // the call whose stream it came on, if any
}

const maxQuestions = 64 // unanswered, in a session

// errQuestions means that a client answers too little.
var errQuestions = fault.New(fault.Throttled, "gateway.questions", "The client has too many unanswered requests of servers.")

// busy reports whether something of the session would be lost with it.
func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inflight) > 0 || s.stream != nil
}

// close ends what runs in the session.
func (s *session) close() {
	s.mu.Lock()
	stream := s.stream
	s.over = true
	for _, cancel := range s.inflight {
		cancel()
	}
	s.mu.Unlock()
	if stream != nil {
		stream.end()
	}
	s.erase()
}

// erase forgets the streams of calls.
func (s *session) erase() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tapes {
		t.erase()
	}
	s.tapes = nil
}

// begin notes a request in flight, so that it can be cancelled and its id not
// be used twice.
func (s *session) begin(id []byte, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.inflight[string(id)]; ok {
		return errInFlight
	}
	if s.inflight == nil {
		s.inflight = map[string]context.CancelFunc{}
	}
	s.inflight[string(id)] = cancel
	return nil
}

// done ends a request, and what a server asked during it.
func (s *session) done(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inflight, string(x.id()))
	if !x.asked {
		return
	}
	for id, q := range s.asked {
		if q.during == x {
			delete(s.asked, id)
		}
	}
}

// cancel ends the request a notifications/cancelled names.
func (s *session) cancel(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.inflight[string(id)]; ok {
		c()
	}
}

// ask gives a server's request an id of this session and remembers whose it is.
func (s *session) ask(q question) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) >= maxQuestions {
		return nil, errQuestions
	}
	ours := s.numbered()
	if s.asked == nil {
		s.asked = map[string]question{}
	}
	q.id, q.token = slices.Clone(q.id), slices.Clone(q.token)
	s.asked[string(ours)] = q
	return ours, nil
}

// number returns an id for a request of our own in the session.
func (s *session) number() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.numbered()
}

// numbered is number for callers that hold the lock.
func (s *session) numbered() []byte {
	s.serial++
	return append(strconv.AppendUint([]byte(`"headgate-`), s.serial, 10), '"')
}

// tell sends a message on the session's stream, if its client listens.
func (s *session) tell(message []byte) {
	s.mu.Lock()
	st := s.stream
	s.mu.Unlock()
	if st != nil {
		st.push(message)
	}
}

// answered returns whose request a client's reply answers, once.
func (s *session) answered(id []byte) (question, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.asked[string(id)]
	delete(s.asked, string(id))
	return q, ok
}

// withdrawn takes back a server's request that it does not want to be answered
// any more, and returns our id of it.
func (s *session) withdrawn(server *catalog.Server, id []byte) (ours []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, q := range s.asked {
		if q.server.Key() == server.Key() && mcp.SameID(q.id, id) {
			delete(s.asked, key)
			return []byte(key), true
		}
	}
	return nil, false
}

// waiting returns the servers whose unanswered requests have this progress token.
func (s *session) waiting(token []byte) (list []*catalog.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.asked {
		if len(q.token) > 0 && mcp.SameID(q.token, token) && !slices.Contains(list, q.server) {
			list = append(list, q.server)
		}
	}
	return list
}

// touch notes that a server has something of this session, and listens to it
// if the client does. It returns what is closed once that is so, if it was not
// before: old servers ask there what belongs to a call.
func (s *session) touch(server *catalog.Server) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent == server || s.touched[server.Key()] == server {
		s.recent = server
		return nil
	}
	if s.touched == nil {
		s.touched = map[string]*catalog.Server{}
	}
	s.touched[server.Key()], s.recent = server, server
	if s.stream == nil {
		return nil
	}
	return s.stream.hearOwn(server, s.said(), s.subscriptions(server))
}

// around returns the servers that have something of this session.
func (s *session) around() []*catalog.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.servers()
}

// servers is around for callers that hold the lock. After a restart a session
// has subscriptions at servers that nothing has been sent to since.
func (s *session) servers() []*catalog.Server {
	list := make([]*catalog.Server, 0, len(s.touched))
	for _, server := range s.touched {
		list = append(list, server)
	}
	for _, server := range s.subs {
		if !slices.ContainsFunc(list, func(o *catalog.Server) bool { return o.Key() == server.Key() }) {
			list = append(list, server)
		}
	}
	return list
}

// subscribe notes a subscription, or its end, that the server has accepted.
func (s *session) subscribe(uri string, server *catalog.Server, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !on:
		delete(s.subs, uri)
	case len(s.subs) < maxSubscriptions:
		if s.subs == nil {
			s.subs = map[string]*catalog.Server{}
		}
		s.subs[uri] = server
	}
	if s.stream != nil {
		s.stream.hearOwn(server, s.said(), s.subscriptions(server))
	}
}

// subscriptions returns the resources of a server that are subscribed to, in
// order; the caller holds the lock.
func (s *session) subscriptions(server *catalog.Server) []string {
	var uris []string
	for uri, owner := range s.subs {
		if owner.Key() == server.Key() {
			uris = append(uris, uri)
		}
	}
	slices.Sort(uris)
	return uris
}

// behind reports whether there is something noted of the session that is not in
// here yet.
func (s *session) behind() bool { return s.heard.Load() != s.known.Load() }

// adopt takes over what is noted of the session. It returns the servers that
// must be told another level than before.
func (s *session) adopt(kept restored) (tell []*catalog.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.level != kept.level {
		s.level = kept.level
		for _, server := range s.servers() {
			if s.stream != nil || s.touched[server.Key()] != nil {
				tell = append(tell, server)
			}
		}
	}
	changed := map[string]*catalog.Server{}
	differences := func(have, other map[string]*catalog.Server) {
		for uri, server := range have {
			if o := other[uri]; o == nil || o.Key() != server.Key() {
				changed[server.Key()] = server
			}
		}
	}
	differences(s.subs, kept.subs)
	differences(kept.subs, s.subs)
	s.subs = kept.subs
	if s.stream != nil {
		for _, server := range changed {
			s.stream.hearOwn(server, s.said(), s.subscriptions(server))
		}
	}
	return tell
}

// setLevel notes the level of messages the client wants from now on.
func (s *session) setLevel(level string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}

// self returns what the client says of itself to servers.
func (s *session) self() upstream.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said()
}

// said is self for callers that hold the lock.
func (s *session) said() upstream.Client {
	c := s.client
	c.Level = s.level
	return c
}

// keep remembers a call's stream until nobody can want it any more.
func (s *session) keep(t *tape, now time.Time) {
	s.forget(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		t.erase()
		return
	}
	if i := slices.IndexFunc(s.tapes, (*tape).ended); len(s.tapes) >= maxTapes && i >= 0 {
		s.tapes[i].erase()
		s.tapes = slices.Delete(s.tapes, i, i+1)
	}
	s.tapes = append(s.tapes, t)
}

// forget erases streams that ended long ago.
func (s *session) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tapes = slices.DeleteFunc(s.tapes, func(t *tape) bool {
		old := t.old(now)
		if old {
			t.erase()
		}
		return old
	})
}

// tape finds the stream that an event id belongs to.
func (s *session) tape(id string) *tape {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tapes {
		if t.id == id {
			return t
		}
	}
	return nil
}

// listening returns the session's stream if its events have this id and it is
// of the same endpoint.
func (s *session) listening(id string, ep endpoint) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.stream; st != nil && st.id == id && st.ep.same(ep) {
		return st
	}
	return nil
}
