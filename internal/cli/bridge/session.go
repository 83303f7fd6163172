package bridge

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"headgate/client"
	"headgate/internal/mcp"
)

// state is what a legacy session's requests carry.
type state struct {
	id       string
	revision mcp.Revision
}

// session is the legacy session with the server. A modern client has none.
type session struct {
	mu         sync.Mutex
	state      state
	initialize []byte // as the client sent it
	following  state  // the session whose stream is open

	opening sync.Mutex // one at a time opens it again
}

func (s *session) now() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// opened notes the session that an answer to initialize began.
func (s *session) opened(id string, body []byte, e *mcp.Envelope, initialize []byte) {
	if e.Kind != mcp.Response {
		return
	}
	v, _ := mcp.Get(body, e.Result, "protocolVersion")
	revision, _ := mcp.String(body, v)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.initialize = state{id, mcp.Revision(revision)}, initialize
}

const reopenID = `"headgate-connect"`

// reopen begins a new session in the place of a lost one, unless another
// request has done so.
func (b *bridge) reopen(ctx context.Context, lost state) (state, error) {
	s := &b.session
	s.opening.Lock()
	defer s.opening.Unlock()
	if at := s.now(); at != lost {
		return at, nil
	}
	s.mu.Lock()
	sent := s.initialize
	s.mu.Unlock()
	m := &message{body: sent}
	if err := b.scan(m); err != nil {
		return state{}, err
	}
	m.body = mcp.Splice(nil, sent, mcp.Edit{Span: m.e.ID, With: []byte(reopenID)})
	resp, err := b.post(ctx, m, state{})
	if err != nil {
		return state{}, err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusOK {
		return state{}, statusError(resp.StatusCode)
	}
	// The answer goes nowhere: the client had one.
	quiet := &bridge{Options: b.Options}
	quiet.Out = &bytes.Buffer{}
	again := &message{body: m.body}
	if err := b.scan(again); err != nil {
		return state{}, err
	}
	if err := quiet.answer(again, resp); err != nil {
		return state{}, err
	}
	if !again.answered || quiet.session.state == (state{}) {
		return state{}, errNoAnswer
	}
	s.mu.Lock()
	s.state = quiet.session.state
	s.mu.Unlock()
	b.Log("the server had lost the session; it is open again")
	return s.now(), b.initialized(ctx)
}

func (b *bridge) initialized(ctx context.Context) error {
	m := &message{body: []byte(`{"jsonrpc":"2.0","method":"` + mcp.NotifyInitialized + `"}`)}
	if err := b.scan(m); err != nil {
		return err
	}
	resp, err := b.post(ctx, m, b.session.now())
	if err != nil {
		return err
	}
	drain(resp)
	b.listen()
	return nil
}

// listen keeps a stream open for what the server says unasked, as long as the
// session lasts. A server without such a stream refuses it once.
func (b *bridge) listen() {
	s := &b.session
	s.mu.Lock()
	at, open := s.state, s.state == s.following
	s.following = at
	s.mu.Unlock()
	if at.id == "" || open {
		return
	}
	b.back.Go(func() {
		ctx, cancel := context.WithCancel(b.whole)
		defer cancel()
		last := ""
		for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
			began := time.Now()
			if again := b.follow(ctx, at, &last); !again || b.session.now() != at {
				return
			}
			if time.Since(began) > time.Minute {
				wait = time.Second
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	})
}

// follow reads one stream to its end and reports whether to open another.
func (b *bridge) follow(ctx context.Context, at state, last *string) (again bool) {
	r, err := b.begin(ctx, http.MethodGet, nil, at)
	if err != nil {
		return ctx.Err() == nil
	}
	r.Header.Set("Accept", "text/event-stream")
	if *last != "" {
		r.Header.Set(mcp.HeaderLastEventID, *last)
	}
	resp, err := b.HTTP.Do(r)
	if err != nil {
		return ctx.Err() == nil
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
	}
	for e, err := range client.NewStream(resp.Body).All() {
		if err != nil {
			break
		}
		if e.ID != "" {
			*last = e.ID
		}
		b.deliver(e.Data, &message{}, resp)
	}
	return ctx.Err() == nil
}

// leave ends the session, so that the server need not wait for it to idle.
func (b *bridge) leave(ctx context.Context) {
	at := b.session.now()
	if at.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	r, err := b.begin(ctx, http.MethodDelete, nil, at)
	if err != nil {
		return
	}
	if resp, err := b.HTTP.Do(r); err == nil {
		drain(resp)
	}
}
