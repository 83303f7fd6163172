package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

type workspaceRow struct {
	ID        string    `json:"id"`
	Slug      string    `json:"slug"`
	Name      string    `json:"name"`
	Default   bool      `json:"default"`
	Status    string    `json:"status"`
	Reason    string    `json:"reason,omitempty" doc:"Of the status."`
	CreatedAt rest.Time `json:"createdAt"`
	UpdatedAt rest.Time `json:"updatedAt"`
}

type workspaceList struct {
	Workspaces []workspaceRow `json:"workspaces"`
}

type workspaceData struct {
	Workspace workspaceRow `json:"workspace"`
}

type byWorkspace struct {
	ID string `path:"workspaceId" maxLength:"64" doc:"Id or slug."`
}

func workspaceRowOf(w *workspace.Workspace) workspaceRow {
	return workspaceRow{w.ID, w.Slug, w.Name, w.Default, string(w.Status), w.Reason, rest.At(w.CreatedAt), rest.At(w.UpdatedAt)}
}

func (a *api) workspaces() {
	tags := []string{"workspaces"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/workspaces", ID: "listWorkspaces", Summary: "Workspaces", Tags: tags, Permission: access.WorkspacesRead},
		func(ctx context.Context, _ *rest.None) (*rest.OK[workspaceList, rest.Meta], error) {
			found, err := a.Workspaces.List(ctx, rest.Principal(ctx).Organization)
			if err != nil {
				return nil, err
			}
			var list workspaceList
			for i := range found {
				list.Workspaces = append(list.Workspaces, workspaceRowOf(&found[i]))
			}
			return ok(list, "")
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/workspaces/{workspaceId}", ID: "getWorkspace", Summary: "A workspace", Tags: tags, Permission: access.WorkspacesRead},
		func(ctx context.Context, in *byWorkspace) (*rest.OK[workspaceData, rest.Meta], error) {
			w, err := a.Workspaces.Get(ctx, rest.Principal(ctx).Organization, in.ID)
			if err != nil {
				return nil, err
			}
			return ok(workspaceData{workspaceRowOf(&w)}, "")
		})
}
