package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
)

const (
	leaseFor  = 30 * time.Second // a replica that stops renewing loses its leases after this
	leaseIdle = 10 * time.Second // what nobody uses goes back after this
)

// take takes n out of what is leased, and leases more when that is too little.
// again means that the budget was changed meanwhile.
func (s *Service) take(ctx context.Context, e *entry, n int64) (again bool, err error) {
	if e.take(n) {
		return false, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return true, nil
	}
	if e.take(n) {
		return false, nil
	}
	var words []string
	var got int64
	err = s.Store.Tx(ctx, func(tx *db.Tx) error {
		words, got = nil, 0
		// The update locks the budget, so that replicas take turns.
		limits, err := one(ctx, tx, `UPDATE budgets SET updated_at = updated_at WHERE workspace_id = $1 RETURNING hourly, daily, weekly, monthly`, e.workspace)
		if err != nil {
			return err
		}
		spent, leased, err := state(ctx, tx, e.workspace, s.Now())
		if err != nil {
			return err
		}
		need := n - e.free.Load()
		var left int64
		if words, left = limits.exceeded(spent, leased, need); len(words) > 0 {
			return nil
		}
		got = s.share(left, need)
		return s.lease(ctx, tx, e.workspace, got)
	})
	switch {
	case errors.Is(err, db.ErrNone): // the budget is gone
		s.changed("budget", e.workspace)
		return true, nil
	case err != nil && ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		return false, ErrUnknown.Because(err)
	case len(words) > 0:
		return false, e.refuse(words)
	}
	e.free.Add(got)
	return !e.take(n), nil
}

// refuse remembers which ceilings were met, for the notices.
func (e *entry) refuse(words []string) *fault.Error {
	for _, w := range words {
		if p, ok := PeriodOf(w); ok {
			e.refused.Or(1 << p)
		}
	}
	e.dirty.Store(true)
	return ErrExceeded.With("exceeded_periods", words).With("workspaceId", e.workspace)
}

// share says how much to lease: the only replica takes all, one of many leaves
// the others most of it.
func (s *Service) share(left, need int64) int64 {
	if s.Store.Engine() == db.SQLite {
		return left
	}
	return max(need, min(left/8, need*32))
}

func (s *Service) lease(ctx context.Context, tx *db.Tx, ws string, n int64) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO budget_leases (workspace_id, replica, amount, deadline) VALUES ($1, $2, $3, $4)
		ON CONFLICT (workspace_id, replica) DO UPDATE SET amount = budget_leases.amount + excluded.amount, deadline = excluded.deadline`,
		ws, s.replica, n, s.Now().Add(leaseFor).UnixMilli())
	if err != nil {
		return fmt.Errorf("lease budget: %w", err)
	}
	return nil
}

// giveBack returns what is leased and not held. fn joins the transaction; it
// may be nil.
func (s *Service) giveBack(ctx context.Context, e *entry, fn func(tx *db.Tx) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.free.Swap(0)
	if n == 0 && fn == nil {
		return nil
	}
	err := s.Store.Tx(ctx, func(tx *db.Tx) error {
		if fn != nil {
			if err := fn(tx); err != nil {
				return err
			}
		}
		if n == 0 {
			return nil
		}
		_, err := db.Exec(ctx, tx, `UPDATE budget_leases SET amount = CASE WHEN amount > $3 THEN amount - $3 ELSE 0 END WHERE workspace_id = $1 AND replica = $2`, e.workspace, s.replica, n)
		return err
	})
	if err != nil {
		e.free.Add(n)
	}
	return err
}

// Recover frees every lease at the start of the only process (SQLite): holds
// of a crashed run belong to calls whose callers got no answer. On PostgreSQL
// it frees leases past their deadline.
func (s *Service) Recover(ctx context.Context) error {
	before := s.Now().UnixMilli()
	if s.Store.Engine() == db.SQLite {
		before = 1 << 62
	}
	_, err := db.Exec(ctx, s.Store, `DELETE FROM budget_leases WHERE deadline < $1`, before)
	if err != nil {
		return fmt.Errorf("free leases of budgets: %w", err)
	}
	return nil
}

// renew keeps this replica's leases alive, and forgets those that others have
// freed because it was silent for too long.
func (s *Service) renew(ctx context.Context) error {
	if s.Store.Engine() == db.SQLite {
		return nil
	}
	live, err := db.All(ctx, s.Store, func(w *string) []any { return []any{w} },
		`UPDATE budget_leases SET deadline = $2 WHERE replica = $1 RETURNING workspace_id`, s.replica, s.Now().Add(leaseFor).UnixMilli())
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, w := range live {
		alive[w] = true
	}
	s.entries.Range(func(_, v any) bool {
		if e := v.(*entry); !alive[e.workspace] && e.mu.TryLock() {
			e.free.Store(0)
			e.mu.Unlock()
		}
		return true
	})
	return s.Recover(ctx)
}
