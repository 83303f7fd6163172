package catalog

import (
	"context"
	"errors"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
)

const serverColumns = `id, organization_id, workspace_id, service_id, slug, name, enabled, timeout_ms, revision, created_at, updated_at`

type serverRow struct {
	ServerDetail
	service Service
}

func (r *serverRow) fields() []any {
	return []any{&r.ID, &r.Organization, &r.Workspace, &r.service.ID, &r.Slug, &r.Name, &r.Enabled, (*millisecond)(&r.Timeout), &r.Revision,
		(*db.Time)(&r.CreatedAt), (*db.Time)(&r.UpdatedAt)}
}

// joined are the fields of a server beside those of its service.
func (r *serverRow) joined() []any { return append(r.fields(), r.service.fields()...) }

func insertServer(ctx context.Context, q db.Querier, d *ServerDetail) error {
	_, err := db.Exec(ctx, q, `INSERT INTO servers (`+serverColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)`,
		d.ID, d.Organization, d.Workspace, d.Service.ID, d.Slug, d.Name, d.Enabled, nullMillis(d.Timeout), d.Revision, d.CreatedAt.UnixMilli(), d.UpdatedAt.UnixMilli())
	return err
}

func saveServer(ctx context.Context, q db.Querier, d *ServerDetail) error {
	_, err := db.Exec(ctx, q, `UPDATE servers SET slug=$3, name=$4, enabled=$5, timeout_ms=$6, revision=$7, updated_at=$8
		WHERE organization_id=$1 AND id=$2 AND removed_at IS NULL`,
		d.Organization, d.ID, d.Slug, d.Name, d.Enabled, nullMillis(d.Timeout), d.Revision, d.UpdatedAt.UnixMilli())
	return err
}

func removeServer(ctx context.Context, q db.Querier, d *ServerDetail, now time.Time) error {
	if _, err := db.Exec(ctx, q, `UPDATE servers SET removed_at=$3, updated_at=$3 WHERE organization_id=$1 AND id=$2`, d.Organization, d.ID, now.UnixMilli()); err != nil {
		return err
	}
	_, err := db.Exec(ctx, q, `UPDATE services SET removed_at=$3 WHERE organization_id=$1 AND id=$2 AND private`, d.Organization, d.Service.ID, now.UnixMilli())
	return err
}

func nullMillis(d time.Duration) any {
	if d == 0 {
		return nil
	}
	return d.Milliseconds()
}

// ownServer returns a live server of the principal's organization, and of its
// one workspace when the credential is bound to one.
func ownServer(ctx context.Context, q db.Querier, by *access.Principal, server string) (*ServerDetail, error) {
	canonical, ok := id.Parse("srv", server)
	if !ok {
		return nil, ErrServerNotFound
	}
	r, err := db.One(ctx, q, (*serverRow).fields, `SELECT `+serverColumns+` FROM servers WHERE organization_id=$1 AND id=$2 AND removed_at IS NULL`, by.Organization, canonical)
	if errors.Is(err, db.ErrNone) || err == nil && by.Kind == access.WorkspaceKey && r.Workspace != by.Workspace {
		return nil, ErrServerNotFound
	}
	if err != nil {
		return nil, err
	}
	r.ServerDetail.Service = &r.service
	return &r.ServerDetail, nil
}

// qualified are the columns of servers v joined with services s.
var qualified = prefixed("v", serverColumns) + ", " + prefixed("s", serviceColumns)

func serversIn(ctx context.Context, q db.Querier, organization, workspace string) ([]serverRow, error) {
	return db.All(ctx, q, (*serverRow).joined, `SELECT `+qualified+` FROM servers v JOIN services s ON s.id = v.service_id
		WHERE v.organization_id=$1 AND v.workspace_id=$2 AND v.removed_at IS NULL AND s.removed_at IS NULL ORDER BY v.created_at, v.id`, organization, workspace)
}

func serviceByID(ctx context.Context, q db.Querier, service string) (*Service, error) {
	s, err := db.One(ctx, q, (*Service).fields, `SELECT `+serviceColumns+` FROM services WHERE id=$1 AND removed_at IS NULL`, service)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrServiceNotFound
	}
	return &s, err
}

// workspaceFor returns the id of a live workspace of the principal's
// organization, by id or slug; the default one when none is named.
func workspaceFor(ctx context.Context, q db.Querier, by *access.Principal, workspace string) (string, error) {
	if workspace == "" {
		workspace = by.Workspace
	}
	if canonical, ok := id.Parse("ws", workspace); ok {
		workspace = canonical
	}
	found, err := db.Value[string](ctx, q, `SELECT id FROM workspaces WHERE organization_id=$1 AND (id=$2 OR slug=$2) AND removed_at IS NULL`, by.Organization, workspace)
	if errors.Is(err, db.ErrNone) || err == nil && by.Kind == access.WorkspaceKey && found != by.Workspace {
		return "", ErrWorkspaceNotFound
	}
	return found, err
}

type timeoutRow struct {
	server, tool string
	timeout      time.Duration
}

func (r *timeoutRow) fields() []any {
	return []any{&r.server, &r.tool, (*millisecond)(&r.timeout)}
}

func timeoutsOf(ctx context.Context, q db.Querier, server string) ([]timeoutRow, error) {
	return db.All(ctx, q, (*timeoutRow).fields, `SELECT server_id, tool, timeout_ms FROM tool_timeouts WHERE server_id=$1`, server)
}

func timeoutsIn(ctx context.Context, q db.Querier, organization, workspace string) ([]timeoutRow, error) {
	return db.All(ctx, q, (*timeoutRow).fields, `SELECT server_id, tool, timeout_ms FROM tool_timeouts
		WHERE server_id IN (SELECT id FROM servers WHERE organization_id=$1 AND workspace_id=$2 AND removed_at IS NULL)`, organization, workspace)
}

func saveTimeout(ctx context.Context, q db.Querier, server, tool string, timeout *time.Duration) error {
	if timeout == nil {
		_, err := db.Exec(ctx, q, `DELETE FROM tool_timeouts WHERE server_id=$1 AND tool=$2`, server, tool)
		return err
	}
	_, err := db.Exec(ctx, q, `INSERT INTO tool_timeouts (server_id, tool, timeout_ms) VALUES ($1,$2,$3)
		ON CONFLICT (server_id, tool) DO UPDATE SET timeout_ms=$3`, server, tool, timeout.Milliseconds())
	return err
}

func pricesIn(ctx context.Context, q db.Querier, organization, workspace string) ([]priceRow, error) {
	return db.All(ctx, q, (*priceRow).fields, `SELECT `+priceColumns+` FROM prices WHERE until IS NULL AND operation='tool' AND tool<>'' AND service_id IN
		(SELECT service_id FROM servers WHERE organization_id=$1 AND workspace_id=$2 AND removed_at IS NULL)`, organization, workspace)
}

func configurationsIn(ctx context.Context, q db.Querier, organization, workspace string) ([]configRow, error) {
	return db.All(ctx, q, (*configRow).fields, `SELECT `+configColumns+` FROM configurations WHERE organization_id=$1 AND user_id='' AND service_id IN
		(SELECT service_id FROM servers WHERE organization_id=$1 AND workspace_id=$2 AND removed_at IS NULL)`, organization, workspace)
}
