package workspace

import (
	"context"
	"errors"
	"fmt"

	"headgate/internal/db"
)

const columns = `id, organization_id, slug, name, is_default, status, reason, created_at, updated_at`

func (w *Workspace) fields() []any {
	return []any{&w.ID, &w.Organization, &w.Slug, &w.Name, &w.Default, &w.Status, (*db.Text)(&w.Reason), (*db.Time)(&w.CreatedAt), (*db.Time)(&w.UpdatedAt)}
}

func list(ctx context.Context, q db.Querier, organization string) ([]Workspace, error) {
	all, err := db.All(ctx, q, (*Workspace).fields, `SELECT `+columns+` FROM workspaces WHERE organization_id = $1 AND removed_at IS NULL ORDER BY created_at, id`, organization)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return all, nil
}

func insert(ctx context.Context, tx *db.Tx, w Workspace) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 'builtin', 1, $7, $7)`,
		w.ID, w.Organization, w.Slug, w.Name, w.Default, string(w.Status), w.CreatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert workspace: %w", err)
	}
	return nil
}

// update writes the status of a workspace that still has the old one.
func update(ctx context.Context, tx *db.Tx, w Workspace, from Status) (int64, error) {
	return db.Exec(ctx, tx, `UPDATE workspaces SET status = $4, reason = $5, updated_at = $6 WHERE organization_id = $1 AND id = $2 AND status = $3 AND removed_at IS NULL`,
		w.Organization, w.ID, string(from), string(w.Status), db.Null(w.Reason), w.UpdatedAt.UnixMilli())
}

func tenantOf(ctx context.Context, q db.Querier, organization string) (string, error) {
	tenant, err := db.Value[string](ctx, q, `SELECT tenant_id FROM organizations WHERE id = $1 AND removed_at IS NULL`, organization)
	if errors.Is(err, db.ErrNone) {
		return "", ErrNotFound.Saying("There is no such organization, or it is not yours.")
	}
	return tenant, err
}
