package diagnostics

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

type server struct {
	ID            string    `json:"id"`
	ProjectID     string    `json:"projectId"`
	Name          string    `json:"name"`
	Slug          string    `json:"slug"`
	Enabled       bool      `json:"enabled"`
	TransportType string    `json:"transportType"`
	URL           *string   `json:"url" nullable:"true"`
	HasHeaders    bool      `json:"hasHeaders" doc:"Headers are never read back."`
	Timeout       int64     `json:"timeout" doc:"Milliseconds."`
	CreatedAt     rest.Time `json:"createdAt"`
	UpdatedAt     rest.Time `json:"updatedAt"`
}

func serverOf(d *catalog.ServerDetail) server {
	s := server{ID: d.ID, ProjectID: d.Workspace, Name: d.Name, Slug: d.Slug, Enabled: d.Enabled, TransportType: string(d.Service.Transport),
		HasHeaders: len(d.Service.HeaderNames) > 0, Timeout: d.Timeout.Milliseconds(), CreatedAt: rest.At(d.CreatedAt), UpdatedAt: rest.At(d.UpdatedAt)}
	if s.Timeout == 0 {
		s.Timeout = d.Service.Timeout.Milliseconds()
	}
	// A service on offer is somebody else's: where it lives is not for its buyers.
	if own := d.Service.Organization == d.Organization; own && d.Service.URL != "" && d.Service.Transport != catalog.Builtin {
		s.URL = &d.Service.URL
	}
	return s
}

type createServer struct {
	InProject
	Body createServerBody
}

type createServerBody struct {
	Name          string            `json:"name" minLength:"1" maxLength:"100"`
	Enabled       bool              `json:"enabled"`
	TransportType string            `json:"transportType" enum:"http,sse,stdio" doc:"stdio servers come from the operator's catalog only."`
	URL           string            `json:"url,omitempty" maxLength:"2048"`
	Headers       map[string]string `json:"headers,omitempty" maxProperties:"32" doc:"Sealed; never read back."`
	Timeout       int64             `json:"timeout,omitempty" minimum:"1" maximum:"3600000" doc:"Milliseconds a call may take."`
}

type updateServer struct {
	InServer
	Body updateServerBody
}

type updateServerBody struct {
	Name    *string     `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Enabled *bool       `json:"enabled,omitempty"`
	URL     *string     `json:"url,omitempty" maxLength:"2048"`
	Headers rest.Object `json:"headers,omitempty" doc:"Name to text, or to null to take a header away; others stay."`
	Timeout *int64      `json:"timeout,omitempty" minimum:"1" maximum:"3600000"`
}

func (a *api) servers() {
	op := func(method, path, id, summary string, perm access.Permission) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: []string{"servers"}, Permission: perm}
	}
	const all, one = "/projects/{projectId}/servers", "/projects/{projectId}/servers/{serverId}"
	rest.Handle(a.door, op("GET", all, "listServers", "The servers of a project", access.ServicesRead), a.listServers)
	create := op("POST", all, "createServer", "Register a server", access.ServicesAdmin)
	create.Status, create.Errors = http.StatusCreated, []fault.Kind{fault.Conflict, fault.Unpaid}
	rest.Handle(a.door, create, a.createServer)
	rest.Handle(a.door, op("GET", one, "getServer", "A server", access.ServicesRead), func(ctx context.Context, in *InServer) (*server, error) {
		return a.answerServer(a.detail(ctx, *in))
	})
	update := op("PATCH", one, "updateServer", "Change a server", access.ServicesAdmin)
	update.Errors = []fault.Kind{fault.Conflict, fault.Unsupported}
	rest.Handle(a.door, update, a.updateServer)
	rest.Handle(a.door, op("DELETE", one, "deleteServer", "Remove a server", access.ServicesAdmin), a.deleteServer)
}

func (a *api) answerServer(d *catalog.ServerDetail, err error) (*server, error) {
	if err != nil {
		return nil, address(err)
	}
	s := serverOf(d)
	return &s, nil
}

// address turns the refusal of an address, which is worded as if the server
// had been called, into one of what was sent.
func address(err error) error {
	if f := fault.Of(err); f.Kind == fault.Upstream {
		return errAddress.Saying("%s", f.Message).Because(err)
	}
	return err
}

// detail finds a server of a path, in the project of the path and no other.
func (a *api) detail(ctx context.Context, in InServer) (*catalog.ServerDetail, error) {
	_, s, err := a.server(ctx, in)
	if err != nil {
		return nil, err
	}
	return a.Catalog.GetServer(ctx, rest.Principal(ctx), s.ID)
}

type listServersIn struct {
	InProject
	Paging
}

func (a *api) listServers(ctx context.Context, in *listServersIn) (*listing[server], error) {
	w, err := a.project(ctx, in.InProject)
	if err != nil {
		return nil, err
	}
	all, err := a.Catalog.ListServers(ctx, rest.Principal(ctx), w.ID)
	if err != nil {
		return nil, err
	}
	list := make([]server, len(all))
	for i, d := range all {
		list[i] = serverOf(d)
	}
	return page(ctx, list, in.Cursor, w.ID, func(s server) string { return s.ID })
}

func (a *api) createServer(ctx context.Context, in *createServer) (*server, error) {
	w, err := a.project(ctx, in.InProject)
	if err != nil {
		return nil, err
	}
	slug, err := a.freeSlug(ctx, w, in.Body.Name, "")
	if err != nil {
		return nil, err
	}
	by := rest.Principal(ctx)
	d, err := a.Catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: w.ID, ServiceInput: catalog.ServiceInput{Slug: slug, Name: in.Body.Name,
		Transport: catalog.Transport(in.Body.TransportType), URL: in.Body.URL, Headers: in.Body.Headers, Timeout: time.Duration(in.Body.Timeout) * time.Millisecond}})
	if err == nil && !in.Body.Enabled {
		d, err = a.Catalog.UpdateServer(ctx, by, d.ID, catalog.ServerChange{Enabled: &in.Body.Enabled})
	}
	return a.answerServer(d, err)
}

// freeSlug makes a slug of a name that no other server of the project has.
// Here servers are known by their names, of which there is one each.
func (a *api) freeSlug(ctx context.Context, w workspace.Workspace, name, except string) (string, error) {
	all, err := a.Catalog.ListServers(ctx, rest.Principal(ctx), w.ID)
	if err != nil {
		return "", err
	}
	taken := map[string]bool{"w": true, "t": true}
	for _, d := range all {
		if d.Name == name && d.ID != except {
			return "", errNameTaken
		}
		taken[d.Slug] = true
	}
	slug := workspace.SlugOf(name)
	for n := 2; slug == "" || taken[slug]; n++ {
		tail := "-" + strconv.Itoa(n)
		base := workspace.SlugOf(name)
		if base == "" {
			base = "server"
		}
		slug = base[:min(len(base), 32-len(tail))] + tail
	}
	return slug, nil
}

func (a *api) updateServer(ctx context.Context, in *updateServer) (*server, error) {
	w, s, err := a.server(ctx, in.InServer)
	if err != nil {
		return nil, err
	}
	b := in.Body
	if b.Name == nil && b.Enabled == nil && b.URL == nil && b.Headers == nil && b.Timeout == nil {
		return nil, errNothing
	}
	ch := catalog.ServerChange{Enabled: b.Enabled, ServiceChange: catalog.ServiceChange{URL: b.URL}}
	if len(b.Headers) > 0 && json.Unmarshal(b.Headers, &ch.Headers) != nil {
		return nil, rest.Invalid(rest.Problem{Field: "body.headers", Message: "must hold texts and nulls only"})
	}
	if b.Timeout != nil {
		t := time.Duration(*b.Timeout) * time.Millisecond
		ch.Timeout = &t
	}
	if b.Name != nil {
		if _, err := a.freeSlug(ctx, w, *b.Name, s.ID); err != nil {
			return nil, err
		}
		ch.Name = b.Name // the slug stays: it is part of URLs that clients have
	}
	return a.answerServer(a.Catalog.UpdateServer(ctx, rest.Principal(ctx), s.ID, ch))
}

func (a *api) deleteServer(ctx context.Context, in *InServer) (*deleted, error) {
	_, s, err := a.server(ctx, *in)
	if err == nil {
		err = a.mayRemove(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &deleted{s.ID, true}, a.Catalog.DeleteServer(ctx, rest.Principal(ctx), s.ID)
}
