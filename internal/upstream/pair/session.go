package pair

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxWaiting = 1024 // requests of a session under way
	maxExtra   = 256  // messages kept for a stream that nobody reads yet
	maxEvents  = 256  // messages a request may lag behind
)

// session is one pair with the server.
type session struct {
	h      *Handler
	id     string
	post   *wire.Target
	cancel context.CancelFunc
	extra  chan []byte   // what belongs to no request
	over   chan struct{} // the stream has ended

	mu      sync.Mutex
	waiting map[string]*call // by raw id
}

// call is a request that waits for its answer.
type call struct {
	id     []byte
	token  []byte // its progress token, raw
	events chan []byte
	answer chan []byte
}

// begin reads which URL to post to.
func (s *session) begin(resp *wire.Response) error {
	if resp.Status != http.StatusOK || resp.Kind != wire.SSE {
		return &refusal{resp.Status, resp.Header("WWW-Authenticate")}
	}
	e, err := resp.NextEvent(maxMessage)
	if err != nil {
		return err
	}
	u, err := s.h.url.Parse(string(e.Data))
	if string(e.Name) != "endpoint" || err != nil || u.Scheme != s.h.url.Scheme || u.Host != s.h.url.Host || u.User != nil {
		return errEndpoint
	}
	s.post, err = wire.NewTarget(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}, s.h.fields)
	return err
}

// read hands out what the server says until the stream ends.
func (s *session) read(resp *wire.Response) {
	defer s.end()
	defer resp.Release()
	var e mcp.Envelope
	for {
		event, err := resp.NextEvent(maxMessage)
		if err != nil {
			return
		}
		if len(event.Data) == 0 || len(event.Name) > 0 && string(event.Name) != "message" {
			continue
		}
		text := slices.Clone(event.Data)
		for _, message := range split(text) {
			if err := mcp.ScanReply(message, &e, mcp.Limits{}); err != nil {
				return // a server that talks nonsense is not listened to any longer
			}
			s.hear(message, &e)
		}
	}
}

// split returns the messages of an event: one, or those of a batch, which
// servers of 2025-03-26 send over this transport too.
func split(text []byte) [][]byte {
	spans, err := mcp.SplitBatch(text, mcp.Limits{Depth: mcp.DefaultReplyDepth})
	if err != nil {
		return [][]byte{text}
	}
	messages := make([][]byte, len(spans))
	for i, span := range spans {
		messages[i] = span.Of(text)
	}
	return messages
}

// hear finds whose message it is.
func (s *session) hear(message []byte, e *mcp.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind.IsReply() {
		for id, c := range s.waiting {
			if mcp.SameID(c.id, e.ID.Of(message)) {
				delete(s.waiting, id)
				c.answer <- message
				return
			}
		}
		return // late
	}
	to := s.extra
	if c := s.owner(message, e); c != nil {
		to = c.events
	}
	select {
	case to <- message:
	default: // whoever does not read misses something
	}
}

// owner tells which request a notification or a request of the server belongs
// to: progress by its token, the rest to the only one there is, unless somebody
// listens to the session itself. The caller holds the lock.
func (s *session) owner(message []byte, e *mcp.Envelope) *call {
	if e.Method == mcp.NotifyProgress {
		for _, c := range s.waiting {
			if len(c.token) > 0 && mcp.SameID(c.token, e.Progress.Of(message)) {
				return c
			}
		}
		return nil
	}
	switch e.Method {
	case mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged, mcp.NotifyResourceUpdated:
		return nil
	}
	if len(s.waiting) != 1 {
		return nil
	}
	for _, c := range s.waiting {
		return c
	}
	return nil
}

// end ends the session: everything that waits fails.
func (s *session) end() {
	s.h.forget(s)
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

// tell passes on a message that has no answer.
func (s *session) tell(w http.ResponseWriter, r *http.Request, body []byte) {
	status, err := s.send(r.Context(), body)
	switch {
	case err != nil:
		fail(w, err)
	case status >= 300:
		w.WriteHeader(status)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// send posts a message.
func (s *session) send(ctx context.Context, body []byte) (status int, err error) {
	resp, err := s.h.pool.Do(ctx, &wire.Request{Target: s.post, Body: [][]byte{body}})
	if err != nil {
		return 0, err
	}
	defer resp.Release()
	if resp.Status == http.StatusUnauthorized || resp.Status == http.StatusForbidden {
		return 0, &refusal{resp.Status, resp.Header("WWW-Authenticate")}
	}
	return resp.Status, nil
}

// ask passes on a request and what comes back.
func (s *session) ask(w http.ResponseWriter, r *http.Request, body []byte, e *mcp.Envelope) {
	c := &call{id: e.ID.Of(body), token: e.ProgressToken.Of(body), events: make(chan []byte, maxEvents), answer: make(chan []byte, 1)}
	s.mu.Lock()
	_, twice := s.waiting[string(c.id)]
	full := len(s.waiting) >= maxWaiting
	if !twice && !full {
		s.waiting[string(c.id)] = c
	}
	s.mu.Unlock()
	if twice || full {
		refuse(w, http.StatusBadRequest, c.id, mcp.CodeInvalidRequest, "this id is in use, or there are too many requests")
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.waiting[string(c.id)] == c {
			delete(s.waiting, string(c.id))
		}
	}()
	status, err := s.send(r.Context(), body)
	switch {
	case err != nil:
		fail(w, err)
	case status >= 300:
		w.WriteHeader(status)
	default:
		s.relay(w, r, c)
	}
}

// relay answers a request: JSON, or a stream when something comes before.
func (s *session) relay(w http.ResponseWriter, r *http.Request, c *call) {
	out := answer{w: w}
	for {
		select {
		case m := <-c.events:
			out.event(m)
		case m := <-c.answer:
			for len(c.events) > 0 { // they came first
				out.event(<-c.events)
			}
			out.end(m)
			return
		case <-s.over:
			panic(http.ErrAbortHandler) // the server may have done the work: the caller must not ask again
		case <-r.Context().Done():
			return
		}
	}
}

// listen passes on what belongs to no request.
func (s *session) listen(w http.ResponseWriter, r *http.Request) {
	out := answer{w: w}
	out.begin()
	for {
		select {
		case m := <-s.extra:
			out.event(m)
		case <-s.over:
			return
		case <-r.Context().Done():
			return
		}
	}
}
