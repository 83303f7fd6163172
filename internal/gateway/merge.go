package gateway

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	pageItems  = 1000
	missingTTL = 5 * time.Second // of a list that a server is missing from
	maxNamed   = 100             // shadowed items named in a list's _meta
)

// The keys of a merged list's _meta.
const (
	metaMissing  = "headgate/missing"
	metaShadowed = "headgate/shadowed"
)

// list is one endpoint's list at one moment. It never changes.
type list struct {
	kind    upstream.ListKind
	sources []source
	index   map[string]place
	views   map[string]*catalog.Server // MCP Apps: resources that tools are shown in, by URI
	pages   []page
	digest  string // of the names in it, the same on every replica
	made    time.Time
}

// place is where an item comes from.
type place struct {
	server *catalog.Server
	name   string // as the server has it: tool or prompt name, URI or template
}

// page is the result of one page, for each era.
type page struct{ legacy, modern []byte }

// merging is a list in the making.
type merging struct {
	*list
	ep       endpoint
	items    [][]byte
	missing  []map[string]string
	shadowed []map[string]string
	ttl      time.Duration
}

// merge makes a list. On an endpoint over several servers, tools and prompts
// get their server's name before their own; URIs are never rewritten, so the
// oldest server that offers one owns it and later ones are named.
func (l *lists) merge(ep endpoint, kind upstream.ListKind, sources []source) *list {
	m := merging{list: &list{kind: kind, sources: sources, index: map[string]place{}, views: map[string]*catalog.Server{}, made: l.g.Now()}, ep: ep, ttl: time.Hour}
	for _, s := range sources {
		m.take(s)
	}
	m.digest = m.sum()
	meta := map[string]any{}
	if m.missing != nil {
		meta[metaMissing] = m.missing
	}
	if m.shadowed != nil {
		meta[metaShadowed] = m.shadowed[:min(len(m.shadowed), maxNamed)]
	}
	modern := maps.Clone(meta)
	modern[mcp.MetaServerInfo] = json.RawMessage(l.g.info())
	for at := 0; at == 0 || at < len(m.items); at += pageItems {
		m.pages = append(m.pages, m.page(at, meta, modern))
	}
	return m.list
}

// take takes in what one server listed.
func (m *merging) take(s source) {
	if s.listing == nil {
		m.missing = append(m.missing, map[string]string{"server": s.server.Slug, "reason": s.reason})
		m.ttl = min(m.ttl, missingTTL)
		return
	}
	m.ttl = min(m.ttl, s.listing.TTL)
	for i := range s.listing.Items {
		it := &s.listing.Items[i]
		key := cmp.Or(it.URI, it.Name)
		shown, raw := key, it.Raw
		if m.ep.server == nil && it.URI == "" {
			shown = mcp.MergedName(s.server.Slug, it.Name)
			raw = mcp.InsertMember(nil, raw, mcp.Root(raw), "name", mcp.AppendString(nil, shown))
		}
		if _, taken := m.index[shown]; taken {
			m.shadowed = append(m.shadowed, map[string]string{"server": s.server.Slug, "name": key})
			continue
		}
		m.index[shown] = place{s.server, key}
		if uri := viewOf(raw); uri != "" && m.views[uri] == nil {
			m.views[uri] = s.server
		}
		m.items = append(m.items, raw)
	}
}

// viewOf returns the resource that a tool is shown in (MCP Apps), which servers
// need not list; "" for none.
func viewOf(tool []byte) string {
	if !bytes.Contains(tool, []byte("ui://")) {
		return ""
	}
	meta, _ := mcp.Get(tool, mcp.Root(tool), "_meta")
	v, ok := mcp.Find(tool, meta, "ui", "resourceUri")
	if !ok {
		v, _ = mcp.Get(tool, meta, "ui/resourceUri") // as it was first written
	}
	uri, _ := mcp.String(tool, v)
	return uri
}

// sum is the digest of the names in the list.
func (m *merging) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m.index)) {
		h.Write(append([]byte(name), 0))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (m *merging) page(at int, legacy, modern map[string]any) page {
	end := min(at+pageItems, len(m.items))
	n := 256
	for _, it := range m.items[at:end] {
		n += len(it) + 1
	}
	b := append(make([]byte, 0, n), `{"`...)
	b = append(append(b, m.kind.String()...), `":[`...)
	for i, it := range m.items[at:end] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it...)
	}
	b = append(b, ']')
	if end < len(m.items) {
		b = append(append(append(b, `,"nextCursor":"`...), m.cursor(end/pageItems)...), '"')
	}
	return page{legacy: finish(b, legacy, ""), modern: finish(b, modern,
		`,"resultType":"complete","ttlMs":`+strconv.FormatInt(m.ttl.Milliseconds(), 10)+`,"cacheScope":"private"`)}
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

// cursor names a page of the list as it is now; once it has changed its cursors
// are refused, so that no item is skipped or seen twice unnoticed.
func (m *list) cursor(page int) string { return strconv.Itoa(page) + "." + m.digest }

func (m *list) at(cursor string) (page, error) {
	if cursor == "" {
		return m.pages[0], nil
	}
	number, digest, _ := strings.Cut(cursor, ".")
	if n, err := strconv.Atoi(number); err == nil && n > 0 && n < len(m.pages) && digest == m.digest {
		return m.pages[n], nil
	}
	return page{}, mcp.ErrBadParams.Saying("This cursor is not of the list as it is now. List again from the start.")
}
