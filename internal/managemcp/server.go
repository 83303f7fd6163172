package managemcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/rest"
)

// session is what one request may do: whom it acts as, and how it calls.
type session struct {
	who  Identity
	call Caller
	base string
}

// registry is a set of tools as one SDK server.
type registry struct {
	tools  []*tool
	server *mcp.Server
}

// finder finds the session of a request; the SDK hands tools no more than the
// request's headers.
type finder func(extra *mcp.RequestExtra) (session, bool)

// The names of the two servers.
const (
	serverName    = "headgate-management"
	workspaceName = "headgate-workspace"
)

const instructions = `These tools operate one Headgate organization: its workspaces, secrets, budgets, templates, keys and audit trail.
A failure is a result with error, detail and status. Some operations may wait for a person: the answer then has an approval; ask again for exactly the same once it is given.
Destructive tools say so in their hints. Use dry_run before them where they have it.`

// newRegistry makes a server of specs, over a door's document.
func newRegistry(door *rest.Door, specs []spec, name, version string, find finder) (*registry, error) {
	tools, err := newDeriver(door).all(specs)
	if err != nil {
		return nil, err
	}
	g := &registry{tools: tools, server: mcp.NewServer(&mcp.Implementation{Name: name, Title: "Headgate management", Version: version}, &mcp.ServerOptions{Instructions: instructions, Capabilities: capabilities(name == serverName)})}
	g.server.AddReceivingMiddleware(private)
	for _, t := range tools {
		g.server.AddTool(t.describe(), func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			s, ok := find(r.Extra)
			if !ok {
				return result(failure{Error: errAuth, Detail: "The request is over."}, true), nil
			}
			return invoke(ctx, t, s.call, s.base, s.who, r.Params.Arguments), nil
		})
	}
	return g, nil
}

// describe is the tool as clients see it. Its hints are true.
func (t *tool) describe() *mcp.Tool {
	yes, no := true, false
	a := &mcp.ToolAnnotations{Title: t.title, OpenWorldHint: &no, DestructiveHint: &no}
	switch t.kind {
	case reads:
		a.ReadOnlyHint, a.IdempotentHint = true, true
	case changes:
		a.IdempotentHint = true
		a.DestructiveHint = &yes // what was there before is replaced
	case destroys:
		a.DestructiveHint, a.IdempotentHint = &yes, false
	}
	return &mcp.Tool{Name: t.name, Title: t.title, Description: t.about, InputSchema: t.input, OutputSchema: t.output, Annotations: a}
}

// find returns a tool by name.
func (g *registry) find(name string) *tool {
	for _, t := range g.tools {
		if t.name == name {
			return t
		}
	}
	return nil
}

// extras adds prompts for common jobs, and resources, to the management tools.
func (g *registry) extras(find finder) {
	for _, p := range prompts {
		g.server.AddPrompt(p.describe(), func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return p.get(r.Params.Arguments)
		})
	}
	for _, res := range []struct{ uri, name, about, tool string }{
		{"headgate://events", "events", "The newest hundred events of the audit trail.", "list_org_events"},
		{"headgate://usage", "usage", "Calls and credits of the last thirty days, by service and day.", "get_usage"},
		{"headgate://workspaces", "workspaces", "Every workspace, with its status and budget.", "list_workspaces"},
		{"headgate://approvals", "approvals", "What waits for a person.", "list_pending_approvals"},
	} {
		t := g.find(res.tool)
		g.server.AddResource(&mcp.Resource{URI: res.uri, Name: res.name, Description: res.about, MIMEType: "application/json"},
			func(ctx context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
				s, ok := find(r.Extra)
				if !ok {
					return nil, fmt.Errorf("the request is over")
				}
				answer := invoke(ctx, t, s.call, s.base, s.who, nil)
				text, _ := answer.Content[0].(*mcp.TextContent)
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "application/json", Text: text.Text}}}, nil
			})
	}
}

var errBroken = errors.New("the handler gave up in the midst of its answer")

// do sends a request to a handler in this process. Tools run in goroutines of
// the SDK's, where a panic would end the program.
func do(h http.Handler) Caller {
	return func(_ context.Context, r *http.Request) (resp *http.Response, err error) {
		defer func() {
			if recover() != nil {
				resp, err = nil, errBroken
			}
		}()
		w := &answer{header: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(w, r)
		return w.response(), nil
	}
}
