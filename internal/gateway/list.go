package gateway

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	pageItems  = 1000
	listWait   = 2 * time.Second        // for servers nobody has listed yet
	listGrace  = 150 * time.Millisecond // for the rest, once the first have answered
	maxLists   = 4096                   // merged lists kept
	listMinTTL = 60 * time.Second
)

// lists keeps merged lists as the bytes they are answered with.
type lists struct {
	g      *Gateway
	mu     sync.RWMutex
	kept   map[listKey]*list
	serial atomic.Uint64
}

func (l *lists) init(g *Gateway) { l.g, l.kept = g, map[listKey]*list{} }

// listKey says what a list depends on: the URL and the credential. What the
// servers listed is compared as well.
type listKey struct {
	workspace, server, user string
	kind                    upstream.ListKind
}

// list is one endpoint's list at one moment. It never changes.
type list struct {
	sources []source
	index   map[string]place
	pages   []page
	serial  uint64
	ttl     time.Duration
}

// source is what one server listed, or why it did not.
type source struct {
	server  *catalog.Server
	listing *upstream.Listing
	reason  string
}

func (s source) same(o source) bool {
	return s.server == o.server && s.listing == o.listing && s.reason == o.reason
}

// place is where an item comes from.
type place struct {
	server *catalog.Server
	name   string // as the server has it: tool or prompt name, URI or template
}

// page is the result of one page, for each era.
type page struct{ legacy, modern []byte }

// list returns the endpoint's list. It never waits for a server that hangs:
// such a one is named in the list's _meta.
func (l *lists) list(ctx context.Context, ep *endpoint, kind upstream.ListKind) *list {
	sources := l.gather(ctx, ep, kind)
	key := listKey{workspace: ep.workspace.ID, user: ep.by.User, kind: kind}
	if ep.server != nil {
		key.server = ep.server.Key()
	}
	l.mu.RLock()
	kept := l.kept[key]
	l.mu.RUnlock()
	if kept != nil && slices.EqualFunc(kept.sources, sources, source.same) {
		return kept
	}
	made := l.merge(ep, kind, sources)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= maxLists {
		clear(l.kept)
	}
	l.kept[key] = made
	return made
}

// gather asks every server of the endpoint at once.
func (l *lists) gather(ctx context.Context, ep *endpoint, kind upstream.ListKind) []source {
	servers := slices.DeleteFunc(slices.Clone(ep.servers()), func(s *catalog.Server) bool { return !s.Enabled })
	out := make([]source, len(servers))
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	if len(servers) == 1 {
		out[0] = l.ask(ctx, servers[0], ep.by, kind)
		return out
	}
	type answer struct {
		i int
		source
	}
	// The goroutines may outlive this call: a server's list still lands in memory.
	answers := make(chan answer, len(servers))
	for i, s := range servers {
		out[i] = source{server: s, reason: "slow"}
		go func() { answers <- answer{i, l.ask(ctx, s, ep.by, kind)} }()
	}
	start, wait := time.Now(), time.NewTimer(listWait)
	defer wait.Stop()
	for range servers {
		select {
		case a := <-answers:
			out[a.i] = a.source
			wait.Reset(min(listWait, max(listGrace, 3*time.Since(start))))
		case <-wait.C:
			return out
		}
	}
	return out
}

func (l *lists) ask(ctx context.Context, s *catalog.Server, by *access.Principal, kind upstream.ListKind) source {
	listing, err := l.g.Hub.List(ctx, s, by, kind)
	if err == nil {
		return source{server: s, listing: listing}
	}
	reason := fault.CodeOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "slow"
	}
	return source{server: s, reason: reason}
}

// merge writes the pages. On an endpoint over several servers, tools and
// prompts get their server's name before their own; URIs are never rewritten,
// so the oldest server that offers one owns it and later ones are named.
func (l *lists) merge(ep *endpoint, kind upstream.ListKind, sources []source) *list {
	m := &list{sources: sources, index: map[string]place{}, serial: l.serial.Add(1), ttl: time.Hour}
	var items [][]byte
	var missing, shadowed []map[string]string
	for _, s := range sources {
		if s.listing == nil {
			missing = append(missing, map[string]string{"server": s.server.Slug, "reason": s.reason})
			m.ttl = 5 * time.Second
			continue
		}
		m.ttl = min(m.ttl, max(s.listing.TTL, listMinTTL))
		for i := range s.listing.Items {
			it := &s.listing.Items[i]
			key := cmp.Or(it.URI, it.Name)
			shown, raw := key, it.Raw
			if ep.server == nil && it.URI == "" {
				shown = mcp.MergedName(s.server.Slug, it.Name)
				raw = mcp.InsertMember(nil, raw, mcp.Root(raw), "name", mcp.AppendString(nil, shown))
			}
			if _, taken := m.index[shown]; taken {
				shadowed = append(shadowed, map[string]string{"server": s.server.Slug, "name": key})
				continue
			}
			m.index[shown] = place{s.server, key}
			items = append(items, raw)
		}
	}
	meta := map[string]any{}
	if missing != nil {
		meta["headgate/missing"] = missing
	}
	if shadowed != nil {
		meta["headgate/shadowed"] = shadowed[:min(len(shadowed), 100)]
	}
	for at := 0; at == 0 || at < len(items); at += pageItems {
		end := min(at+pageItems, len(items))
		cursor := ""
		if end < len(items) {
			cursor = m.cursor(end)
		}
		m.pages = append(m.pages, l.page(kind, items[at:end], cursor, meta, m.ttl))
	}
	return m
}

func (l *lists) page(kind upstream.ListKind, items [][]byte, cursor string, meta map[string]any, ttl time.Duration) page {
	n := 256
	for _, it := range items {
		n += len(it) + 1
	}
	b := append(make([]byte, 0, n), `{"`...)
	b = append(append(b, kind.String()...), `":[`...)
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it...)
	}
	b = append(b, ']')
	if cursor != "" {
		b = append(append(append(b, `,"nextCursor":"`...), cursor...), '"')
	}
	return page{legacy: finish(b, meta, ""), modern: finish(b, withInfo(meta, l.g.info()),
		`,"resultType":"complete","ttlMs":`+strconv.FormatInt(ttl.Milliseconds(), 10)+`,"cacheScope":"private"`)}
}

func finish(b []byte, meta map[string]any, more string) []byte {
	b = append(slices.Clone(b), more...)
	if len(meta) > 0 {
		text, err := json.Marshal(meta)
		if err == nil {
			b = append(append(b, `,"_meta":`...), text...)
		}
	}
	return append(b, '}')
}

func withInfo(meta map[string]any, info []byte) map[string]any {
	with := map[string]any{mcp.MetaServerInfo: json.RawMessage(info)}
	for k, v := range meta {
		with[k] = v
	}
	return with
}

// cursor names a page of this very list; another list's cursor is refused, so
// that no page is skipped or seen twice unnoticed.
func (m *list) cursor(at int) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendUint(strconv.AppendInt(nil, int64(at/pageItems), 10), m.serial, 36))
}

func (m *list) at(cursor string) (page, error) {
	if cursor == "" {
		return m.pages[0], nil
	}
	for i := 1; i < len(m.pages); i++ {
		if m.cursor(i*pageItems) == cursor {
			return m.pages[i], nil
		}
	}
	return page{}, mcp.ErrBadParams.Saying("This cursor is not of the list as it is now. List again from the start.")
}

// list answers a list request with kept bytes.
func (g *Gateway) list(x *exchange) {
	kind, ok := kindOf(x.e.Method)
	if !ok {
		x.fail(errNoMethod)
		return
	}
	if err := access.Require(x.by, access.ServicesRead); err != nil {
		x.fail(err)
		return
	}
	cursor := ""
	if !x.e.Cursor.Empty() {
		var err error
		if cursor, err = mcp.String(x.body, x.e.Cursor); err != nil {
			x.fail(mcp.ErrBadParams.Saying("params.cursor must be a string."))
			return
		}
	}
	p, err := g.lists.list(x.r.Context(), x.ep, kind).at(cursor)
	if err != nil {
		x.fail(err)
		return
	}
	if x.era == mcp.Modern {
		x.result(p.modern)
	} else {
		x.result(p.legacy)
	}
}

func kindOf(method string) (upstream.ListKind, bool) {
	switch method {
	case mcp.MethodToolsList:
		return upstream.Tools, true
	case mcp.MethodPromptsList, mcp.MethodPromptsGet:
		return upstream.Prompts, true
	case mcp.MethodResourcesList, mcp.MethodResourcesRead:
		return upstream.Resources, true
	case mcp.MethodResourceTemplatesList:
		return upstream.Templates, true
	}
	return 0, false
}

// target finds which server a message is for, and what that server calls it.
func (x *exchange) target() (*catalog.Server, string, error) {
	span := x.e.Name
	if span.Empty() {
		span = x.e.URI
	}
	name, err := mcp.String(x.body, span)
	if err != nil || name == "" {
		return nil, "", mcp.ErrBadParams.Saying("params must name what is meant.")
	}
	if x.ep.server != nil {
		return x.ep.server, name, nil
	}
	if !x.e.Name.Empty() {
		return x.merged(name)
	}
	return x.owner(name)
}

// merged finds the server in a merged name. Most names say it themselves;
// those that had to be shortened are found in the list.
func (x *exchange) merged(name string) (*catalog.Server, string, error) {
	if slug, rest, ok := strings.Cut(name, "_"); ok {
		if s, ok := x.ep.workspace.Server(slug); ok && s.Slug == slug && mcp.MergedName(slug, rest) == name {
			return s, rest, nil
		}
	}
	kind := upstream.Tools
	if x.e.Method != mcp.MethodToolsCall {
		kind = upstream.Prompts
	}
	if p, ok := x.g.lists.list(x.r.Context(), x.ep, kind).index[name]; ok {
		return p.server, p.name, nil
	}
	return nil, "", errTool
}

// owner finds the oldest server that offers a URI, itself or by a template.
func (x *exchange) owner(uri string) (*catalog.Server, string, error) {
	if p, ok := x.g.lists.list(x.r.Context(), x.ep, upstream.Resources).index[uri]; ok {
		return p.server, uri, nil
	}
	templates := x.g.lists.list(x.r.Context(), x.ep, upstream.Templates)
	for _, s := range templates.sources {
		if s.listing == nil {
			continue
		}
		for i := range s.listing.Items {
			if templateMatches(s.listing.Items[i].URI, uri) {
				return s.server, uri, nil
			}
		}
	}
	return nil, "", errTool
}

// templateMatches reports whether a URI can come of a template (RFC 6570):
// {x} stands for at least one character without '/', {+x} and {x*} for any.
func templateMatches(template, uri string) bool {
	literal, rest, found := strings.Cut(template, "{")
	if !found {
		return template == uri
	}
	uri, ok := strings.CutPrefix(uri, literal)
	if !ok {
		return false
	}
	expr, after, ok := strings.Cut(rest, "}")
	if !ok {
		return false
	}
	wide := strings.ContainsAny(expr, "+#/*?&;")
	for n := len(uri); n >= 0; n-- {
		if n == 0 && !wide || !wide && strings.Contains(uri[:n], "/") {
			continue
		}
		if templateMatches(after, uri[n:]) {
			return true
		}
	}
	return false
}

// reference is what a completion is about, when it must be renamed.
type reference struct {
	span mcp.Span
	with []byte
}

// completionTarget finds the server of a completion's ref.
func (x *exchange) completionTarget() (*catalog.Server, reference, error) {
	if x.ep.server != nil {
		return x.ep.server, reference{}, nil
	}
	ref, ok := mcp.Get(x.body, x.e.Params, "ref")
	if ok {
		if v, ok := mcp.Get(x.body, ref, "name"); ok {
			name, err := mcp.String(x.body, v)
			if err != nil {
				return nil, reference{}, mcp.ErrBadParams
			}
			s, own, err := x.merged(name)
			return s, reference{v, mcp.AppendString(nil, own)}, err
		}
		if v, ok := mcp.Get(x.body, ref, "uri"); ok {
			uri, err := mcp.String(x.body, v)
			if err != nil {
				return nil, reference{}, mcp.ErrBadParams
			}
			if p, ok := x.g.lists.list(x.r.Context(), x.ep, upstream.Templates).index[uri]; ok {
				return p.server, reference{}, nil
			}
			s, _, err := x.owner(uri)
			return s, reference{}, err
		}
	}
	return nil, reference{}, mcp.ErrBadParams.Saying("params.ref must name a prompt or a resource template.")
}

// Changed tells clients that a server's list has changed; the Hub calls it.
func (g *Gateway) Changed(string, upstream.ListKind) {
	// What was kept is compared with the servers' lists at the next request;
	// open streams hear of it from their own watch.
}

var _ http.Handler = (*Gateway)(nil)
