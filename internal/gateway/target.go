package gateway

import (
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
	return nil, "", errUnknown
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
	if s := x.g.lists.list(x.r.Context(), x.ep, upstream.Tools).views[uri]; s != nil {
		return s, uri, nil
	}
	return nil, "", errResource
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
