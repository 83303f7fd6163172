package diagnostics

import (
	"context"
	"errors"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/tenancy"
)

type createKey struct{ Body createKeyBody }

type createKeyBody struct {
	Name           string `json:"name" minLength:"1" maxLength:"120"`
	OrganizationID string `json:"organizationId" minLength:"1" maxLength:"64"`
}

// Key is a diagnostics key as its owner sees it. Its text is not.
type Key struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Obfuscated string    `json:"obfuscated_value"`
	CreatedAt  rest.Time `json:"created_at"`
	LastUsedAt rest.Time `json:"last_used_at" nullable:"true"`
}

// newKey is a key with its text, which is nowhere else.
type newKey struct {
	Key
	Value          string `json:"value" doc:"Shown only here."`
	OrganizationID string `json:"organization_id"`
}

type keyList struct {
	Items []Key `json:"items"`
}

type removed struct {
	OK bool `json:"ok" enum:"true"`
}

type byKey struct {
	ID string `path:"id" maxLength:"64"`
}

func keyOf(k apikey.Key) Key {
	return Key{k.ID, k.Name, k.Prefix[:min(len(k.Prefix), 7)] + "…" + k.LastFour, rest.At(k.CreatedAt), rest.At(k.LastUsedAt)}
}

func (a *api) keys() {
	tags := []string{"api keys"}
	op := func(method, path, id, summary string, errs ...fault.Kind) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: tags, Permission: access.KeysManage, Audience: []access.Kind{access.Session},
			RefuseKeys: append(prefixes(), actingPrefix), Errors: errs}
	}
	rest.Handle(a.web, op("POST", "/api-keys", "createApiKey", "Create a diagnostics key", fault.Conflict, fault.NotFound, fault.Upstream), a.createKey)
	rest.Handle(a.web, op("GET", "/api-keys", "listApiKeys", "My diagnostics keys"), a.listKeys)
	rest.Handle(a.web, op("DELETE", "/api-keys/{id}", "revokeApiKey", "Revoke one of my diagnostics keys"), a.revokeKey)
}

// createKey makes a key in two steps: it is made, and then it is proven to
// work where it was made for. When the second step fails the first is undone,
// so that nobody is handed a dead key.
func (a *api) createKey(ctx context.Context, in *createKey) (*newKey, error) {
	by := rest.Principal(ctx)
	org, ok := id.Parse("org", in.Body.OrganizationID)
	if !ok {
		return nil, tenancy.ErrNoOrganization
	}
	if err := a.mayMint(ctx, by, org); err != nil {
		return nil, err
	}
	k, value, err := a.APIKeys.Create(ctx, by, apikey.Spec{Kind: access.DiagnosticsKey, Organization: org, User: by.User, Name: in.Body.Name})
	if err != nil {
		return nil, err
	}
	if err := a.Confirm(ctx, value.Reveal(), k); err != nil {
		return nil, a.undo(ctx, by, k, err)
	}
	return &newKey{keyOf(k), value.Reveal(), k.Organization}, nil
}

// mayMint judges the organization a key is wanted for: there, the person's,
// and in use.
func (a *api) mayMint(ctx context.Context, by *access.Principal, org string) error {
	if _, err := a.Tenancy.Organization(ctx, org); err != nil {
		return err
	}
	if _, err := a.Tenancy.RoleOf(ctx, org, by.User); err != nil {
		if errors.Is(err, tenancy.ErrNoMember) {
			return access.ErrDenied.Saying("You are no member of this organization.")
		}
		return err
	}
	switch err := a.Tenancy.Usable(ctx, org); {
	case errors.Is(err, tenancy.ErrSuspended):
		return errNotReady.Because(err)
	default:
		return err
	}
}

// confirm signs in with a key that was just made.
func (a *api) confirm(ctx context.Context, value string, k apikey.Key) error {
	p, err := a.APIKeys.Authenticate(ctx, value, request.ClientAddr(ctx))
	if err != nil {
		return err
	}
	if p.ID != k.ID || p.Organization != k.Organization || p.User != k.User {
		return errors.New("the key stands for somebody else")
	}
	return nil
}

const undoTime = 10 * time.Second

// undo revokes a key whose second step failed. It happens also when the caller
// has gone.
func (a *api) undo(ctx context.Context, by *access.Principal, k apikey.Key, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if err := a.APIKeys.Revoke(ctx, by, k.ID); err != nil {
		// Nobody has its text, so nobody can use it; its owner sees it in the list.
		a.Log.Error("a key that was not handed out could not be revoked", "key", k.ID, "error", err)
	}
	return errMint.Because(cause)
}

// listKeys lists the person's diagnostics keys of every organization: one that
// was made elsewhere must be revocable from here.
func (a *api) listKeys(ctx context.Context, _ *rest.None) (*keyList, error) {
	keys, _, err := a.APIKeys.List(ctx, apikey.Filter{User: rest.Principal(ctx).User, Kinds: []access.Kind{access.DiagnosticsKey}, Limit: 1000})
	if err != nil {
		return nil, err
	}
	var list keyList
	for _, k := range keys {
		list.Items = append(list.Items, keyOf(k))
	}
	return &list, nil
}

// revokeKey ends one of the person's own diagnostics keys; others do not exist
// here.
func (a *api) revokeKey(ctx context.Context, in *byKey) (*removed, error) {
	by := rest.Principal(ctx)
	k, err := a.APIKeys.Get(ctx, by, in.ID)
	if err != nil {
		return nil, err
	}
	if k.User != by.User || k.Kind != access.DiagnosticsKey || !k.RevokedAt.IsZero() {
		return nil, apikey.ErrNotFound
	}
	return &removed{true}, a.APIKeys.Revoke(ctx, by, k.ID)
}
