package gateway

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// pair is a client of 2024-11-05: it hears everything on one stream, which told
// it the URL to post its messages to. The connection is the session.
type pair struct {
	g      *Gateway
	id     string
	owner  string
	stream *stream
	calls  atomic.Int32

	mu      sync.Mutex
	w       http.ResponseWriter
	session *session // once it has initialized
}

const pairQuery = "session"

// pairs are the open ones, by id.
type pairs struct {
	mu   sync.RWMutex
	open map[string]*pair
}

// find returns the pair that a POST belongs to, nil for none.
func (all *pairs) find(x *exchange) *pair {
	id := x.r.URL.Query().Get(pairQuery)
	all.mu.RLock()
	defer all.mu.RUnlock()
	if p := all.open[id]; p != nil && p.owner == x.ep.by.ID {
		return p
	}
	return nil
}

// pair serves the stream of a pair, until the client hangs up.
func (g *Gateway) pair(x *exchange) {
	st, err := g.newStream(x.ep, nil)
	if err != nil {
		deny(x.web.w, x.r, err)
		return
	}
	p := &pair{g: g, id: rand.Text(), owner: x.ep.by.ID, stream: st, w: x.web.w}
	g.pairs.mu.Lock()
	if g.pairs.open == nil {
		g.pairs.open = map[string]*pair{}
	}
	g.pairs.open[p.id] = p
	g.pairs.mu.Unlock()
	r := x.r
	x.after = func() {
		defer p.leave()
		streamHeaders(p.w)
		address := url.URL{Path: r.URL.Path, RawQuery: pairQuery + "=" + p.id}
		if p.put([]byte("event: endpoint\ndata: "+address.String()+"\n\n")) == nil {
			turn, _ := st.take()
			st.serve(p, r, turn)
		}
	}
}

// leave ends the session with its connection.
func (p *pair) leave() {
	p.g.pairs.mu.Lock()
	delete(p.g.pairs.open, p.id)
	p.g.pairs.mu.Unlock()
	p.stream.leave()
	p.mu.Lock()
	s := p.session
	p.w = nil
	p.mu.Unlock()
	if s != nil {
		p.g.sessions.end(s)
		p.g.Hub.EndSession(s.affinity)
	}
}

var errGone = errors.New("the client has gone")

// put implements line.
func (p *pair) put(text []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return errGone
	}
	err := write(p.w, text)
	if err != nil {
		p.stream.end()
	}
	return err
}

// begin takes the session that initialize has opened.
func (p *pair) begin(s *session) error {
	p.mu.Lock()
	twice := p.session != nil
	if !twice {
		p.session = s
	}
	p.mu.Unlock()
	if twice {
		p.g.sessions.end(s)
		return mcp.ErrNotMessage.Saying("This connection has been initialized already.")
	}
	p.stream.start(s)
	return nil
}

const maxPairCalls = 100 // under way for one client

// post takes a message: 202 at once, the answer goes to the stream.
func (p *pair) post(x *exchange) {
	if err := mcp.Scan(x.body, &x.e, mcp.Limits{}); err != nil {
		x.misread(err)
		return
	}
	if p.calls.Add(1) > maxPairCalls {
		p.calls.Add(-1)
		x.fail(errInFlight.Saying("Too many requests are under way on this connection."))
		return
	}
	// The next message may come on the same connection, so this one goes on
	// without its HTTP request.
	y := p.g.begin(nil, detached(x.r), x.ep)
	x.body, y.body = y.body, x.body
	x.e, y.e = y.e, x.e
	y.to = pairAnswer{p}
	go func() {
		defer p.calls.Add(-1)
		defer y.end()
		p.serve(y)
	}()
	x.to.accept()
}

func (p *pair) serve(x *exchange) {
	p.mu.Lock()
	s := p.session
	p.mu.Unlock()
	switch {
	case s != nil:
		x.s, x.rev = s, s.revision
	case x.e.Kind != mcp.Request:
		return
	case x.e.Method != mcp.MethodInitialize:
		x.fail(errNoHeader.Saying("Initialize first."))
		return
	}
	p.g.dispatch(x)
}

// pairAnswer is the outlet of a message of a pair.
type pairAnswer struct{ pair *pair }

func (a pairAnswer) event(message []byte)                         { _ = a.pair.put(appendEvent(nil, message)) }
func (a pairAnswer) answer(_ int, message []byte)                 { a.event(message) }
func (a pairAnswer) refuse(_ int, message []byte, _ *fault.Error) { a.event(message) }
func (a pairAnswer) accept()                                      {}
func (a pairAnswer) streams() bool                                { return true }
func (a pairAnswer) wait()                                        {}
