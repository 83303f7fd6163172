package pair

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxBody     = 17 << 20 // of a message to the server
	maxMessage  = 16 << 20 // of one from it
	maxSessions = 1024
	openTime    = 10 * time.Second // for the stream to say where to post
)

// Handler is one server, as Streamable HTTP.
type Handler struct {
	ctx    context.Context
	pool   *wire.Pool
	url    *url.URL
	fields []wire.Field
	target *wire.Target

	mu       sync.Mutex
	sessions map[string]*session
}

// New returns a handler for the server whose stream is at u. fields go with
// each request; the pool must have room for a stream per session. Sessions end
// with the context.
func New(ctx context.Context, pool *wire.Pool, u *url.URL, fields []wire.Field) (*Handler, error) {
	target, err := wire.NewTarget(u, fields)
	if err != nil {
		return nil, err
	}
	return &Handler{ctx: ctx, pool: pool, url: u, fields: fields, target: target, sessions: map[string]*session{}}, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := h.session(r.Header.Get(mcp.HeaderSessionID))
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, s)
	case http.MethodGet:
		if s == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.listen(w, r)
	case http.MethodDelete:
		if s == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.end()
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (h *Handler) session(id string) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

// post takes one message.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, s *session) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, nil, mcp.CodeInvalidRequest, "the message is too large")
		return
	}
	var e mcp.Envelope
	if err := mcp.ScanReply(body, &e, mcp.Limits{}); err != nil {
		refuse(w, http.StatusBadRequest, nil, mcp.RPCCode(err), "the message is not readable")
		return
	}
	id := e.ID.Of(body)
	switch {
	case e.Kind == mcp.Request && e.Method == mcp.MethodInitialize:
		if s, err = h.open(); err != nil {
			fail(w, err)
			return
		}
		w.Header().Set(mcp.HeaderSessionID, s.id)
	case r.Header.Get(mcp.HeaderProtocolVersion) >= string(mcp.LatestModern):
		refuse(w, http.StatusBadRequest, id, -32000, "this server speaks revision 2024-11-05")
		return
	case s == nil:
		refuse(w, http.StatusNotFound, id, mcp.CodeInvalidRequest, "the session is unknown")
		return
	}
	if e.Kind != mcp.Request {
		s.tell(w, r, body)
		return
	}
	s.ask(w, r, body, &e)
}

// open opens a pair: the stream, and the URL it names.
func (h *Handler) open() (*session, error) {
	s := &session{h: h, id: rand.Text(), waiting: map[string]*call{}, extra: make(chan []byte, maxExtra), over: make(chan struct{})}
	h.mu.Lock()
	full := len(h.sessions) >= maxSessions
	h.mu.Unlock()
	if full {
		return nil, errFull
	}
	life, cancel := context.WithCancel(h.ctx) // the stream outlives the request that opens it
	s.cancel = cancel
	opening := time.AfterFunc(openTime, cancel)
	resp, err := h.pool.Do(life, &wire.Request{Method: http.MethodGet, Target: h.target, Accept: "text/event-stream"})
	if err == nil {
		if err = s.begin(resp); err != nil {
			resp.Release()
		}
	}
	if opening.Stop(); err != nil {
		cancel()
		return nil, err
	}
	h.mu.Lock()
	h.sessions[s.id] = s
	h.mu.Unlock()
	go s.read(resp)
	return s, nil
}

func (h *Handler) forget(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.id)
}
