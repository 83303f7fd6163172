package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// expireStep bounds one statement of these, so that writers get their turn.
const expireStep = 1000

// ExpireCalls removes lines made before the moment and returns how many went,
// a thousand to a statement so that the group writer gets its turn. It does
// not look at the ledger, which is kept for ever.
func ExpireCalls(ctx context.Context, q db.Querier, before time.Time) (int64, error) {
	var gone int64
	organization := ""
	for {
		next, err := db.Value[string](ctx, q, `SELECT organization_id FROM calls WHERE organization_id > $1 ORDER BY organization_id LIMIT 1`, organization)
		if errors.Is(err, db.ErrNone) {
			return gone, nil
		}
		if err != nil {
			return gone, fmt.Errorf("expire calls: %w", err)
		}
		organization = next
		for n := int64(expireStep); n == expireStep; gone += n {
			n, err = db.Exec(ctx, q, `DELETE FROM calls WHERE organization_id = $1 AND id IN
				(SELECT id FROM calls WHERE organization_id = $1 AND id < $2 ORDER BY id LIMIT $3)`, organization, firstID(before), int64(expireStep))
			if err != nil {
				return gone, fmt.Errorf("expire calls: %w", err)
			}
		}
	}
}

// ExpireErrors removes error lines made before the moment, a thousand to a
// statement, and returns how many went. Their ids tell their time.
func ExpireErrors(ctx context.Context, q db.Querier, before time.Time) (int64, error) {
	var gone int64
	for n := int64(expireStep); n == expireStep; gone += n {
		var err error
		n, err = db.Exec(ctx, q, `DELETE FROM error_lines WHERE id IN (SELECT id FROM error_lines WHERE id < $1 ORDER BY id LIMIT $2)`, id.Raw(firstID(before)).Text("err"), int64(expireStep))
		if err != nil {
			return gone, fmt.Errorf("expire errors: %w", err)
		}
	}
	return gone, nil
}
