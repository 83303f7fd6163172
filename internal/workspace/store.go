package workspace

import (
	"context"
	"errors"
	"fmt"

	"headgate/internal/db"
)

const columns = `id, organization_id, slug, name, is_default, status, reason, parent_id, role, description, runtime, tier, model, template, paused_by, created_at, updated_at, removed_at`

func (w *Workspace) fields() []any {
	return []any{&w.ID, &w.Organization, &w.Slug, &w.Name, &w.Default, &w.Status, (*db.Text)(&w.Reason), (*db.Text)(&w.Parent), (*db.Text)(&w.Role),
		(*db.Text)(&w.Description), &w.Runtime, &w.Tier, (*db.Text)(&w.Model), (*db.Text)(&w.Template), (*db.Text)(&w.PausedBy),
		(*db.Time)(&w.CreatedAt), (*db.Time)(&w.UpdatedAt), (*db.Time)(&w.RemovedAt)}
}

func list(ctx context.Context, q db.Querier, organization string) ([]Workspace, error) {
	all, err := db.All(ctx, q, (*Workspace).fields, `SELECT `+columns+` FROM workspaces WHERE organization_id = $1 AND removed_at IS NULL ORDER BY created_at, id`, organization)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	return all, nil
}

func removed(ctx context.Context, q db.Querier, organization, workspace string) (Workspace, error) {
	w, err := db.One(ctx, q, (*Workspace).fields, `SELECT `+columns+` FROM workspaces WHERE organization_id = $1 AND id = $2 AND removed_at IS NOT NULL`, organization, workspace)
	if errors.Is(err, db.ErrNone) {
		return Workspace{}, ErrNotFound
	}
	return w, err
}

func insert(ctx context.Context, tx *db.Tx, w Workspace, instructions string) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, parent_id, role, description, runtime, tier, model, template, instructions, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)`,
		w.ID, w.Organization, w.Slug, w.Name, w.Default, string(w.Status), db.Null(w.Parent), db.Null(w.Role), db.Null(w.Description), string(w.Runtime), w.Tier,
		db.Null(w.Model), db.Null(w.Template), db.Null(instructions), w.CreatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert workspace: %w", err)
	}
	return nil
}

// save writes everything of a live workspace that can change but its instructions.
func save(ctx context.Context, tx *db.Tx, w Workspace) error {
	n, err := db.Exec(ctx, tx, `UPDATE workspaces SET slug = $3, name = $4, status = $5, reason = $6, parent_id = $7, role = $8, description = $9, tier = $10, model = $11,
		paused_by = $12, updated_at = $13 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL`,
		w.Organization, w.ID, w.Slug, w.Name, string(w.Status), db.Null(w.Reason), db.Null(w.Parent), db.Null(w.Role), db.Null(w.Description), w.Tier, db.Null(w.Model),
		db.Null(w.PausedBy), w.UpdatedAt.UnixMilli())
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

func saveInstructions(ctx context.Context, tx *db.Tx, w Workspace, text string) error {
	_, err := db.Exec(ctx, tx, `UPDATE workspaces SET instructions = $3 WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL`, w.Organization, w.ID, db.Null(text))
	return err
}

func tenantOf(ctx context.Context, q db.Querier, organization string) (string, error) {
	tenant, err := db.Value[string](ctx, q, `SELECT tenant_id FROM organizations WHERE id = $1 AND removed_at IS NULL`, organization)
	if errors.Is(err, db.ErrNone) {
		return "", ErrNotFound.Saying("There is no such organization, or it is not yours.")
	}
	return tenant, err
}

// lock makes changes of one organization's workspaces take turns. SQLite has
// one writer anyway.
func lock(ctx context.Context, tx *db.Tx, organization string) error {
	if tx.Engine() != db.PostgreSQL {
		return nil
	}
	_, err := db.Exec(ctx, tx, `SELECT pg_advisory_xact_lock(hashtextextended('workspaces:' || $1, 0))`, organization)
	return err
}
