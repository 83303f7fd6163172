package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/seal"
	"headgate/internal/vault"
)

type secretRow struct {
	Key       string    `json:"key"`
	HasValue  bool      `json:"hasValue" doc:"The value itself is never shown."`
	Scope     string    `json:"scope" enum:"workspace,organization" doc:"Whose it is; a workspace's own wins."`
	CreatedAt rest.Time `json:"createdAt"`
	UpdatedAt rest.Time `json:"updatedAt"`
}

type secretList struct {
	Secrets []secretRow `json:"secrets"`
	Count   int         `json:"count"`
}

// BySecret names a secret.
type BySecret struct {
	Key string `path:"secretKey" maxLength:"128" doc:"A-Z, a-z, 0-9, _, - and ., not beginning with a digit."`
}

type setSecretBody struct {
	Value string `json:"value" minLength:"1" maxLength:"65536"`
}

type setSecret struct {
	BySecret
	Body setSecretBody
}

type setWorkspaceSecret struct {
	ByWorkspace
	BySecret
	Body setSecretBody
}

type workspaceSecret struct {
	ByWorkspace
	BySecret
}

type secretDone struct {
	Status string `json:"status" enum:"saved,deleted"`
	Key    string `json:"key"`
	Scope  string `json:"scope" enum:"workspace,organization"`
}

func (a *api) secrets() {
	tags := []string{"secrets"}
	op := func(method, path, id, summary string, perm access.Permission, errs ...fault.Kind) rest.Op {
		o := rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: tags, Permission: perm, Errors: errs,
			Detail: "Headers and configurations of servers refer to a secret as {{secret.KEY}}. A change is in force with the next call, on new connections of exactly the servers that use it."}
		if method != "GET" {
			o.Late = gateSecrets
		}
		return o
	}
	ours, theirs := "/organizations/me/secrets", "/workspaces/{workspaceId}/secrets"
	rest.Handle(a.door, op("GET", ours, "listOrganizationSecrets", "The organization's secrets", access.WorkspacesAdmin),
		func(ctx context.Context, _ *rest.None) (*rest.OK[secretList, rest.Meta], error) {
			return a.listSecrets(ctx, "")
		})
	set := op("PUT", ours+"/{secretKey}", "setOrganizationSecret", "Set a secret of the organization", access.WorkspacesAdmin, fault.Conflict)
	set.Makes = true
	rest.Handle(a.door, set,
		func(ctx context.Context, in *setSecret) (*rest.OK[secretDone, rest.Meta], error) {
			return a.setSecret(ctx, "", in.Key, in.Body.Value)
		})
	rest.Handle(a.door, op("DELETE", ours+"/{secretKey}", "deleteOrganizationSecret", "Delete a secret of the organization", access.WorkspacesAdmin),
		func(ctx context.Context, in *BySecret) (*rest.OK[secretDone, rest.Meta], error) {
			return a.deleteSecret(ctx, "", in.Key)
		})
	rest.Handle(a.door, op("GET", theirs, "listWorkspaceSecrets", "The secrets a workspace sees", access.WorkspacesAdmin, fault.Gone),
		func(ctx context.Context, in *ByWorkspace) (*rest.OK[secretList, rest.Meta], error) {
			return a.listSecrets(ctx, in.ID)
		})
	rest.Handle(a.door, op("PUT", theirs+"/{secretKey}", "setWorkspaceSecret", "Set a secret of a workspace", access.WorkspacesAdmin, fault.Conflict, fault.Gone),
		func(ctx context.Context, in *setWorkspaceSecret) (*rest.OK[secretDone, rest.Meta], error) {
			return a.setSecret(ctx, in.ID, in.Key, in.Body.Value)
		})
	rest.Handle(a.door, op("DELETE", theirs+"/{secretKey}", "deleteWorkspaceSecret", "Delete a secret of a workspace", access.WorkspacesAdmin, fault.Gone),
		func(ctx context.Context, in *workspaceSecret) (*rest.OK[secretDone, rest.Meta], error) {
			return a.deleteSecret(ctx, in.ID, in.Key)
		})
}

func secretPlace(ctx context.Context, ws string) (vault.Place, string) {
	at := vault.Place{Organization: rest.Principal(ctx).Organization, Workspace: ws}
	if ws == "" {
		return at, string(vault.Organization)
	}
	return at, string(vault.Workspace)
}

func (a *api) listSecrets(ctx context.Context, ws string) (*rest.OK[secretList, rest.Meta], error) {
	at, _ := secretPlace(ctx, ws)
	found, err := a.Vault.List(ctx, at)
	if err != nil {
		return nil, err
	}
	list := secretList{Count: len(found)}
	for _, s := range found {
		list.Secrets = append(list.Secrets, secretRow{s.Name, true, string(s.Scope), rest.At(s.CreatedAt), rest.At(s.UpdatedAt)})
	}
	return ok(list, "")
}

func (a *api) setSecret(ctx context.Context, ws, key, value string) (*rest.OK[secretDone, rest.Meta], error) {
	at, scope := secretPlace(ctx, ws)
	if _, err := a.Vault.Set(ctx, rest.Principal(ctx), at, key, seal.NewValue(value)); err != nil {
		return nil, err
	}
	return ok(secretDone{"saved", key, scope}, "")
}

func (a *api) deleteSecret(ctx context.Context, ws, key string) (*rest.OK[secretDone, rest.Meta], error) {
	at, scope := secretPlace(ctx, ws)
	if err := a.Vault.Delete(ctx, rest.Principal(ctx), at, key); err != nil {
		return nil, err
	}
	return ok(secretDone{"deleted", key, scope}, "")
}
