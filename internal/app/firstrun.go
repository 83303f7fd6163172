package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/identity"
	"headgate/internal/tenancy"
	"headgate/internal/workspace"
)

const (
	firstRunFile = "first-run.json"
	ownerEmail   = "owner@headgate.localhost"
	homeCredits  = 1_000_000_000
)

// FirstRun is what a first start makes and shows once; the file keeps it until
// the owner changes the password.
type FirstRun struct {
	URL             string `json:"url"`
	MCPURL          string `json:"mcpUrl"`
	OwnerEmail      string `json:"ownerEmail"`
	OwnerPassword   string `json:"ownerPassword"`
	APIKey          string `json:"apiKey,omitempty"`
	OrganizationKey string `json:"organizationKey,omitempty"`
	OperatorKey     string `json:"operatorKey,omitempty"`
}

// headgate is the principal of what Headgate does by itself.
func headgate(organization, tenant string) *access.Principal {
	return &access.Principal{Kind: access.System, ID: "headgate", Name: "headgate", Organization: organization, Tenant: tenant, Role: access.Owner, Scopes: access.Every}
}

// firstStart makes tenant, organization, workspace, owner, keys and the demo
// server of an empty installation. It may be cut off at any point: the next
// start goes on, with the password it has written down and fresh keys.
func (a *App) firstStart(ctx context.Context) error {
	path := filepath.Join(a.Settings.Data, firstRunFile)
	if err := a.Store.Tx(ctx, func(tx *db.Tx) error { return a.Tenancy.Seed(ctx, tx) }); err != nil {
		return fmt.Errorf("seed plans: %w", err)
	}
	done, err := db.Value[[]byte](ctx, a.Store, `SELECT value FROM installation WHERE name = 'first-run'`)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	if err == nil {
		a.forgetWith(string(done), path)
		if _, err := os.Stat(path); err == nil {
			a.Log.Info("the first start's credentials are still in "+path+"; change the owner's password and it is deleted: headgate login --first-run && headgate password --first-run", "file", path)
		}
		return nil
	}
	f := &FirstRun{URL: a.Settings.PublicURL(), MCPURL: a.Settings.PublicURL() + "/mcp", OwnerEmail: ownerEmail, OwnerPassword: rand.Text()}
	if err := a.resume(path, f); err != nil {
		return err
	}
	owner, organization, err := a.firstOwner(ctx, f)
	if err != nil {
		return err
	}
	if err := a.firstServer(ctx, organization); err != nil {
		return err
	}
	if err := a.firstKeys(ctx, f, owner, organization); err != nil {
		return err
	}
	if err := writeJSON(path, f); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, a.Store, `INSERT INTO installation (name, value, updated_at) VALUES ('first-run', $1, $2) ON CONFLICT (name) DO NOTHING`, []byte(owner.ID), a.Now().UnixMilli()); err != nil {
		return err
	}
	a.forgetWith(owner.ID, path)
	a.first = f
	return nil
}

// forgetWith deletes the file with the first start's credentials as soon as its
// owner, and nobody else, has another password.
func (a *App) forgetWith(owner, path string) {
	a.Store.OnChange(func(kind, user string) {
		if kind == identity.KindPassword && user == owner {
			_ = os.Remove(path) // missing is fine
		}
	})
}

// resume takes the password of a first start that was cut off, or writes the
// one chosen now before anything is made with it.
func (a *App) resume(path string, f *FirstRun) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeJSON(path, f)
	}
	if err != nil {
		return err
	}
	var old FirstRun
	if json.Unmarshal(text, &old) == nil && old.OwnerPassword != "" {
		f.OwnerPassword = old.OwnerPassword
		return nil
	}
	return writeJSON(path, f)
}

func (a *App) firstOwner(ctx context.Context, f *FirstRun) (*identity.User, *tenancy.Organization, error) {
	owner, err := a.Identity.Register(ctx, headgate("", ""), identity.Registration{Email: f.OwnerEmail, Password: f.OwnerPassword, FirstName: "Owner",
		OrganizationName: "Home", Founding: tenancy.Founding{Slug: "home", Plan: tenancy.OperatorPlan, TenantName: "Default", TenantSlug: "default"}})
	if errors.Is(err, identity.ErrEmailTaken) {
		owner, err = a.Identity.UserByEmail(ctx, identity.PlatformPool, f.OwnerEmail)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make the owner: %w", err)
	}
	places, err := a.Tenancy.Places(ctx, a.Store, owner.ID)
	if err != nil || len(places) == 0 {
		return nil, nil, fmt.Errorf("find the owner's organization: %w", err)
	}
	return owner, &places[0].Organization, nil
}

// firstServer registers the built-in demo in the home organization.
func (a *App) firstServer(ctx context.Context, o *tenancy.Organization) error {
	one, free := int64(catalog.DefaultPrice), int64(0)
	by := headgate(o.ID, o.Tenant)
	ws, err := a.Workspaces.Default(ctx, o.ID)
	if err != nil {
		return fmt.Errorf("find the default workspace: %w", err)
	}
	_, err = a.Catalog.CreateServer(ctx, by, catalog.ServerInput{Workspace: ws.ID, ServiceInput: catalog.ServiceInput{
		Slug: "demo", Name: "Demo", Description: "The built-in demonstration server: echo, add, now.", Version: a.serverVersion(),
		Transport: catalog.Builtin, URL: demo.Name, Price: &one, ReadPrice: &free}})
	if errors.Is(err, catalog.ErrSlugTaken) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("register the demo server: %w", err)
	}
	return nil
}

// serverVersion is the program's version where a version must be plain.
func (a *App) serverVersion() string {
	if a.Version == "" {
		return "dev"
	}
	return a.Version
}

// firstKeys mints the three keys; those of a start that was cut off before it
// could show them are revoked.
func (a *App) firstKeys(ctx context.Context, f *FirstRun, owner *identity.User, o *tenancy.Organization) error {
	by := headgate(o.ID, o.Tenant)
	for _, k := range []struct {
		spec apikey.Spec
		into *string
	}{
		{apikey.Spec{Kind: access.PersonalKey, Organization: o.ID, User: owner.ID, Name: "first run", Scopes: access.Every}, &f.APIKey},
		{apikey.Spec{Kind: access.OrganizationKey, Organization: o.ID, Name: "first run"}, &f.OrganizationKey},
		{apikey.Spec{Kind: access.OperatorKey, Name: "first run"}, &f.OperatorKey},
	} {
		if err := a.revokeUnshown(ctx, by, k.spec); err != nil {
			return err
		}
		_, value, err := a.APIKeys.Create(ctx, by, k.spec)
		if err != nil {
			return fmt.Errorf("mint the %s key: %w", k.spec.Kind, err)
		}
		*k.into = value.Reveal()
	}
	return nil
}

func (a *App) revokeUnshown(ctx context.Context, by *access.Principal, spec apikey.Spec) error {
	old, _, err := a.APIKeys.List(ctx, apikey.Filter{Organization: spec.Organization, User: spec.User, Kinds: []access.Kind{spec.Kind}})
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	for _, k := range old {
		if err := a.APIKeys.Revoke(ctx, by, k.ID); err != nil {
			return fmt.Errorf("revoke an unshown key: %w", err)
		}
	}
	return nil
}

// found joins what every new organization needs: a default workspace and an
// account with its first month.
func (a *App) found(ctx context.Context, tx *db.Tx, by *access.Principal, o *tenancy.Organization) error {
	plan, err := a.Tenancy.Plan(ctx, o.Plan)
	if err != nil {
		return err
	}
	if _, err := a.Workspaces.Create(ctx, tx, headgate(o.ID, o.Tenant), workspace.Spec{Organization: o.ID, Name: "Default", Slug: "default", Default: true}); err != nil {
		return fmt.Errorf("make the default workspace: %w", err)
	}
	spec := credit.Spec{Organization: o.ID, Monthly: plan.MonthlyCredits, Allocation: plan.MonthlyCredits, Tier: plan.Slug, CreatedBy: by.User}
	if plan.Slug == tenancy.OperatorPlan {
		spec.Monthly, spec.Allocation, spec.Purchased = 0, 0, homeCredits
	}
	if _, err := a.Credits.Open(ctx, tx, spec); err != nil {
		return fmt.Errorf("open the account: %w", err)
	}
	return nil
}

// writeJSON replaces a file of secrets in one step (mode 0600), on disk when it returns.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
