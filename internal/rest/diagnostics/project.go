package diagnostics

import (
	"context"
	"errors"
	"net/http"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

type project struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	Slug           string    `json:"slug"`
	Description    string    `json:"description"`
	OrganizationID string    `json:"organizationId"`
	IsDefault      bool      `json:"isDefault"`
	Status         string    `json:"status"`
	CreatedAt      rest.Time `json:"createdAt"`
	UpdatedAt      rest.Time `json:"updatedAt"`
}

func projectOf(w workspace.Workspace) project {
	return project{w.ID, w.Name, w.Slug, w.Description, w.Organization, w.Default, string(w.Status), rest.At(w.CreatedAt), rest.At(w.UpdatedAt)}
}

type createProject struct{ Body createProjectBody }

type createProjectBody struct {
	Name           string `json:"name" minLength:"1" maxLength:"100"`
	Description    string `json:"description,omitempty" maxLength:"2000"`
	OrganizationID string `json:"organizationId,omitempty" maxLength:"64" doc:"Left out, the credential's own."`
}

type updateProject struct {
	InProject
	Body updateProjectBody
}

type updateProjectBody struct {
	Name        *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Description *string `json:"description,omitempty" maxLength:"2000"`
}

type deleted struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted" enum:"true"`
}

func (a *api) projects() {
	op := func(method, path, id, summary string, perm access.Permission) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: []string{"projects"}, Permission: perm}
	}
	rest.Handle(a.door, op("GET", "/projects", "listProjects", "Projects", access.WorkspacesRead), a.listProjects)
	create := op("POST", "/projects", "createProject", "Create a project", access.WorkspacesAdmin)
	create.Status, create.Errors = http.StatusCreated, []fault.Kind{fault.Conflict}
	rest.Handle(a.door, create, a.createProject)
	rest.Handle(a.door, op("GET", "/projects/{projectId}", "getProject", "A project", access.WorkspacesRead), func(ctx context.Context, in *InProject) (*project, error) {
		return a.answerProject(a.project(ctx, *in))
	})
	update := op("PATCH", "/projects/{projectId}", "updateProject", "Change a project", access.WorkspacesAdmin)
	update.Errors = []fault.Kind{fault.Conflict}
	rest.Handle(a.door, update, a.updateProject)
	remove := op("DELETE", "/projects/{projectId}", "deleteProject", "Remove a project and its servers", access.WorkspacesAdmin)
	remove.Errors = []fault.Kind{fault.Conflict}
	rest.Handle(a.door, remove, a.deleteProject)
}

func (a *api) answerProject(w workspace.Workspace, err error) (*project, error) {
	if err != nil {
		return nil, err
	}
	p := projectOf(w)
	return &p, nil
}

func (a *api) listProjects(ctx context.Context, in *Paging) (*listing[project], error) {
	all, err := a.Workspaces.List(ctx, rest.Principal(ctx).Organization)
	if err != nil {
		return nil, err
	}
	list := make([]project, len(all))
	for i, w := range all {
		list[i] = projectOf(w)
	}
	return page(ctx, list, in.Cursor, nil, func(p project) string { return p.ID })
}

func (a *api) createProject(ctx context.Context, in *createProject) (*project, error) {
	by := rest.Principal(ctx)
	if org := in.Body.OrganizationID; org != "" {
		if c, ok := id.Parse("org", org); !ok || c != by.Organization {
			return nil, errOtherOrg
		}
	}
	return a.answerProject(a.Workspaces.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: in.Body.Name, Description: in.Body.Description}))
}

func (a *api) updateProject(ctx context.Context, in *updateProject) (*project, error) {
	if in.Body.Name == nil && in.Body.Description == nil {
		return nil, errNothing
	}
	by := rest.Principal(ctx)
	return a.answerProject(a.Workspaces.Update(ctx, by, by.Organization, in.ProjectID, workspace.Change{Name: in.Body.Name, Description: in.Body.Description}))
}

// deleteProject removes a workspace with its servers. Those below it are not
// this door's to see, so they are never removed by the way.
func (a *api) deleteProject(ctx context.Context, in *InProject) (*deleted, error) {
	w, err := a.project(ctx, *in)
	if err == nil {
		err = a.mayRemove(ctx)
	}
	if err != nil {
		return nil, err
	}
	by := rest.Principal(ctx)
	_, err = a.Workspaces.Remove(ctx, by, w.Organization, w.ID, workspace.Removal{Name: w.Name, Erase: true, Purge: true})
	if errors.Is(err, workspace.ErrConfirmTree) {
		return nil, errBelow
	}
	return &deleted{w.ID, true}, err
}
