package platform

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/seal"
)

// storeIt is what the contract says when a key's text is shown.
const storeIt = "Store this API key securely; it won't be shown again."

// keyKinds are the words for kinds of keys that this door makes.
var keyKinds = map[string]access.Kind{"personal": access.PersonalKey, "diagnostics": access.DiagnosticsKey, "organization": access.OrganizationKey, "workspace": access.WorkspaceKey}

// APIKey is what is shown of a key. Its text is not.
type APIKey struct {
	ID             string    `json:"id"`
	Kind           string    `json:"kind"`
	Name           string    `json:"name"`
	OrganizationID string    `json:"organizationId"`
	LastUsed       rest.Time `json:"lastUsed" nullable:"true"`
	CreatedAt      rest.Time `json:"createdAt"`
	ExpiresAt      rest.Time `json:"expiresAt" nullable:"true"`
	Scopes         []string  `json:"scopes"`
}

func apiKeyOf(k apikey.Key) APIKey {
	return APIKey{k.ID, k.Kind.String(), k.Name, k.Organization, rest.At(k.LastUsedAt), rest.At(k.CreatedAt), rest.At(k.ExpiresAt), k.Scopes.List()}
}

type apiKeyList struct {
	APIKeys []APIKey `json:"apiKeys"`
}

// newAPIKey is a key with its text, which is nowhere else.
type newAPIKey struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Key       string    `json:"key" doc:"Shown only here."`
	CreatedAt rest.Time `json:"createdAt"`
	ExpiresAt rest.Time `json:"expiresAt" nullable:"true"`
	Scopes    []string  `json:"scopes"`
}

type newAPIKeyData struct {
	APIKey newAPIKey `json:"apiKey"`
}

func revealed(k apikey.Key, value seal.Value) (*rest.OK[newAPIKeyData, rest.Meta], error) {
	return ok(newAPIKeyData{newAPIKey{k.ID, k.Kind.String(), k.Name, value.Reveal(), rest.At(k.CreatedAt), rest.At(k.ExpiresAt), k.Scopes.List()}}, storeIt)
}

type createAPIKey struct{ Body createAPIKeyBody }

type createAPIKeyBody struct {
	Name      string   `json:"name" minLength:"1" maxLength:"120"`
	ExpiresIn int64    `json:"expiresIn,omitempty" minimum:"1" maximum:"315360000" doc:"Seconds; left out, the key lives until it is revoked."`
	Scopes    []string `json:"scopes" minItems:"1" maxItems:"9" uniqueItems:"true" enum:"mcp:read,mcp:write,mcp:admin,logs:read,user:read,user:write,org:read,org:write,org:admin"`
	Kind      string   `json:"kind,omitempty" enum:"personal,diagnostics" default:"personal"`
}

// ByKey is the input of what is about one key.
type ByKey struct {
	ID string `path:"keyId" maxLength:"64"`
}

type rotateKey struct {
	ByKey
	Body rotateKeyBody
}

type rotateKeyBody struct {
	GracePeriod int64 `json:"gracePeriod,omitempty" minimum:"0" maximum:"604800" doc:"Seconds for which the old key lives on."`
}

func (a *api) apiKeys() {
	tags := []string{"api keys"}
	op := func(method, path, id, summary string) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: tags, Permission: access.KeysManage, RefuseKeys: unmanaging,
			Detail: "Keys do not manage keys: this needs a session."}
	}
	rest.Handle(a.door, op("GET", "/users/me/api-keys", "listMyKeys", "My keys"), a.listMyKeys)
	create := op("POST", "/users/me/api-keys", "createMyKey", "Create a key")
	create.Status, create.Idempotent, create.Errors = http.StatusCreated, true, []fault.Kind{fault.Conflict}
	rest.Handle(a.door, create, a.createMyKey)
	rotate := op("POST", "/users/me/api-keys/{keyId}/rotate", "rotateMyKey", "Replace a key by a new one")
	rotate.Status, rotate.Idempotent, rotate.Errors = http.StatusCreated, true, []fault.Kind{fault.Conflict}
	rest.Handle(a.door, rotate, a.rotateMyKey)
	rest.Handle(a.door, op("DELETE", "/users/me/api-keys/{keyId}", "revokeMyKey", "Revoke a key"), a.revokeMyKey)
}

func (a *api) listMyKeys(ctx context.Context, _ *rest.None) (*rest.OK[apiKeyList, rest.Meta], error) {
	keys, _, err := a.APIKeys.List(ctx, apikey.Filter{User: rest.Principal(ctx).User, Limit: 1000})
	if err != nil {
		return nil, err
	}
	var list apiKeyList
	for _, k := range keys {
		list.APIKeys = append(list.APIKeys, apiKeyOf(k))
	}
	return ok(list, "")
}

func (a *api) createMyKey(ctx context.Context, in *createAPIKey) (*rest.OK[newAPIKeyData, rest.Meta], error) {
	by := rest.Principal(ctx)
	scopes, known := access.ParseScopes(in.Body.Scopes)
	if !known {
		return nil, rest.Invalid(rest.Problem{Field: "body.scopes", Message: "holds a word that is no scope"})
	}
	k, value, err := a.APIKeys.Create(ctx, by, apikey.Spec{Kind: keyKinds[in.Body.Kind], Organization: by.Organization, User: by.User,
		Name: in.Body.Name, Scopes: scopes, ExpiresIn: time.Duration(in.Body.ExpiresIn) * time.Second})
	if err != nil {
		return nil, err
	}
	return revealed(k, value)
}

// mine returns a key of the person who asks, in whichever organization it
// acts; other people's do not exist here.
func (a *api) mine(ctx context.Context, key string) (apikey.Key, error) {
	by := rest.Principal(ctx)
	k, err := a.APIKeys.Get(ctx, by, key)
	if err == nil && (k.User == "" || k.User != by.User) {
		err = apikey.ErrNotFound
	}
	return k, err
}

func (a *api) rotateMyKey(ctx context.Context, in *rotateKey) (*rest.OK[newAPIKeyData, rest.Meta], error) {
	k, err := a.mine(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	next, value, err := a.APIKeys.Rotate(ctx, rest.Principal(ctx), k.ID, time.Duration(in.Body.GracePeriod)*time.Second)
	if err != nil {
		return nil, err
	}
	return revealed(next, value)
}

func (a *api) revokeMyKey(ctx context.Context, in *ByKey) (*rest.None, error) {
	k, err := a.mine(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.APIKeys.Revoke(ctx, rest.Principal(ctx), k.ID)
}
