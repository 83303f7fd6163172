package upstream

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

// ListKind is one of the four lists of a server.
type ListKind uint8

// The lists.
const (
	Tools ListKind = iota
	Resources
	Templates
	Prompts
	kinds
)

var listWords = [kinds]struct{ method, member, capability, key string }{
	Tools:     {mcp.MethodToolsList, "tools", "tools", "name"},
	Resources: {mcp.MethodResourcesList, "resources", "resources", "uri"},
	Templates: {mcp.MethodResourceTemplatesList, "resourceTemplates", "resources", "uriTemplate"},
	Prompts:   {mcp.MethodPromptsList, "prompts", "prompts", "name"},
}

// String returns the member of the result that holds the list.
func (k ListKind) String() string { return listWords[k].member }

const (
	maxPages   = 1000
	maxItems   = 10_000
	maxBytes   = 16 << 20
	maxItem    = 1 << 20
	maxName    = 256
	maxURI     = 8 << 10
	maxCursor  = 16 << 10
	minListTTL = time.Second
	maxListTTL = time.Hour
	maxStale   = 10 * time.Minute // how long an old list stands in while a new one is fetched
)

// Item is an entry of a list, as the server wrote it.
type Item struct {
	Name    string // of resources and templates too
	URI     string // of a resource; the uriTemplate of a template
	Raw     []byte // the object, shared: do not change it
	Headers []mcp.ParamHeader
}

// key is what an item is found by.
func (i *Item) key() string {
	if i.URI != "" {
		return i.URI
	}
	return i.Name
}

// Listing is a whole list at one moment. It never changes.
type Listing struct {
	Kind    ListKind
	Items   []Item
	Skipped int // entries that are no such thing: without a name, twice there, too large
	Version uint64
	At      time.Time
	TTL     time.Duration
	Private bool // may depend on the credentials (cacheScope); always so for legacy servers

	index      map[string]int
	generation uint64
}

// Find returns the item of a name (tools, prompts), URI or template.
func (l *Listing) Find(key string) (*Item, bool) {
	i, ok := l.index[key]
	if !ok {
		return nil, false
	}
	return &l.Items[i], true
}

// listCell keeps a list. generation counts the moments that made it old.
type listCell struct {
	current    atomic.Pointer[Listing]
	generation atomic.Uint64
	look       flight[*Listing]

	mu     sync.Mutex
	failed error
	until  time.Time
}

// invalidate makes the list old and reports whether it was not already.
func (c *listCell) invalidate() bool {
	l := c.current.Load()
	fresh := l != nil && l.generation == c.generation.Load()
	c.generation.Add(1)
	c.mu.Lock()
	c.failed = nil
	c.mu.Unlock()
	return fresh
}

// List returns a list of a server as the caller's credentials see it. From
// memory where it is fresh; an old one stands in while a new one is fetched; a
// server that failed a moment ago is not asked again at once.
func (h *Hub) List(ctx context.Context, s *catalog.Server, by *access.Principal, kind ListKind) (*Listing, error) {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil, err
	}
	p.recall(ctx)
	return p.list(ctx, kind, cached)
}

// Fresh is List without memory: the server is asked now, and what it says is
// kept for List.
func (h *Hub) Fresh(ctx context.Context, s *catalog.Server, by *access.Principal, kind ListKind) (*Listing, error) {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil, err
	}
	return p.list(ctx, kind, force)
}

// Kept returns a list from memory, nil when the server has to be asked. It
// never waits for the server.
func (h *Hub) Kept(ctx context.Context, s *catalog.Server, by *access.Principal, kind ListKind) *Listing {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil
	}
	p.recall(ctx)
	l, err := p.fromMemory(&p.lists[kind], kind)
	if err != nil {
		return nil
	}
	return l
}

func (p *peer) list(ctx context.Context, kind ListKind, m mode) (*Listing, error) {
	c := &p.lists[kind]
	for {
		asked := c.generation.Load()
		if m == cached {
			if l, err := p.fromMemory(c, kind); l != nil || err != nil {
				return l, err
			}
		}
		limit := min(p.server.Load().TimeoutOf(""), handshake)
		l, err := c.look.do(ctx, p.hub, limit+2*probeTime, func(ctx context.Context) (*Listing, error) { return p.refresh(ctx, kind, limit) })
		if err != nil || l.generation >= asked {
			return l, err
		}
		// This fetch had begun before the change that made the list old.
	}
}

// fromMemory answers from what is there; nothing and no error when the server
// must be asked.
func (p *peer) fromMemory(c *listCell, kind ListKind) (*Listing, error) {
	now := p.hub.opts.Now()
	c.mu.Lock()
	failed := c.failed
	if !now.Before(c.until) {
		failed = nil
	}
	c.mu.Unlock()
	if l := c.current.Load(); l != nil && l.generation == c.generation.Load() {
		age := now.Sub(l.At)
		if age < l.TTL {
			return l, nil
		}
		if age < l.TTL+maxStale {
			if failed == nil && p.origin.admit(now) == nil {
				limit := min(p.server.Load().TimeoutOf(""), handshake)
				c.look.start(p.hub, limit, func(ctx context.Context) (*Listing, error) { return p.refresh(ctx, kind, limit) })
			}
			return l, nil
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, p.origin.admit(now)
}

// refresh fetches a list and puts it, or the failure, into memory.
func (p *peer) refresh(ctx context.Context, kind ListKind, limit time.Duration) (*Listing, error) {
	c := &p.lists[kind]
	generation := c.generation.Load()
	start := p.hub.opts.Now()
	l, err := p.fetch(ctx, kind, limit)
	end := p.hub.opts.Now()
	p.origin.observe(start, end, err)
	if err != nil {
		c.mu.Lock()
		c.failed, c.until = err, end.Add(p.hub.opts.RetryAfter)
		c.mu.Unlock()
		return nil, err
	}
	l.generation, l.At = generation, end
	old := c.current.Load()
	if old != nil && sameItems(old, l) {
		l.Version = old.Version
	} else {
		l.Version = p.hub.serial.Add(1)
	}
	c.current.Store(l)
	if p.silent.Store(false); old == nil || old.Version != l.Version {
		p.put(l)
	}
	if old != nil && old.Version != l.Version && old.generation == generation {
		p.hub.opts.Changed(p.origin.key.server, kind) // it changed without a word
	}
	return l, nil
}

func sameItems(a, b *Listing) bool {
	return slices.EqualFunc(a.Items, b.Items, func(x, y Item) bool { return bytes.Equal(x.Raw, y.Raw) })
}

// fetch reads a whole list, page by page.
func (p *peer) fetch(ctx context.Context, kind ListKind, limit time.Duration) (*Listing, error) {
	f, err := p.facts(ctx, preferred(p), cached)
	if err != nil {
		return nil, err
	}
	l := &Listing{Kind: kind, TTL: p.hub.opts.ListTTL, Private: f.Era == mcp.Legacy, index: map[string]int{}}
	if !f.Has(listWords[kind].capability) {
		return l, nil
	}
	deadline := time.Now().Add(limit)
	seen := map[string]bool{}
	size, cursor := 0, ""
	for range maxPages {
		page, err := p.page(ctx, f, kind, cursor, time.Until(deadline))
		if err != nil || page == nil {
			return l, err
		}
		size += len(page.items)
		if size > maxBytes {
			return nil, ErrList.Because(errorString("the list is larger than 16 MiB"))
		}
		if err := l.add(page, f.Era); err != nil {
			return nil, err
		}
		if page.next == "" {
			return l, nil
		}
		if seen[page.next] {
			return nil, ErrList.Because(errorString("a cursor came twice"))
		}
		seen[page.next] = true
		cursor = page.next
	}
	return nil, ErrList.Because(errorString("the list has too many pages"))
}

// page is one page of a list.
type page struct {
	items   []byte // the array
	next    string
	ttl     time.Duration
	hasTTL  bool
	private bool
}

// page asks for one page; nil when the server has no such list.
func (p *peer) page(ctx context.Context, f *Facts, kind ListKind, cursor string, left time.Duration) (*page, error) {
	if left <= 0 {
		return nil, ErrTimeout.Because(context.DeadlineExceeded)
	}
	r := p.own()
	r.Revision, r.Method, r.ID, r.Timeout = f.Revision, listWords[kind].method, []byte("1"), left
	var members []byte
	if cursor != "" {
		members = append(mcp.AppendString([]byte(`"cursor":`), cursor), ',')
	}
	if f.Era == mcp.Modern {
		r.Body = p.hub.appendModern(nil, r.ID, r.Method, members)
	} else {
		r.Body = mcp.AppendRequest(nil, r.ID, r.Method, append(append([]byte{'{'}, bytes.TrimSuffix(members, []byte{','})...), '}'))
	}
	a, err := p.hub.begin(p, r, nil, p.hub.opts.Now()).run(ctx)
	if err != nil {
		return nil, err
	}
	defer a.Release()
	if a.Envelope.Kind == mcp.ErrorResponse {
		if a.Envelope.ErrorCode == mcp.CodeMethodNotFound && cursor == "" {
			return nil, nil
		}
		return nil, ErrList.Because(&rpcError{code: a.Envelope.ErrorCode})
	}
	return readPage(&reply{a.Body, a.Envelope}, kind)
}

func readPage(r *reply, kind ListKind) (*page, error) {
	v, ok := r.member(listWords[kind].member)
	if !ok || r.body[v.Start] != '[' {
		return nil, ErrList.Because(errorString("the result holds no list"))
	}
	g := &page{items: slices.Clone(v.Of(r.body))}
	if n, ok := r.member("nextCursor"); ok && !mcp.IsNull(r.body, n) {
		text, err := mcp.String(r.body, n)
		if err != nil || len(text) > maxCursor {
			return nil, ErrList.Because(errorString("a cursor is no text or too long"))
		}
		g.next = text
	}
	g.ttl, g.hasTTL = r.ttl()
	if s, ok := r.member("cacheScope"); ok {
		g.private = !mcp.Equal(r.body, s, "public")
	}
	return g, nil
}

// add takes a page's items in. What is no item of this kind is passed over, so
// that one bad entry does not cost the others.
func (l *Listing) add(g *page, era mcp.Era) error {
	for v := range mcp.Elements(g.items, mcp.Root(g.items)) {
		if len(l.Items)+l.Skipped >= maxItems {
			return ErrList.Because(errorString("the list has more than 10,000 entries"))
		}
		item, ok := readItem(v.Of(g.items), l.Kind)
		if ok && l.Kind == Tools {
			var good bool
			item.Headers, good = paramHeaders(item.Raw)
			ok = good || era == mcp.Legacy // where an annotation means nothing
		}
		if _, twice := l.index[item.key()]; !ok || twice {
			l.Skipped++
			continue
		}
		l.index[item.key()] = len(l.Items)
		l.Items = append(l.Items, item)
	}
	if g.hasTTL {
		l.TTL = max(minListTTL, min(g.ttl, maxListTTL))
	}
	l.Private = l.Private || g.private
	return nil
}

// notice acts on a notification that changes what is in memory.
func (p *peer) notice(e *mcp.Envelope) {
	switch e.Method {
	case mcp.NotifyToolsChanged:
		p.outdate(Tools)
	case mcp.NotifyPromptsChanged:
		p.outdate(Prompts)
	case mcp.NotifyResourcesChanged:
		p.outdate(Resources)
		p.outdate(Templates)
	}
}

func (p *peer) outdate(kind ListKind) {
	if p.lists[kind].invalidate() {
		p.hub.opts.Changed(p.origin.key.server, kind)
	}
}

// Invalidate makes every list of a server old, for all credentials.
func (h *Hub) Invalidate(s *catalog.Server) {
	h.mu.RLock()
	o := h.origins[originKey{s.Key(), s.Version}]
	h.mu.RUnlock()
	if o == nil {
		return
	}
	for _, p := range o.all() {
		for kind := range kinds {
			p.outdate(kind)
		}
	}
}
