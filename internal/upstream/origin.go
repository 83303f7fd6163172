package upstream

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

// originKey names a server at one version: another address, header or schema
// is another origin, so nothing of the old one is ever used for it.
type originKey struct {
	server  string
	version int64
}

// origin is what all callers share of a server: its breaker and its health.
type origin struct {
	hub     *Hub
	key     originKey
	breaker breaker
	health  health
	used    atomic.Int64 // unix seconds

	mu    sync.RWMutex
	peers map[string]*peer // by Binding.Identity
	gone  bool
}

// peer is a server as one set of credentials sees it.
type peer struct {
	hub    *Hub
	origin *origin
	server atomic.Pointer[catalog.Server] // as the latest caller knew it
	used   atomic.Int64                   // unix seconds
	target atomic.Pointer[wire.Target]
	bound  *catalog.Binding
	paired atomic.Bool // reached by HTTP+SSE, found out by trying
	eras   eras
	lists  [kinds]listCell
	serial atomic.Uint64 // ids on shared sessions

	recalling sync.Mutex
	recalled  atomic.Bool // what is on the shelf is in memory
	silent    atomic.Bool // see Hub.Silent

	mu       sync.Mutex
	sessions map[sessionKey]*session
	streams  map[sessionKey]*stream
	gone     bool
}

// peer finds or makes the peer of a server for a caller.
func (h *Hub) peer(ctx context.Context, s *catalog.Server, by *access.Principal) (*peer, error) {
	return h.peerAt(ctx, s, by, h.opts.Now())
}

func (h *Hub) peerAt(ctx context.Context, s *catalog.Server, by *access.Principal, now time.Time) (*peer, error) {
	b, err := h.opts.Binder.Bind(ctx, s, by)
	if err != nil {
		return nil, err
	}
	o, err := h.origin(originKey{s.Key(), s.Version})
	if err != nil {
		return nil, err
	}
	o.mu.RLock()
	p := o.peers[b.Identity]
	o.mu.RUnlock()
	if p == nil {
		if p, err = o.open(ctx, s, b); err != nil {
			return nil, err
		}
	}
	if p.server.Load() != s {
		p.server.Store(s)
	}
	if at := now.Unix(); p.used.Load() != at {
		p.used.Store(at)
		o.used.Store(at)
	}
	return p, nil
}

func (h *Hub) origin(key originKey) (*origin, error) {
	h.mu.RLock()
	o, closed := h.origins[key], h.closed
	h.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if o != nil {
		return o, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if o = h.origins[key]; o == nil {
		o = &origin{hub: h, key: key, peers: map[string]*peer{}}
		o.used.Store(h.opts.Now().Unix())
		h.origins[key] = o
	}
	return o, nil
}

// open makes a peer.
func (o *origin) open(ctx context.Context, s *catalog.Server, b *catalog.Binding) (*peer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p := o.peers[b.Identity]; p != nil {
		return p, nil
	}
	target, err := o.hub.target(ctx, s, b)
	if err != nil {
		return nil, err
	}
	p := &peer{hub: o.hub, origin: o, bound: b, sessions: map[sessionKey]*session{}, streams: map[sessionKey]*stream{}}
	p.server.Store(s)
	p.target.Store(target)
	if !o.gone { // swept at this very moment: this one peer serves its caller and is forgotten
		o.peers[b.Identity] = p
	}
	return p, nil
}

// target prepares requests to a server.
func (h *Hub) target(ctx context.Context, s *catalog.Server, b *catalog.Binding) (*wire.Target, error) {
	if s.Transport != catalog.HTTP {
		return h.channel(ctx, s.Transport, s, b)
	}
	fields := make([]wire.Field, len(b.Headers))
	for i, f := range b.Headers {
		fields[i] = wire.Field{Name: f.Name, Value: f.Value.Reveal()}
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, wire.ErrRequest.Because(err)
	}
	return wire.NewTarget(u, fields)
}

// channel prepares requests to a server by way of a channel.
func (h *Hub) channel(ctx context.Context, transport catalog.Transport, s *catalog.Server, b *catalog.Binding) (*wire.Target, error) {
	channel := h.opts.Channels[transport]
	if channel == nil {
		return nil, ErrTransport
	}
	handler, err := channel.Open(ctx, s, b)
	if err != nil {
		return nil, err
	}
	return wire.NewInsideTarget(handler), nil
}

// sweep closes what nobody uses, until the hub closes.
func (h *Hub) sweep() {
	tick := time.NewTicker(sweepPeriod)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			h.Sweep()
		}
	}
}

// Sweep closes idle sessions and forgets servers that were not used for as
// long. The hub does it by itself every now and then.
func (h *Hub) Sweep() {
	before := h.opts.Now().Add(-h.opts.SessionIdle)
	h.mu.Lock()
	var old, kept []*origin
	for key, o := range h.origins {
		if o.used.Load() < before.Unix() && !o.watched() {
			delete(h.origins, key)
			old = append(old, o)
		} else {
			kept = append(kept, o)
		}
	}
	h.mu.Unlock()
	for _, o := range old {
		o.close(func(f func()) { h.spawn(f) })
	}
	for _, o := range kept {
		for _, p := range o.all() {
			if !p.closeIdle(before) {
				continue
			}
			o.mu.Lock()
			for identity, other := range o.peers {
				if other == p {
					delete(o.peers, identity)
				}
			}
			o.mu.Unlock()
			p.close(func(f func()) { h.spawn(f) })
		}
	}
}

func (o *origin) all() []*peer {
	o.mu.RLock()
	defer o.mu.RUnlock()
	list := make([]*peer, 0, len(o.peers))
	for _, p := range o.peers {
		list = append(list, p)
	}
	return list
}

func (o *origin) watched() bool {
	for _, p := range o.all() {
		p.mu.Lock()
		n := len(p.streams)
		p.mu.Unlock()
		if n > 0 {
			return true
		}
	}
	return false
}

// close ends everything of an origin. run starts the goodbyes.
func (o *origin) close(run func(func())) {
	o.mu.Lock()
	o.gone = true
	peers := o.peers
	o.peers = map[string]*peer{}
	o.mu.Unlock()
	for _, p := range peers {
		p.close(run)
	}
}

// pinned returns the era that the server's pin allows alone, if it has one.
func (p *peer) pinned() (mcp.Era, bool) {
	switch p.server.Load().Era {
	case catalog.Legacy:
		return mcp.Legacy, true
	case catalog.Modern:
		return mcp.Modern, true
	}
	return 0, false
}
