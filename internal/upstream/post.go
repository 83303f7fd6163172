package upstream

import (
	"context"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

// post sends a message that has no answer and returns the status.
func (p *peer) post(ctx context.Context, s *session, message []byte) (status int, err error) {
	resp, err := p.hub.calls.Do(ctx, &wire.Request{Target: p.target.Load(), Fields: s.fields, Body: [][]byte{message}, Deadline: deadlineOf(ctx)})
	if err != nil {
		return 0, honest(err)
	}
	defer resp.Release()
	return resp.Status, nil
}

// tellCancelled tells a legacy server that nobody waits for a request any more:
// it must not read that from a connection that ends.
func (x *exchange) tellCancelled(byCaller bool) {
	reason := "the request took too long"
	if byCaller {
		reason = "the client cancelled the request"
	}
	params := append([]byte(`{"requestId":`), x.id...)
	params = append(mcp.AppendString(append(params, `,"reason":`...), reason), '}')
	note := mcp.AppendRequest(nil, nil, mcp.NotifyCancelled, params)
	p, s := x.peer, x.session
	p.hub.errand(func(ctx context.Context) { _, _ = p.post(ctx, s, note) })
}

// Reply posts a client's answer to a server's request, or a notification, into
// the session that the request r belongs to; of r only Server, By, Affinity,
// Revision and Client count.
func (h *Hub) Reply(ctx context.Context, r *Request, message []byte) error {
	p, err := h.peer(ctx, r.Server, r.By)
	if err != nil {
		return err
	}
	p.mu.Lock()
	s := p.sessions[keyOf(r)]
	p.mu.Unlock()
	if s == nil || !s.open.Load() {
		return ErrNoSession
	}
	s.enter(h.opts.Now())
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	status, err := p.post(ctx, s, message)
	switch {
	case err != nil:
		return err
	case status == 404 && s.id != "":
		p.lose(s)
		return ErrNoSession
	case status >= 500:
		return ErrFailed.With("status", status)
	case status >= 300:
		return ErrRejected.With("status", status)
	}
	return nil
}

// decline answers a server's request that nobody here can pass on.
func (p *peer) decline(s *session, message []byte, e *mcp.Envelope) {
	id := e.ID.Of(message)
	var reply []byte
	if e.Method == mcp.MethodPing {
		reply = mcp.AppendResult(nil, id, []byte(`{}`))
	} else {
		reply = mcp.AppendError(nil, id, mcp.CodeMethodNotFound, "no client that supports this is connected", nil)
	}
	p.hub.errand(func(ctx context.Context) { _, _ = p.post(ctx, s, reply) })
}
