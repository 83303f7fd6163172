package stdio

import (
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/mcp"
)

// session is a session as HTTP has them: a stdio server knows of none.
type session struct {
	id      string
	elicits bool // what its client can be asked for
	samples bool
	used    atomic.Int64 // unix seconds
	level   atomic.Int32 // of log lines; unset as long as nobody asked

	mu     sync.Mutex
	stream chan []byte // of the GET stream; nil without one
	stop   chan struct{}
	stale  map[string][]byte // lists that changed while nobody listened
	subs   map[string]bool
}

func newSession(id string, capabilities []byte) *session {
	s := &session{id: id}
	s.level.Store(int32(unset))
	if len(capabilities) > 0 {
		root := mcp.Root(capabilities)
		_, s.elicits = mcp.Get(capabilities, root, "elicitation")
		_, s.samples = mcp.Get(capabilities, root, "sampling")
	}
	return s
}

func (s *session) canBeAsked(method string) bool {
	return method == mcp.MethodElicitCreate && s.elicits || method == mcp.MethodSamplingCreate && s.samples
}

func (s *session) touch(now time.Time) { s.used.Store(now.Unix()) }

// push hands a message to the session's stream, unless there is none or too
// much waits in it.
func (s *session) push(message []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil || len(message) > maxNews {
		return false
	}
	select {
	case s.stream <- message:
		return true
	default:
		return false
	}
}

// changed tells the session of a changed list: now, or with its next answer.
func (s *session) changed(method string, message []byte) {
	if s.push(message) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale == nil {
		s.stale = map[string][]byte{}
	}
	s.stale[method] = message
}

// news takes what the session has not been told yet.
func (s *session) news() map[string][]byte {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.stale
	s.stale = nil
	return news
}

// wants reports whether the session is to see a log line. For one that asked
// for no level that is info and above, as servers over HTTP commonly have it.
func (s *session) wants(severity level) bool {
	own := level(s.level.Load())
	if own == unset {
		own = info
	}
	return severity >= own
}

func (s *session) watches(uri string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[uri] {
		return true
	}
	for sub := range s.subs {
		if covers(sub, uri) {
			return true
		}
	}
	return false
}

// open makes the session's stream; one that was open ends.
func (s *session) open() (messages <-chan []byte, stop <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		close(s.stop)
	}
	s.stream, s.stop = make(chan []byte, maxEvents), make(chan struct{})
	for _, message := range s.stale {
		s.stream <- message
	}
	s.stale = nil
	return s.stream, s.stop
}

// close ends a stream, if it is still the session's.
func (s *session) close(stop <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop == nil || s.stop == stop {
		if s.stop != nil {
			close(s.stop)
		}
		s.stream, s.stop = nil, nil
	}
}

func (s *session) streaming() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream != nil
}
