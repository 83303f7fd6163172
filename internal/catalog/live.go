package catalog

import (
	"context"
	"errors"

	"headgate/internal/db"
)

// ServerLives reports whether a server exists, switched off or not. It is for
// those who clean up after servers: nothing of it is shown to anybody.
func ServerLives(ctx context.Context, q db.Querier, server string) (bool, error) {
	_, err := db.Value[string](ctx, q, `SELECT id FROM servers WHERE id=$1 AND removed_at IS NULL`, server)
	if errors.Is(err, db.ErrNone) {
		return false, nil
	}
	return err == nil, err
}
