package upstream

import (
	"context"
	"sync"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

type watcher struct {
	tell      func(message []byte, e *mcp.Envelope)
	resources []string
}

// Watch passes on what the server says outside of requests, in the era that it
// speaks: a legacy server in the session that the request r belongs to (its GET
// stream), a modern one to everybody with the same credentials
// (subscriptions/listen). resources are the URIs whose updates to ask for. Of r
// only Server, By, Affinity, Revision and Client count. tell must be quick and
// not keep the slices. The stream is opened again whenever it ends, until the
// last watcher has called stop.
func (h *Hub) Watch(ctx context.Context, r *Request, resources []string, tell func(message []byte, e *mcp.Envelope)) (stop func(), err error) {
	p, err := h.peer(ctx, r.Server, r.By)
	if err != nil {
		return nil, err
	}
	era := r.Revision.Era()
	if f, err := p.facts(ctx, era, cached); err == nil { // else the stream itself finds out later
		era = f.Era
	}
	return p.watch(r, era, resources, tell)
}

// watch joins the stream of an era, or opens it.
func (p *peer) watch(r *Request, era mcp.Era, resources []string, tell func(message []byte, e *mcp.Envelope)) (stop func(), err error) {
	h, own := p.hub, *r
	if own.Revision.Era() == mcp.Modern {
		own.Revision = mcp.LatestLegacy // of a session, should there be one
	}
	key := sessionKey{}
	if era == mcp.Legacy {
		key = keyOf(&own)
	}
	w := &watcher{tell, resources}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, ErrClosed
	}
	s := p.streams[key]
	if s == nil {
		if len(p.streams) >= h.opts.MaxSessions {
			return nil, ErrBusy
		}
		s = &stream{peer: p, key: key, want: r.Revision.Era(), r: &own, watchers: map[*watcher]bool{}, ready: make(chan struct{})}
		s.ctx, s.cancel = context.WithCancel(h.ctx)
		if !h.spawn(s.run) {
			return nil, ErrClosed
		}
		p.streams[key] = s
	}
	s.join(w)
	var once sync.Once
	return func() { once.Do(func() { s.part(w) }) }, nil
}

// Ready waits until the stream that a Watch of the same request has opened is
// open, or is known not to be offered, so that nothing said from then on is
// missed.
func (h *Hub) Ready(ctx context.Context, r *Request) {
	p, err := h.peer(ctx, r.Server, r.By)
	if err != nil {
		return
	}
	p.mu.Lock()
	s := p.streams[keyOf(r)]
	p.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
	}
}

// WatchLists passes on which lists of a server change, over a stream that all
// callers with the same credentials share; see Watch.
func (h *Hub) WatchLists(ctx context.Context, s *catalog.Server, by *access.Principal, tell func(message []byte, e *mcp.Envelope)) (stop func(), err error) {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil, err
	}
	f, err := p.facts(ctx, preferred(p), cached)
	if err != nil {
		return nil, err
	}
	r := p.own()
	if f.Era == mcp.Modern {
		r.Revision = f.Revision
	}
	return p.watch(r, f.Era, nil, func(message []byte, e *mcp.Envelope) {
		switch e.Method {
		case mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged:
			tell(message, e)
		}
	})
}
