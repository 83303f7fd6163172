package app

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"headgate/client"
	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/approval"
	"headgate/internal/budget"
	"headgate/internal/db"
	"headgate/internal/jobs"
	"headgate/internal/managemcp"
	"headgate/internal/seal"
	"headgate/internal/server"
	"headgate/internal/settings"
	"headgate/internal/template"
	"headgate/internal/workspace"
)

// Manage is what operates an organization's workspaces.
type Manage struct {
	Budgets     *budget.Service
	Approvals   *approval.Service
	Templates   *template.Service
	Checkpoints *activity.Checkpoints
}

// buildManage makes it, and joins what others keep of a workspace to its life.
// The catalog and its resolver are there.
func (a *App) buildManage() {
	a.Resolver.UseSecrets(a.Vault)
	a.Budgets = budget.New(budget.Options{Store: a.Store, Workspaces: a.Workspaces, Now: a.Now, Log: a.Log})
	a.Templates = template.New(template.Options{Store: a.Store, Keys: a.Keys, Workspaces: a.Workspaces, Catalog: a.Catalog, Vault: a.Vault, Budgets: a.Budgets, Now: a.Now, Log: a.Log})
	a.Checkpoints = checkpoints(a.Settings, a.Keys, a.Now)
	a.Workspaces.OnStart(a.Templates.Look)
	a.Workspaces.OnRestart(a.Catalog.WorkspaceRestarted)
	a.Workspaces.OnRemove(a.forget) // before the catalog's: it reads the servers
	a.Workspaces.OnRemove(a.Catalog.WorkspaceRemoved)
	a.Workspaces.OnRemove(a.Vault.WorkspaceRemoved)
	a.Workspaces.OnRemove(a.Budgets.WorkspaceRemoved)
}

func checkpoints(s *settings.Settings, keys *seal.Keys, now func() time.Time) *activity.Checkpoints {
	return activity.NewCheckpoints(filepath.Join(s.Data, "checkpoints"), keys.Derive("checkpoint"), now)
}

type approvalsJob struct{}

// Kind implements jobs.Args.
func (approvalsJob) Kind() string { return "approval.expire" }

// manageJobs registers the work that operating workspaces leaves behind.
func (a *App) manageJobs() {
	jobs.Handle(a.Jobs, a.Workspaces.Ready)
	jobs.Handle(a.Jobs, func(ctx context.Context, _ approvalsJob) error {
		_, err := a.Approvals.Expire(ctx, a.Now().Add(-a.Settings.KeepErrors))
		return err
	})
	a.Jobs.Periodic(24*time.Hour, approvalsJob{})
}

// runManage tends budgets and imports, and keeps checkpoints of the audit trail,
// until ctx ends. Each replica keeps its own: they are files beside it.
func (a *App) runManage(ctx context.Context) error {
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		for {
			a.checkpoint(ctx)
			select {
			case <-ctx.Done():
				end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				a.checkpoint(end)
				return
			case <-t.C:
			}
		}
	}()
	tended := make(chan error, 1)
	go func() { tended <- a.Templates.Run(ctx) }()
	err := a.Budgets.Run(ctx)
	<-kept
	return errors.Join(err, <-tended)
}

func (a *App) checkpoint(ctx context.Context) {
	if _, err := a.Checkpoints.Write(ctx, a.Store); err != nil && ctx.Err() == nil {
		a.Log.Error("no checkpoint of the audit trail was kept; headgate audit verify tells more", "error", err)
	}
}

// recoverManage frees and marks what a run that ended without a word had begun,
// and seals what an older program kept open.
func (a *App) recoverManage(ctx context.Context) error {
	n, err := a.Templates.Recover(ctx)
	if n > 0 {
		a.Log.Warn("imports were interrupted by the end of the last run; they say how far they came (GET /v1/imports/{id})", "imports", n)
	}
	_, old := a.Templates.SealOld(ctx)
	return errors.Join(err, old, a.Budgets.Recover(ctx))
}

// manageDoor is the Management MCP. Every operation of the Platform API is
// registered by now.
func (a *App) manageDoor() server.Route {
	h := managemcp.New(managemcp.Options{Door: a.Platform, Credentials: credentials(), Authenticate: a.authenticate, Version: a.serverVersion(),
		Allow: a.allowManage, Single: a.oneOrganization, Slug: a.slugOf, HostSlug: a.slugOfHost})
	return server.Route{Prefix: managemcp.Base, Handler: h}
}

// allowManage counts what an agent asks this door in a bucket of its own: the
// operations that its tools run are counted in the key's.
func (a *App) allowManage(ctx context.Context, by *access.Principal) error {
	t, err := a.terms(ctx, by.Organization)
	if err != nil {
		return err
	}
	return a.Limiter.Take("manage:"+by.Metered(), t.Rate).Err()
}

func (a *App) oneOrganization(ctx context.Context) (bool, error) {
	n, err := db.Value[int64](ctx, a.Store, `SELECT COUNT(*) FROM (SELECT id FROM organizations WHERE removed_at IS NULL LIMIT 2) AS first_two`)
	return n == 1, err
}

func (a *App) slugOf(ctx context.Context, organization string) (string, error) {
	o, err := a.Tenancy.Organization(ctx, organization)
	if err != nil {
		return "", err
	}
	return o.Slug, nil
}

// slugOfHost is the organization that a host below the base domain selects.
func (a *App) slugOfHost(host string) string {
	if a.Settings.BaseDomain == "" {
		return ""
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	slug, ok := strings.CutSuffix(strings.ToLower(host), "."+strings.ToLower(a.Settings.BaseDomain))
	if !ok {
		return ""
	}
	return slug
}

// ManageStdio is headgate mcp management: the tools over stdio, against the
// Headgate that the environment names.
func ManageStdio(ctx context.Context, url, version string, getenv func(string) string, in io.ReadCloser, out io.WriteCloser) error {
	return managemcp.Stdio(ctx, managemcp.Config{URL: url, OrgKey: getenv("HEADGATE_ORG_KEY"), OrgID: getenv("HEADGATE_ORG_ID"), OrgSlug: getenv("HEADGATE_ORG_SLUG"),
		OperatorKey: getenv("HEADGATE_OPERATOR_KEY"), Mode: getenv("HEADGATE_MCP_MODE"), Version: version, In: in, Out: out})
}

// VerifyAudit is headgate audit verify: it walks every trail, holds each to its
// checkpoint, and says of each whether it is sound. The server must not run on
// SQLite meanwhile; a running one is asked over its API.
func VerifyAudit(ctx context.Context, s *settings.Settings) (data *client.VerdictData, err error) {
	a := &App{Settings: s, Now: time.Now}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.openStores(ctx); err != nil {
		return nil, err
	}
	if err := a.openKeys(ctx); err != nil {
		return nil, err
	}
	verdicts, err := checkpoints(s, a.Keys, a.Now).VerifyAll(ctx, a.Store)
	if err != nil {
		return nil, err
	}
	data = &client.VerdictData{Sound: true, Trails: []client.VerdictRow{}}
	for _, v := range verdicts {
		data.Sound = data.Sound && v.OK
		data.Trails = append(data.Trails, client.VerdictRow{TenantID: v.Tenant, Events: v.Events, Sound: v.OK, BadEvent: v.BadSeq, Problem: v.Problem})
	}
	return data, nil
}

// forget takes what diagnosis keeps of a removed workspace: tokens people
// brought when it is erased, reports and schedules when it is purged.
func (a *App) forget(ctx context.Context, tx *db.Tx, w workspace.Workspace, r workspace.Removal) error {
	if r.Erase || r.Purge {
		if err := a.Grants.Erase(ctx, tx, w.Organization, w.ID); err != nil {
			return err
		}
	}
	if r.Purge {
		return a.Diagnosis.Purge(ctx, tx, w.Organization, w.ID)
	}
	return nil
}
