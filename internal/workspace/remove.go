package workspace

import (
	"context"
	"errors"
	"fmt"

	"headgate/internal/access"
	"headgate/internal/db"
)

// Removal says how a workspace is removed.
type Removal struct {
	Name  string // its exact name, as confirmation
	Tree  bool   // what is below it goes too
	Erase bool   // what it holds for its agents and servers is wiped: instructions, files, secrets, credentials
	Purge bool   // its servers and everything else of it goes; only an empty tombstone stays
}

// Remove removes a workspace for good, and returns what it removed: itself
// first, then what was below it. The rows stay as tombstones, so that logs and
// events still name something; Erase and Purge say what else does.
func (s *Service) Remove(ctx context.Context, by *access.Principal, organization, ref string, r Removal) (gone []Workspace, err error) {
	err = s.change(ctx, by, organization, ref, func(tx *db.Tx, w *Workspace, all []Workspace) error {
		if w.Default {
			return ErrKeepDefault
		}
		tree := append([]Workspace{*w}, below(all, w.ID)...)
		if err := r.confirmed(*w, len(tree)-1); err != nil {
			return err
		}
		gone = nil
		for _, each := range tree {
			if each.Default {
				return ErrKeepDefault
			}
			if err := s.bury(ctx, tx, by, &each, r); err != nil {
				return fmt.Errorf("remove workspace %s: %w", each.ID, err)
			}
			gone = append(gone, each)
		}
		return nil
	})
	return gone, err
}

func (r Removal) confirmed(w Workspace, children int) error {
	if r.Name != w.Name {
		return ErrConfirmName.With("childCount", children)
	}
	if children > 0 && !r.Tree {
		return ErrConfirmTree.With("childCount", children)
	}
	return nil
}

// bury turns a workspace into its tombstone. A purged one keeps neither name
// nor texts.
func (s *Service) bury(ctx context.Context, tx *db.Tx, by *access.Principal, w *Workspace, r Removal) error {
	for _, join := range s.hooks.remove {
		if err := join(ctx, tx, *w, r); err != nil {
			return err
		}
	}
	name := w.Name
	w.Status, w.Reason, w.RemovedAt = Removed, "", s.moment()
	w.UpdatedAt = w.RemovedAt
	if r.Erase || r.Purge {
		if _, err := db.Exec(ctx, tx, `DELETE FROM workspace_files WHERE workspace_id = $1`, w.ID); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, tx, `UPDATE workspaces SET instructions = NULL WHERE organization_id = $1 AND id = $2`, w.Organization, w.ID); err != nil {
			return err
		}
	}
	if r.Purge {
		w.Status, w.Name, w.Role, w.Description, w.Model, w.Template = Purged, "purged", "", "", "", ""
		if _, err := db.Exec(ctx, tx, `DELETE FROM model_billing WHERE organization_id = $1 AND workspace_id = $2`, w.Organization, w.ID); err != nil {
			return err
		}
	}
	if _, err := db.Exec(ctx, tx, `UPDATE workspaces SET status = $3, reason = NULL, name = $4, role = $5, description = $6, model = $7, template = $8, paused_by = NULL, updated_at = $9, removed_at = $9
		WHERE organization_id = $1 AND id = $2 AND removed_at IS NULL`,
		w.Organization, w.ID, string(w.Status), w.Name, db.Null(w.Role), db.Null(w.Description), db.Null(w.Model), db.Null(w.Template), w.RemovedAt.UnixMilli()); err != nil {
		return err
	}
	announce(tx, *w)
	return record(ctx, tx, by, *w, "workspace.remove", map[string]any{"name": name, "erased": r.Erase || r.Purge, "purged": r.Purge})
}

// ignoreGone is for jobs: what they were to look at is no more, and that is
// well.
func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
