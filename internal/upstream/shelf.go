package upstream

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

// Shelf keeps lists beyond this process, for each server and set of credentials
// (Binding.Identity). What comes from it is old: it stands in while a server is
// asked anew, so a start waits for those alone that were never heard.
type Shelf interface {
	Take(ctx context.Context, s *catalog.Server, identity string) ([]Shelved, error)
	Put(ctx context.Context, s *catalog.Server, identity string, l Shelved) error
}

// Shelved is a list as it is kept. One without Items says that the server did
// not answer in time, and never had.
type Shelved struct {
	Kind    ListKind
	Items   []byte // the JSON array
	Private bool
}

const (
	shelfTime  = 250 * time.Millisecond // that a caller waits for the shelf, once for each server and credentials
	maxShelved = 1 << 20
)

// recall puts what is on the shelf into memory, once.
func (p *peer) recall(ctx context.Context) {
	h := p.hub
	if h.opts.Shelf == nil || p.recalled.Load() {
		return
	}
	p.recalling.Lock()
	defer p.recalling.Unlock()
	if p.recalled.Load() {
		return
	}
	defer p.recalled.Store(true) // also after a failure: the server knows better
	ctx, cancel := context.WithTimeout(ctx, shelfTime)
	defer cancel()
	list, err := h.opts.Shelf.Take(ctx, p.server.Load(), p.bound.Identity)
	if err != nil {
		h.opts.Log.Warn("what a server listed before could not be read", "server", p.server.Load().Slug, "error", err)
		return
	}
	for _, kept := range list {
		if kept.Items == nil {
			p.silent.Store(true)
			continue
		}
		c := &p.lists[kept.Kind]
		l := &Listing{Kind: kept.Kind, TTL: h.opts.ListTTL, Private: kept.Private, index: map[string]int{}, generation: c.generation.Load(), Version: h.serial.Add(1)}
		l.At = h.opts.Now().Add(-l.TTL)
		if mcp.Check(kept.Items, mcp.Limits{}) == nil && kept.Items[0] == '[' && l.add(&page{items: kept.Items, private: kept.Private}, mcp.Legacy) == nil {
			c.current.CompareAndSwap(nil, l)
		}
	}
}

// put puts a list away, beside whoever has asked for it.
func (p *peer) put(l *Listing) {
	size := 2
	for i := range l.Items {
		size += len(l.Items[i].Raw) + 1
	}
	if size > maxShelved {
		return
	}
	items := append(make([]byte, 0, size), '[')
	for i := range l.Items {
		if i > 0 {
			items = append(items, ',')
		}
		items = append(items, l.Items[i].Raw...)
	}
	p.shelve(Shelved{Kind: l.Kind, Items: append(items, ']'), Private: l.Private})
}

func (p *peer) shelve(l Shelved) {
	h := p.hub
	if s := p.server.Load(); h.opts.Shelf != nil && s.ID != "" {
		h.spawn(func() {
			ctx, cancel := context.WithTimeout(h.ctx, errandTime)
			defer cancel()
			if err := h.opts.Shelf.Put(ctx, s, p.bound.Identity, l); err != nil && ctx.Err() == nil {
				h.opts.Log.Warn("what a server lists could not be kept", "server", s.Slug, "error", err)
			}
		})
	}
}

// Silent reports whether a server was not heard of in time when it was asked
// last, and never before: nobody should wait for it again.
func (h *Hub) Silent(ctx context.Context, s *catalog.Server, by *access.Principal) bool {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return false
	}
	p.recall(ctx)
	return p.silent.Load()
}

// Unheard notes that a server was not heard of in time; see Silent.
func (h *Hub) Unheard(ctx context.Context, s *catalog.Server, by *access.Principal) {
	p, err := h.peer(context.WithoutCancel(ctx), s, by)
	if err == nil && p.lists[Tools].current.Load() == nil && p.silent.CompareAndSwap(false, true) {
		p.shelve(Shelved{Kind: Tools})
	}
}
