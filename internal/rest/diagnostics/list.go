package diagnostics

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/rest"
	"headgate/internal/upstream"
)

type listOf struct {
	InServer
	Body listOfBody
}

type listOfBody struct {
	Cursor string `json:"cursor,omitempty" maxLength:"1000" doc:"The nextCursor of the page before."`
}

type readResource struct {
	InServer
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      readResourceBody
}

type readResourceBody struct {
	URI string `json:"uri" minLength:"1" maxLength:"8192"`
}

type resourceContents struct {
	Contents []rest.Object `json:"contents" doc:"{uri, mimeType, text or blob} each."`
}

func (a *api) lists() {
	for _, l := range []struct {
		path, id, summary string
		kind              upstream.ListKind
	}{
		{"/tools", "listServerTools", "The tools of a server", upstream.Tools},
		{"/prompts", "listServerPrompts", "The prompts of a server", upstream.Prompts},
		{"/resources", "listServerResources", "The resources of a server", upstream.Resources},
	} {
		rest.Handle(a.door, rest.Op{Method: "POST", Path: oneServer + l.path, ID: l.id, Summary: l.summary, Detail: "In the server's own words.", Tags: []string{"lists"},
			Permission: access.ServicesRead, Errors: append([]fault.Kind{fault.Unsupported}, upstreamFaults...)},
			func(ctx context.Context, in *listOf) (*listing[rest.Object], error) { return a.list(ctx, in, l.kind) })
	}
	rest.Handle(a.door, rest.Op{Method: "POST", Path: oneServer + "/resources/read", ID: "readServerResource", Summary: "Read a resource", Tags: []string{"lists"},
		Permission: access.Read, Timeout: doctorTime, Errors: callFaults}, a.readResource)
}

// list answers a page of a list. A cursor is good for this list of this server
// and this principal.
func (a *api) list(ctx context.Context, in *listOf, kind upstream.ListKind) (*listing[rest.Object], error) {
	_, s, err := a.server(ctx, in.InServer)
	if err != nil {
		return nil, err
	}
	l, err := a.Diagnosis.List(ctx, rest.Principal(ctx), s, kind, in.Body.Cursor != "")
	if err != nil {
		return nil, err
	}
	p, err := page(ctx, l.Items, in.Body.Cursor, s.Key(), func(i upstream.Item) string { return i.URI + "\x00" + i.Name })
	if err != nil {
		return nil, err
	}
	out := &listing[rest.Object]{Items: make([]rest.Object, len(p.Items)), NextCursor: p.NextCursor}
	for i := range p.Items {
		out.Items[i] = rest.Object(p.Items[i].Raw)
	}
	return out, nil
}

func (a *api) readResource(ctx context.Context, in *readResource) (*resourceContents, error) {
	params := mcp.AppendString([]byte(`"uri":`), in.Body.URI)
	result, err := a.do(ctx, in.InServer, use{mcp.MethodResourcesRead, in.Body.URI, params, in.UserAgent, nil})
	if err != nil {
		return nil, err
	}
	v, ok := mcp.Get(result, mcp.Root(result), "contents")
	if !ok || result[v.Start] != '[' {
		return nil, errUnreadable
	}
	out := &resourceContents{}
	for c := range mcp.Elements(result, v) {
		out.Contents = append(out.Contents, rest.Object(c.Of(result)))
	}
	return out, nil
}
