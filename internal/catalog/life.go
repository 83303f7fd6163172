package catalog

import (
	"context"
	"fmt"

	"headgate/internal/db"
	"headgate/internal/workspace"
)

// WorkspaceRestarted joins the transaction that restarts a workspace: every
// server gets another version, so that later calls find no old session, process
// or list. Calls in flight keep what they began with.
func (c *Catalog) WorkspaceRestarted(ctx context.Context, tx *db.Tx, w workspace.Workspace) error {
	_, err := db.Exec(ctx, tx, `UPDATE servers SET revision = revision + 1, updated_at = $3 WHERE organization_id = $1 AND workspace_id = $2 AND removed_at IS NULL`,
		w.Organization, w.ID, c.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("restart servers: %w", err)
	}
	tx.Changed("servers", w.ID)
	return nil
}

// WorkspaceRemoved joins the transaction that removes a workspace: its servers
// end. Erasing forgets their credentials, purging the servers themselves.
func (c *Catalog) WorkspaceRemoved(ctx context.Context, tx *db.Tx, w workspace.Workspace, r workspace.Removal) error {
	const (
		ours    = `SELECT id FROM servers WHERE organization_id = $1 AND workspace_id = $2`
		private = `SELECT s.id FROM services s JOIN servers v ON v.service_id = s.id WHERE s.organization_id = $1 AND s.private AND v.workspace_id = $2`
	)
	services, err := db.All(ctx, tx, func(s *string) []any { return []any{s} }, private, w.Organization, w.ID)
	if err != nil {
		return fmt.Errorf("find services: %w", err)
	}
	for _, text := range []string{
		`UPDATE servers SET removed_at = $3, updated_at = $3 WHERE organization_id = $1 AND workspace_id = $2 AND removed_at IS NULL`,
		`UPDATE services SET removed_at = $3, updated_at = $3 WHERE removed_at IS NULL AND id IN (` + private + `)`,
	} {
		if _, err := db.Exec(ctx, tx, text, w.Organization, w.ID, c.now().UnixMilli()); err != nil {
			return fmt.Errorf("remove servers: %w", err)
		}
	}
	var steps []string
	if r.Erase || r.Purge {
		steps = append(steps,
			`DELETE FROM configurations WHERE service_id IN (`+private+`)`,
			`UPDATE services SET headers = NULL, header_names = '[]', url = NULL WHERE id IN (`+private+`)`)
	}
	if r.Purge {
		steps = append(steps,
			`DELETE FROM service_allowlist WHERE organization_id = $1 AND service_id IN (`+private+`)`,
			`DELETE FROM prices WHERE service_id IN (`+private+`)`,
			`DELETE FROM tool_timeouts WHERE server_id IN (`+ours+`)`)
	}
	for _, text := range steps {
		if _, err := db.Exec(ctx, tx, text, w.Organization, w.ID); err != nil {
			return fmt.Errorf("erase servers: %w", err)
		}
	}
	if r.Purge {
		if _, err := db.Exec(ctx, tx, `DELETE FROM servers WHERE organization_id = $1 AND workspace_id = $2`, w.Organization, w.ID); err != nil {
			return fmt.Errorf("purge servers: %w", err)
		}
		for _, s := range services {
			if _, err := db.Exec(ctx, tx, `DELETE FROM services WHERE organization_id = $1 AND private AND id = $2`, w.Organization, s); err != nil {
				return fmt.Errorf("purge services: %w", err)
			}
		}
	}
	tx.Changed("servers", w.ID)
	for _, s := range services {
		tx.Changed("service", s)
	}
	return nil
}
