package activity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
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

// expireAction is the event that takes the place of those removed before it.
const expireAction = "trail.expire"

// ExpireEvents removes events made before the moment and returns how many
// went. The trail stays verifiable: an event in it says where it begins now
// and which hash the last removed event had.
func ExpireEvents(ctx context.Context, store *db.Store, before time.Time) (int64, error) {
	tenants, err := db.All(ctx, store, func(v *string) []any { return []any{v} }, `SELECT tenant_id FROM event_heads ORDER BY tenant_id`)
	if err != nil {
		return 0, fmt.Errorf("expire events: %w", err)
	}
	var gone int64
	for _, tenant := range tenants {
		for {
			n, err := expireTrail(ctx, store, tenant, before)
			if err != nil {
				return gone, fmt.Errorf("expire events of %s: %w", tenant, err)
			}
			gone += n
			if n < expireStep {
				break
			}
		}
	}
	return gone, nil
}

func expireTrail(ctx context.Context, store *db.Store, tenant string, before time.Time) (n int64, err error) {
	err = store.Tx(ctx, func(tx *db.Tx) error {
		n = 0
		oldest, err := db.All(ctx, tx, func(e *Event) []any { return []any{&e.Seq, &e.Hash, (*db.Time)(&e.CreatedAt)} },
			`SELECT seq, hash, created_at FROM events WHERE tenant_id = $1 ORDER BY seq LIMIT $2`, tenant, int64(expireStep))
		if err != nil {
			return err
		}
		last := -1
		for last+1 < len(oldest) && oldest[last+1].CreatedAt.Before(before) {
			last++
		}
		if last < 0 {
			return nil
		}
		end := oldest[last]
		if n, err = db.Exec(ctx, tx, `DELETE FROM events WHERE tenant_id = $1 AND seq <= $2`, tenant, end.Seq); err != nil {
			return err
		}
		return Record(ctx, tx, &access.Principal{Kind: access.System, ID: "retention"}, Event{Tenant: tenant, Action: expireAction, TargetType: "trail", TargetID: tenant,
			Details: map[string]any{"through": end.Seq, "hash": hex.EncodeToString(end.Hash)}})
	})
	return n, err
}

// beginning returns where a tenant's trail begins: the sequence number and the
// hash that its newest trail.expire event vouches for, zero when there is none.
func beginning(ctx context.Context, q db.Querier, tenant string) (seq int64, hash []byte, err error) {
	r, err := db.One(ctx, q, (*eventRow).fields, `SELECT `+eventColumns+` FROM events WHERE tenant_id = $1 AND action = $2 ORDER BY seq DESC LIMIT 1`, tenant, expireAction)
	if errors.Is(err, db.ErrNone) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read the trail's beginning: %w", err)
	}
	e, err := r.event()
	if err != nil {
		return 0, nil, err
	}
	through, _ := e.Details["through"].(float64)
	text, _ := e.Details["hash"].(string)
	hash, err = hex.DecodeString(text)
	if err != nil {
		return 0, nil, nil // a forged event: the walk then finds the gap
	}
	return int64(through), hash, nil
}
