package upstream

import (
	"bytes"
	"strings"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

func readItem(raw []byte, kind ListKind) (Item, bool) {
	item := Item{Raw: raw}
	if len(raw) > maxItem || raw[0] != '{' {
		return item, false
	}
	root := mcp.Root(raw)
	if v, ok := mcp.Get(raw, root, "name"); ok {
		item.Name = textOf(raw, v)
	}
	if kind == Tools || kind == Prompts {
		return item, item.Name != "" && len(item.Name) <= maxName && plain(item.Name)
	}
	if v, ok := mcp.Get(raw, root, listWords[kind].key); ok {
		item.URI = textOf(raw, v)
	}
	return item, item.URI != "" && len(item.URI) <= maxURI && plain(item.URI) && plain(item.Name)
}

func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// paramHeaders reads x-mcp-header annotations. A client must do without a tool
// whose annotations are wrong.
func paramHeaders(tool []byte) ([]mcp.ParamHeader, bool) {
	if !bytes.Contains(tool, []byte("x-mcp-header")) {
		return nil, true
	}
	schema, ok := mcp.Get(tool, mcp.Root(tool), "inputSchema")
	if !ok {
		return nil, true
	}
	headers, err := mcp.ParamHeaders(schema.Of(tool))
	return headers, err == nil
}

// mirror adds the Mcp-Param-* headers that the tool's schema asks for, where
// the caller sent none because its revision has none.
func (x *exchange) mirror(f []wire.Field) []wire.Field {
	l := x.peer.lists[Tools].current.Load()
	if l == nil {
		return f
	}
	item, ok := l.Find(x.r.Name)
	if !ok || len(item.Headers) == 0 || mcp.Scan(x.r.Body, &x.Envelope, mcp.Limits{}) != nil {
		return f
	}
	for _, h := range item.Headers {
		v, ok := mcp.Find(x.r.Body, x.Envelope.Arguments, h.Path...)
		if !ok {
			continue
		}
		if value, ok := mcp.AppendParam(nil, x.r.Body, v); ok {
			f = append(f, wire.Field{Name: mcp.HeaderParamPrefix + h.Header, Value: string(value)})
		}
	}
	return f
}
