package gateway

import (
	"context"
	"strings"

	"headgate/internal/access"
	"headgate/internal/catalog"
)

// endpoint is what a URL stands for: every server of a workspace, or one.
type endpoint struct {
	by        *access.Principal
	workspace *catalog.Workspace
	server    *catalog.Server // nil: all, merged
}

// servers returns the servers behind the endpoint, the oldest first.
func (ep endpoint) servers() []*catalog.Server {
	if ep.server != nil {
		return []*catalog.Server{ep.server}
	}
	return ep.workspace.Servers()
}

// same reports whether two endpoints are of one workspace and server.
func (ep endpoint) same(other endpoint) bool {
	if ep.server == nil || other.server == nil {
		return ep.server == other.server && ep.workspace.ID == other.workspace.ID
	}
	return ep.server.Key() == other.server.Key()
}

// endpoint finds what a path stands for. Its parts are slugs or ids; w and t
// are reserved. What another organization has looks like nothing.
func (g *Gateway) endpoint(ctx context.Context, by *access.Principal, path string) (endpoint, error) {
	workspace, server, ok := parsePath(path)
	if !ok {
		return endpoint{}, errEndpoint
	}
	id, err := g.Workspace(ctx, by, workspace)
	if err != nil {
		return endpoint{}, err
	}
	ws, err := g.Resolver.Workspace(ctx, by.Organization, id)
	if err != nil {
		return endpoint{}, err
	}
	ep := endpoint{by: by, workspace: ws}
	if server != "" {
		if ep.server, ok = ws.Server(server); !ok {
			return endpoint{}, errEndpoint
		}
	}
	return ep, nil
}

// parsePath reads /mcp[/w/{workspace}][/{server}].
func parsePath(path string) (workspace, server string, ok bool) {
	path, ok = strings.CutPrefix(path, "/mcp")
	if !ok || path != "" && path[0] != '/' {
		return "", "", false
	}
	path = strings.Trim(path, "/")
	if rest, ok := strings.CutPrefix(path, "w/"); ok {
		workspace, path, _ = strings.Cut(rest, "/")
		if workspace == "" {
			return "", "", false
		}
	}
	if path == "w" || path == "t" || strings.Contains(path, "/") {
		return "", "", false
	}
	return workspace, path, true
}
