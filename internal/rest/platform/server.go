package platform

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

type serverRow struct {
	ID           string           `json:"id"`
	Slug         string           `json:"slug"`
	Name         string           `json:"name"`
	WorkspaceID  string           `json:"workspaceId"`
	ServiceID    string           `json:"serviceId"`
	Enabled      bool             `json:"enabled"`
	IsConfigured bool             `json:"isConfigured"`
	Transport    string           `json:"transport"`
	URL          string           `json:"url,omitempty"`
	HeaderNames  []string         `json:"headerNames" doc:"The values are never shown."`
	Era          string           `json:"era"`
	TimeoutMs    int64            `json:"timeoutMs"`
	ToolTimeouts map[string]int64 `json:"toolTimeoutsMs"`
	MCPPath      string           `json:"mcpPath" doc:"Its own endpoint of the Gateway."`
	Health       *health          `json:"health,omitempty" doc:"The last exchange with it; left out when there was none lately."`
	Programs     []programRow     `json:"programs,omitempty" doc:"The processes of a stdio server that were used lately."`
	CreatedAt    rest.Time        `json:"createdAt"`
	UpdatedAt    rest.Time        `json:"updatedAt"`
}

type health struct {
	Status    string    `json:"status" enum:"up,failing,open" doc:"open: it failed several times in a row and is left alone until nextTry."`
	CheckedAt rest.Time `json:"checkedAt"`
	LatencyMs int64     `json:"latencyMs"`
	Code      string    `json:"code,omitempty"`
	Message   string    `json:"message,omitempty"`
	HTTP      int       `json:"httpStatus,omitempty" doc:"When it answered with an error status."`
	NextTry   rest.Time `json:"nextTry" nullable:"true"`
}

type serverList struct {
	Servers []serverRow `json:"servers"`
}

type serverData struct {
	Server serverRow `json:"server"`
}

// InWorkspace is the input of what is about one workspace.
type InWorkspace struct {
	WorkspaceID string `query:"workspaceId" maxLength:"64" doc:"Id or slug; left out, the credential's own."`
}

// ByServer is the input of what is about one server.
type ByServer struct {
	ID string `path:"serverId" maxLength:"64"`
}

type createServer struct{ Body createServerBody }

type createServerBody struct {
	WorkspaceID string `json:"workspaceId,omitempty" maxLength:"64" doc:"Id or slug; left out, the credential's own."`
	Slug        string `json:"slug" minLength:"1" maxLength:"32"`
	ServiceID   string `json:"serviceId,omitempty" maxLength:"64" doc:"A service on offer; left out, the server is one of your own and needs a url."`
	URL         string `json:"url,omitempty" maxLength:"2048"`
	Transport   string `json:"transport,omitempty" enum:"http,sse,stdio"`
	ServiceFields
	PriceFields
}

type updateServer struct {
	ByServer
	Body updateServerBody
}

type updateServerBody struct {
	Slug           *string           `json:"slug,omitempty" maxLength:"32"`
	URL            *string           `json:"url,omitempty" maxLength:"2048"`
	Enabled        *bool             `json:"enabled,omitempty"`
	ToolTimeoutsMs map[string]*int64 `json:"toolTimeoutsMs,omitempty" maxProperties:"2000" doc:"null takes a tool's own timeout away."`
	ServiceFields
}

type tested struct {
	LatencyMs    int64       `json:"latencyMs"`
	Era          string      `json:"era"`
	Revision     string      `json:"revision"`
	ServerInfo   rest.Object `json:"serverInfo"`
	Capabilities rest.Object `json:"capabilities"`
	Instructions string      `json:"instructions"`
	Tools        []string    `json:"tools"`
}

type testedData struct {
	Test tested `json:"test"`
}

func (a *api) servers() {
	tags := []string{"servers"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/servers", ID: "listServers", Summary: "The servers of a workspace", Tags: tags, Permission: access.ServicesRead, Errors: []fault.Kind{fault.NotFound, fault.Gone}}, a.listServers)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/mcp/servers", ID: "createServer", Summary: "Register a server", Tags: tags, Permission: access.ServicesAdmin,
		Late: gateSecrets, Status: http.StatusCreated, Idempotent: true, Errors: []fault.Kind{fault.NotFound, fault.Gone, fault.Unpaid}}, a.createServer)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/servers/{serverId}", ID: "getServer", Summary: "A server and its health", Tags: tags, Permission: access.ServicesRead}, a.getServer)
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: "/mcp/servers/{serverId}", ID: "updateServer", Summary: "Change a server", Tags: tags, Permission: access.ServicesAdmin,
		Late: gateSecrets, Errors: []fault.Kind{fault.Conflict, fault.Unsupported}}, a.updateServer)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/mcp/servers/{serverId}", ID: "deleteServer", Summary: "Remove a server", Tags: tags, Gate: gateDestructive, Permission: access.ServicesAdmin}, a.deleteServer)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/mcp/servers/{serverId}/test", ID: "testServer", Summary: "Ask a server anew what it is", Tags: tags, Permission: access.Diagnose,
		Errors: []fault.Kind{fault.Upstream, fault.UpstreamAuth, fault.Unconfigured}}, a.testServer)
}

// show makes a row of a server, with its health from memory.
func (a *api) show(ctx context.Context, d *catalog.ServerDetail) (serverRow, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = d.Service.Timeout
	}
	r := serverRow{ID: d.ID, Slug: d.Slug, Name: d.Name, WorkspaceID: d.Workspace, ServiceID: d.Service.ID, Enabled: d.Enabled, IsConfigured: d.Service.Configured,
		Transport: string(d.Service.Transport), Era: string(d.Service.Era), TimeoutMs: timeout.Milliseconds(), ToolTimeouts: map[string]int64{}, Programs: a.programsOf(ctx, d),
		CreatedAt: rest.At(d.CreatedAt), UpdatedAt: rest.At(d.UpdatedAt)}
	if d.Service.Organization == d.Organization {
		r.URL, r.HeaderNames = d.Service.URL, d.Service.HeaderNames
	}
	for tool, t := range d.ToolTimeouts {
		r.ToolTimeouts[tool] = t.Milliseconds()
	}
	w, err := a.Workspaces.Get(ctx, d.Organization, d.Workspace)
	if err != nil {
		return r, err
	}
	r.MCPPath = "/mcp/w/" + w.Slug + "/" + d.Slug
	if w.Default {
		r.MCPPath = "/mcp/" + d.Slug
	}
	r.Health, err = a.healthOf(ctx, d)
	return r, err
}

func (a *api) healthOf(ctx context.Context, d *catalog.ServerDetail) (*health, error) {
	w, err := a.Resolver.Workspace(ctx, d.Organization, d.Workspace)
	if err != nil {
		return nil, err
	}
	s, found := w.Server(d.ID)
	if !found {
		return nil, nil
	}
	last, known := a.Hub.Health(s)
	if !known {
		return nil, nil
	}
	h := &health{"up", rest.At(last.At), last.Latency.Milliseconds(), last.Code, last.Message, last.Status, rest.At(last.Until)}
	switch {
	case last.Open:
		h.Status = "open"
	case last.Code != "":
		h.Status = "failing"
	}
	return h, nil
}

// workspaceOf returns the workspace a request is about: the one it names, else
// the credential's own, else the default.
func (a *api) workspaceOf(ctx context.Context, name string) (workspace.Workspace, error) {
	by := rest.Principal(ctx)
	if name == "" {
		name = by.Workspace
	}
	if name == "" {
		return a.Workspaces.Default(ctx, by.Organization)
	}
	return a.Workspaces.Get(ctx, by.Organization, name)
}

func (a *api) listServers(ctx context.Context, in *InWorkspace) (*rest.OK[serverList, rest.Meta], error) {
	w, err := a.workspaceOf(ctx, in.WorkspaceID)
	if err != nil {
		return nil, err
	}
	servers, err := a.Catalog.ListServers(ctx, rest.Principal(ctx), w.ID)
	if err != nil {
		return nil, err
	}
	var list serverList
	for _, d := range servers {
		r, err := a.show(ctx, d)
		if err != nil {
			return nil, err
		}
		list.Servers = append(list.Servers, r)
	}
	return ok(list, "")
}

func (a *api) answerServer(ctx context.Context, d *catalog.ServerDetail, err error) (*rest.OK[serverData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	r, err := a.show(ctx, d)
	if err != nil {
		return nil, err
	}
	return ok(serverData{r}, "")
}

func (a *api) createServer(ctx context.Context, in *createServer) (*rest.OK[serverData, rest.Meta], error) {
	b := in.Body
	if b.ServiceID == "" && b.URL == "" {
		return nil, rest.Invalid(rest.Problem{Field: "body.url", Message: "is needed when no serviceId is given"})
	}
	w, err := a.workspaceOf(ctx, b.WorkspaceID)
	if err != nil {
		return nil, err
	}
	input := catalog.ServerInput{Workspace: w.ID, Service: b.ServiceID, ServiceInput: b.input(b.Slug, b.URL, b.PriceFields)}
	input.Transport = catalog.Transport(b.Transport)
	d, err := a.Catalog.CreateServer(ctx, rest.Principal(ctx), input)
	if err == nil {
		rest.SetHeader(ctx, "Location", "/v1/mcp/servers/"+d.ID)
	}
	return a.answerServer(ctx, d, address(err))
}

func (a *api) getServer(ctx context.Context, in *ByServer) (*rest.OK[serverData, rest.Meta], error) {
	d, err := a.Catalog.GetServer(ctx, rest.Principal(ctx), in.ID)
	return a.answerServer(ctx, d, err)
}

func (a *api) updateServer(ctx context.Context, in *updateServer) (*rest.OK[serverData, rest.Meta], error) {
	b := in.Body
	ch := catalog.ServerChange{Enabled: b.Enabled, ServiceChange: b.change(b.Slug, b.URL)}
	ch.Timeout, ch.ServiceChange.Timeout = ch.ServiceChange.Timeout, nil
	if b.ToolTimeoutsMs != nil {
		ch.ToolTimeouts = map[string]*time.Duration{}
		for tool, ms := range b.ToolTimeoutsMs {
			if ch.ToolTimeouts[tool] = nil; ms != nil {
				ch.ToolTimeouts[tool] = new(millis(*ms))
			}
		}
	}
	d, err := a.Catalog.UpdateServer(ctx, rest.Principal(ctx), in.ID, ch)
	return a.answerServer(ctx, d, address(err))
}

// millis is a number of milliseconds; one that no duration holds becomes one
// that no rule allows.
func millis(n int64) time.Duration {
	if n < 0 || n > int64(24*time.Hour/time.Millisecond) {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

func (a *api) deleteServer(ctx context.Context, in *ByServer) (*rest.None, error) {
	return nil, a.Catalog.DeleteServer(ctx, rest.Principal(ctx), in.ID)
}

func (a *api) testServer(ctx context.Context, in *ByServer) (*rest.OK[testedData, rest.Meta], error) {
	by := rest.Principal(ctx)
	d, err := a.Catalog.GetServer(ctx, by, in.ID)
	if err != nil {
		return nil, err
	}
	w, err := a.Resolver.Workspace(ctx, by.Organization, d.Workspace)
	if err != nil {
		return nil, err
	}
	s, found := w.Server(d.ID)
	if !found {
		return nil, catalog.ErrServerNotFound
	}
	start := a.Now()
	facts, listing, err := a.Hub.Test(ctx, s, by)
	if err != nil {
		return nil, err
	}
	t := tested{LatencyMs: a.Now().Sub(start).Milliseconds(), Era: facts.Era.String(), Revision: string(facts.Revision),
		ServerInfo: object(facts.ServerInfo), Capabilities: object(facts.Capabilities), Instructions: facts.Instructions}
	for _, item := range listing.Items {
		t.Tools = append(t.Tools, item.Name)
	}
	return ok(testedData{t}, "")
}

// object passes raw JSON on, if it is an object.
func object(raw []byte) rest.Object {
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return nil
	}
	return rest.Object(raw)
}
