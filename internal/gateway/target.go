package gateway

import (
	"context"
	"strings"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

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
	if s := x.g.owner(x.r.Context(), x.ep, name); s != nil {
		return s, name, nil
	}
	return nil, "", errResource
}

// merged finds the server in a merged name. Most names say it themselves;
// those that had to be shortened are found in the list.
func (x *exchange) merged(name string) (*catalog.Server, string, error) {
	if slug, rest, ok := mcp.SplitMerged(name); ok {
		if s, ok := x.ep.workspace.Server(slug); ok && s.Slug == slug {
			return s, rest, nil
		}
	}
	kind := upstream.Tools
	if x.e.Method != mcp.MethodToolsCall {
		kind = upstream.Prompts
	}
	if p, ok := x.g.lists.merged(x.r.Context(), x.ep, kind).index[name]; ok {
		return p.server, p.name, nil
	}
	return nil, "", errUnknown
}

// owner finds the oldest server that offers a URI, itself, by a template, or as
// the view of a tool; nil for none.
func (g *Gateway) owner(ctx context.Context, ep endpoint, uri string) *catalog.Server {
	if p, ok := g.lists.merged(ctx, ep, upstream.Resources).index[uri]; ok {
		return p.server
	}
	for _, s := range g.lists.merged(ctx, ep, upstream.Templates).sources {
		if s.listing == nil {
			continue
		}
		for i := range s.listing.Items {
			if templateMatches(s.listing.Items[i].URI, uri) {
				return s.server
			}
		}
	}
	return g.lists.merged(ctx, ep, upstream.Tools).views[uri]
}

// maxExpressions bounds the work a template can make.
const maxExpressions = 32

// templateMatches reports whether a URI can come of a template (RFC 6570): {x}
// stands for one or more characters other than '/', {+x}, {x*} and their like
// for any. It keeps the set of places that the template so far can end at, so
// that no template makes it try the same place twice.
func templateMatches(template, uri string) bool {
	ends := make([]bool, len(uri)+1)
	ends[0] = true
	for n := 0; ; n++ {
		literal, rest, more := strings.Cut(template, "{")
		advance(ends, uri, literal)
		if !more {
			return ends[len(uri)]
		}
		expression, after, ok := strings.Cut(rest, "}")
		if !ok || n == maxExpressions {
			return false
		}
		expand(ends, uri, strings.ContainsAny(expression, "+#/*?&;"))
		template = after
	}
}

// advance moves the ends over a literal.
func advance(ends []bool, uri, literal string) {
	for i := len(uri); i >= 0; i-- {
		from := i - len(literal)
		ends[i] = from >= 0 && ends[from] && uri[from:i] == literal
	}
}

// expand moves the ends over an expression.
func expand(ends []bool, uri string, wide bool) {
	inside := false // of a value that began earlier
	for i := range ends {
		began := ends[i]
		if i > 0 && !wide && uri[i-1] == '/' {
			inside = false
		}
		ends[i] = inside || wide && began
		inside = inside || began
	}
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
			if p, ok := x.g.lists.merged(x.r.Context(), x.ep, upstream.Templates).index[uri]; ok {
				return p.server, reference{}, nil
			}
			if s := x.g.owner(x.r.Context(), x.ep, uri); s != nil {
				return s, reference{}, nil
			}
			return nil, reference{}, errResource
		}
	}
	return nil, reference{}, mcp.ErrBadParams.Saying("params.ref must name a prompt or a resource template.")
}
