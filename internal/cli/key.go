package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"headgate/client"
)

// keyCmd are the commands on keys.
type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List your keys, or the organization's."`
	Create keyCreateCmd `cmd:"" help:"Create a key and print it, once."`
	Rotate keyRotateCmd `cmd:"" help:"Replace a key by a new one."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key at once."`
}

// keyHelp is what every key command says first.
const keyHelp = "Keys do not manage keys: this needs a session (headgate login), whatever HEADGATE_KEY says. Only an organization\nkey may manage the organization's keys (--organization).\n\n"

// keyAPI returns a client that may manage keys. One's own need the session.
func (x *env) keyAPI(organization bool) (*client.Client, error) {
	base := x.baseURL()
	s, err := x.readSession(base)
	if err != nil {
		return nil, err
	}
	if s != nil {
		return x.client(base, client.WithSource((&keeper{env: x, session: s}).token))
	}
	if key := x.getenv("HEADGATE_KEY"); organization && strings.HasPrefix(key, "ok_") {
		return x.client(base, client.WithKey(key))
	}
	return nil, wrong(exitSignIn, "SESSION_NEEDED", "keys do not manage keys: this needs a session.\nSign in: headgate login")
}

type keyListCmd struct {
	paging
	Organization bool `help:"All keys of the organization, its people's too."`
}

func (keyListCmd) Help() string {
	return keyHelp + "    headgate key list\n    headgate key list --organization"
}

// Run lists keys.
func (c *keyListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.keyAPI(c.Organization)
	if err != nil {
		return err
	}
	if c.Organization {
		return c.ofOrganization(ctx, x, api)
	}
	data, _, err := api.ListMyKeys(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.APIKeys))
		for i, k := range data.APIKeys {
			rows[i] = []string{k.Name, k.Kind, strings.Join(k.Scopes, " "), momentOr(k.LastUsed, "never"), momentOr(k.ExpiresAt, "never"), k.ID}
		}
		x.table([]string{"NAME", "KIND", "SCOPES", "LAST USED", "EXPIRES", "ID"}, rows)
	})
}

func (c *keyListCmd) ofOrganization(ctx context.Context, x *env, api *client.Client) error {
	data, meta, err := api.ListOrganizationKeys(ctx, client.ListOrganizationKeysParams{Page: c.Page, Limit: c.Limit})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.OrgKeyList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Keys))
		for i, k := range data.Keys {
			rows[i] = []string{k.Name, k.Kind, k.Prefix + "…" + k.LastFour, momentOr(k.LastUsed, "never"), momentOr(k.ExpiresAt, "never"), k.ID}
		}
		x.table([]string{"NAME", "KIND", "KEY", "LAST USED", "EXPIRES", "ID"}, rows)
		x.more(meta.Pagination)
	})
}

type keyCreateCmd struct {
	Name      string   `arg:"" help:"What it is for."`
	Kind      string   `enum:"personal,diagnostics,organization,workspace" default:"personal" placeholder:"KIND" help:"personal, diagnostics, organization (may do everything in it, including making keys) or workspace."`
	Scope     []string `placeholder:"SCOPE" default:"mcp:read,mcp:write" help:"What a personal or diagnostics key may do: mcp:read, mcp:write, mcp:admin, logs:read, user:read, user:write, org:read, org:write, org:admin. Repeatable (default mcp:read,mcp:write)."`
	ExpiresIn string   `placeholder:"TIME" help:"How long it lives, such as 12h or 90d; left out, until it is revoked."`
	Workspace string   `placeholder:"SLUG" help:"The workspace of a workspace key."`
}

func (keyCreateCmd) Help() string {
	return keyHelp + `The key alone goes to stdout.

    headgate key create ci --scope mcp:read --scope mcp:write --expires-in 90d
    export HEADGATE_KEY="$(headgate key create laptop)"`
}

// Run creates a key.
func (c *keyCreateCmd) Run(ctx context.Context, x *env) error {
	seconds, err := lifetime(c.ExpiresIn)
	if err != nil {
		return err
	}
	ofOrganization := c.Kind == "organization" || c.Kind == "workspace"
	api, err := x.keyAPI(ofOrganization)
	if err != nil {
		return err
	}
	var data *client.NewAPIKeyData
	var meta *client.Meta
	if ofOrganization {
		data, meta, err = api.CreateOrganizationKey(ctx, client.CreateOrgKeyBody{Name: c.Name, Kind: &c.Kind, ExpiresIn: seconds, WorkspaceID: optional(c.Workspace)})
	} else {
		data, meta, err = api.CreateMyKey(ctx, client.CreateAPIKeyBody{Name: c.Name, Kind: &c.Kind, ExpiresIn: seconds, Scopes: c.Scope})
	}
	return x.reveal(data, meta, err)
}

// reveal prints a new key: alone on stdout, for scripts.
func (x *env) reveal(data *client.NewAPIKeyData, meta *client.Meta, err error) error {
	if err != nil {
		return err
	}
	return x.print(data, func() {
		x.hint("%s (%s) %s", data.APIKey.Name, data.APIKey.ID, meta.Message)
		x.say("%s", data.APIKey.Key)
	})
}

// lifetime reads a duration in seconds, days included.
func lifetime(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 32); err == nil && n > 0 {
			return new(n * 24 * 60 * 60), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return nil, invalid("a time looks like 90d, 12h or 30m")
	}
	return new(int64(d / time.Second)), nil
}

type keyRotateCmd struct {
	ID           string `arg:"" help:"The key's id (headgate key list)."`
	Grace        string `placeholder:"TIME" help:"How long the old key lives on, at most 7d; left out, it dies at once."`
	Organization bool   `help:"The key is an organization or workspace key."`
}

func (keyRotateCmd) Help() string {
	return keyHelp + "    headgate key rotate key_01k… --grace 1h"
}

// Run rotates a key.
func (c *keyRotateCmd) Run(ctx context.Context, x *env) error {
	seconds, err := lifetime(c.Grace)
	if err != nil {
		return err
	}
	api, err := x.keyAPI(c.Organization)
	if err != nil {
		return err
	}
	rotate := api.RotateMyKey
	if c.Organization {
		rotate = api.RotateOrganizationKey
	}
	data, meta, err := rotate(ctx, c.ID, client.RotateKeyBody{GracePeriod: seconds})
	return x.reveal(data, meta, err)
}

type keyRevokeCmd struct {
	ID           string `arg:"" help:"The key's id (headgate key list)."`
	Organization bool   `help:"The key is an organization or workspace key, or somebody else's of the organization."`
	Tree         bool   `help:"Also every key that was made with it: when an organization key has leaked."`
}

func (keyRevokeCmd) Help() string {
	return keyHelp + `From its return on, every use of the key fails and its open streams end.

    headgate key revoke key_01k…`
}

// Run revokes a key.
func (c *keyRevokeCmd) Run(ctx context.Context, x *env) error {
	if c.Tree && !c.Organization {
		return invalid("--tree is for organization keys: give --organization too")
	}
	api, err := x.keyAPI(c.Organization)
	if err != nil {
		return err
	}
	if !c.Organization {
		return api.RevokeMyKey(ctx, c.ID)
	}
	data, _, err := api.RevokeOrganizationKey(ctx, c.ID, client.RevokeOrganizationKeyParams{Tree: c.Tree})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		if c.Tree {
			x.say("Revoked %d keys.", data.Revoked)
		}
	})
}
