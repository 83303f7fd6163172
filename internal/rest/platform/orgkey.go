package platform

import (
	"context"
	"errors"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

// orgKeyRow is a key as those who manage an organization see it.
type orgKeyRow struct {
	APIKey
	Prefix      string `json:"prefix" doc:"The first characters; the rest is not kept."`
	LastFour    string `json:"lastFour"`
	WorkspaceID string `json:"workspaceId,omitempty"`
	UserID      string `json:"userId,omitempty"`
	AccountID   string `json:"accountId,omitempty"`
	CreatedBy   string `json:"createdBy"`
}

type orgKeyList struct {
	Keys []orgKeyRow `json:"keys"`
}

type listOrgKeys struct {
	rest.Page
	Kind string `query:"kind" enum:"organization,workspace,personal,diagnostics,account,publishable,secret"`
}

type createOrgKey struct{ Body createOrgKeyBody }

type createOrgKeyBody struct {
	Kind        string `json:"kind,omitempty" enum:"organization,workspace" default:"organization"`
	Name        string `json:"name" minLength:"1" maxLength:"120"`
	WorkspaceID string `json:"workspaceId,omitempty" maxLength:"64" doc:"Id or slug, of a workspace key."`
	ExpiresIn   int64  `json:"expiresIn,omitempty" minimum:"1" maximum:"315360000" doc:"Seconds; left out, the key lives until it is revoked."`
}

type revokeOrgKey struct {
	ByKey
	Tree bool `query:"tree" doc:"Also every key that was made with it: when it has leaked."`
}

type revoked struct {
	Revoked int `json:"revoked"`
}

var errKeysOfWorkspace = fault.New(fault.Throttled, "platform.keys_of_workspace", "This workspace has 50 live keys, which is the most. Revoke one first.")

// orgKeyWarning is said wherever such a key is made.
const orgKeyWarning = "An organization key may do everything in the organization, including making and revoking organization keys. "

func (a *api) organizationKeys() {
	tags := []string{"organization keys"}
	op := func(method, path, id, summary string) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: tags, Permission: access.OrgKeysManage, RefuseKeys: unmanaging, Detail: orgKeyWarning}
	}
	rest.Handle(a.door, op("GET", "/organizations/me/keys", "listOrganizationKeys", "The organization's keys, its people's too"), a.listOrgKeys)
	create := op("POST", "/organizations/me/keys", "createOrganizationKey", "Create an organization or workspace key")
	create.Gate = gateKeys
	create.Status, create.Idempotent, create.Errors = http.StatusCreated, true, []fault.Kind{fault.Conflict, fault.NotFound, fault.Gone}
	rest.Handle(a.door, create, a.createOrgKey)
	rotate := op("POST", "/organizations/me/keys/{keyId}/rotate", "rotateOrganizationKey", "Replace an organization or workspace key")
	rotate.Gate = gateKeys
	rotate.Status, rotate.Idempotent, rotate.Errors = http.StatusCreated, true, []fault.Kind{fault.Conflict}
	rest.Handle(a.door, rotate, a.rotateOrgKey)
	rest.Handle(a.door, op("DELETE", "/organizations/me/keys/{keyId}", "revokeOrganizationKey", "Revoke a key of the organization"), a.revokeOrgKey)
}

func (a *api) listOrgKeys(ctx context.Context, in *listOrgKeys) (*rest.OK[orgKeyList, rest.Paged], error) {
	f := apikey.Filter{Organization: rest.Principal(ctx).Organization, Limit: int64(in.Limit), Offset: int64(in.Offset())}
	for k := access.Session; k <= access.SecretKey; k++ {
		if in.Kind != "" && k.String() == in.Kind {
			f.Kinds = []access.Kind{k}
		}
	}
	keys, total, err := a.APIKeys.List(ctx, f)
	if err != nil {
		return nil, err
	}
	var list orgKeyList
	for _, k := range keys {
		list.Keys = append(list.Keys, orgKeyRow{apiKeyOf(k), k.Prefix, k.LastFour, k.Workspace, k.User, k.Account, k.CreatedBy})
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) createOrgKey(ctx context.Context, in *createOrgKey) (*rest.OK[newAPIKeyData, rest.Meta], error) {
	by := rest.Principal(ctx)
	spec := apikey.Spec{Kind: keyKinds[in.Body.Kind], Organization: by.Organization, Name: in.Body.Name, ExpiresIn: time.Duration(in.Body.ExpiresIn) * time.Second}
	switch {
	case spec.Kind == access.WorkspaceKey:
		w, err := a.workspaceOf(ctx, in.Body.WorkspaceID)
		if err != nil {
			return nil, err
		}
		spec.Workspace = w.ID
	case in.Body.WorkspaceID != "":
		return nil, rest.Invalid(rest.Problem{Field: "body.workspaceId", Message: "is for workspace keys"})
	}
	k, value, err := a.APIKeys.Create(ctx, by, spec)
	if errors.Is(err, apikey.ErrTooMany) && spec.Kind == access.WorkspaceKey {
		return nil, errKeysOfWorkspace // the contract's status
	}
	if err != nil {
		return nil, err
	}
	answer, err := revealed(k, value)
	if k.Kind == access.OrganizationKey {
		answer.Meta.Message += " " + orgKeyWarning
	}
	return answer, err
}

func (a *api) rotateOrgKey(ctx context.Context, in *rotateKey) (*rest.OK[newAPIKeyData, rest.Meta], error) {
	if _, err := a.ofOrganization(ctx, in.ID); err != nil {
		return nil, err
	}
	k, value, err := a.APIKeys.Rotate(ctx, rest.Principal(ctx), in.ID, time.Duration(in.Body.GracePeriod)*time.Second)
	if err != nil {
		return nil, err
	}
	return revealed(k, value)
}

// ofOrganization returns a key of the organization, whosever it is.
func (a *api) ofOrganization(ctx context.Context, key string) (apikey.Key, error) {
	by := rest.Principal(ctx)
	k, err := a.APIKeys.Get(ctx, by, key)
	if err == nil && k.Organization != by.Organization {
		err = apikey.ErrNotFound
	}
	return k, err
}

func (a *api) revokeOrgKey(ctx context.Context, in *revokeOrgKey) (*rest.OK[revoked, rest.Meta], error) {
	k, err := a.ofOrganization(ctx, in.ID)
	if err == nil && !k.RevokedAt.IsZero() {
		err = apikey.ErrNotFound // it is gone; nobody is told twice that it went
	}
	if err != nil {
		return nil, err
	}
	if !in.Tree {
		if err := a.APIKeys.Revoke(ctx, rest.Principal(ctx), in.ID); err != nil {
			return nil, err
		}
		return ok(revoked{1}, "")
	}
	n, err := a.APIKeys.RevokeTree(ctx, rest.Principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return ok(revoked{n}, "")
}
