package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/workspace"
)

// Run renews leases, returns idle ones, writes what was spent without a budget
// and tells of budgets that are being used up, until ctx ends; then it returns
// everything.
func (s *Service) Run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(s.Flush(end), s.giveBackAll(end, 0))
		case <-t.C:
		}
		err := s.Notice(ctx)
		if n%5 == 0 {
			err = errors.Join(err, s.renew(ctx), s.giveBackAll(ctx, leaseIdle), s.Flush(ctx))
		}
		if n%3600 == 0 {
			err = errors.Join(err, prune(ctx, s.Store, s.Now()))
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("budgets could not be tended; they will be in a moment", "error", err)
		}
	}
}

func (s *Service) giveBackAll(ctx context.Context, idle time.Duration) error {
	var errs []error
	s.entries.Range(func(_, v any) bool {
		if e := v.(*entry); e.free.Load() != 0 && s.Now().UnixMilli()-e.used.Load() >= idle.Milliseconds() {
			errs = append(errs, s.giveBack(ctx, e, nil))
		}
		return true
	})
	return errors.Join(errs...)
}

// Flush writes what workspaces without a budget have spent, for those who look
// at it and for budgets to come. A crash forgets at most the last seconds of
// it; what has a budget is written with its settlement.
func (s *Service) Flush(ctx context.Context) error {
	var errs []error
	s.entries.Range(func(_, v any) bool {
		e := v.(*entry)
		n := e.loose.Swap(0)
		if n == 0 {
			return true
		}
		if err := s.Store.Tx(ctx, func(tx *db.Tx) error { return spend(ctx, tx, e.workspace, s.Now(), n) }); err != nil {
			e.loose.Add(n)
			errs = append(errs, err)
		}
		return true
	})
	return errors.Join(errs...)
}

// levels are the parts of a budget that are told of, in per cent.
var levels = []int64{100, 80, 50}

// Notice records an event for each budget that has come to 50, 80 or 100 per
// cent since it was last below a half.
func (s *Service) Notice(ctx context.Context) error {
	var errs []error
	s.entries.Range(func(_, v any) bool {
		e := v.(*entry)
		if e.dirty.Swap(false) {
			if err := s.notice(ctx, e, e.refused.Swap(0)); err != nil {
				e.dirty.Store(true)
				errs = append(errs, err)
			}
		}
		return true
	})
	return errors.Join(errs...)
}

func (s *Service) notice(ctx context.Context, e *entry, refused uint32) error {
	w, err := s.Workspaces.Get(ctx, e.organization, e.workspace)
	if errors.Is(err, workspace.ErrGone) || errors.Is(err, workspace.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := s.get(ctx, w)
	if err != nil {
		return err
	}
	for p := range periods {
		if b.Limits[p] == Unlimited {
			continue
		}
		level := b.level(p)
		if refused&(1<<p) != 0 {
			level = 100
		}
		if err := s.told(ctx, w, b, p, level); err != nil {
			return err
		}
	}
	return nil
}

// level returns the highest of the levels that the spending has come to.
func (b Budget) level(p Period) int64 {
	limit := b.Limits[p] * MicrosPerCent
	for _, l := range levels {
		if b.Spent[p] >= limit/100*l {
			return l
		}
	}
	return 0
}

// told makes the event of a level that was not told of yet.
func (s *Service) told(ctx context.Context, w workspace.Workspace, b Budget, p Period, level int64) error {
	before, err := db.Value[int64](ctx, s.Store, `SELECT level FROM budget_notices WHERE workspace_id = $1 AND period = $2`, w.ID, p.String())
	if err != nil && !errors.Is(err, db.ErrNone) {
		return fmt.Errorf("read notices: %w", err)
	}
	if level == before || level != 0 && level < before {
		return nil
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `INSERT INTO budget_notices (workspace_id, period, level) VALUES ($1, $2, $3)
			ON CONFLICT (workspace_id, period) DO UPDATE SET level = excluded.level WHERE budget_notices.level = $4`, w.ID, p.String(), level, before)
		if err != nil || n == 0 || level == 0 {
			return err // another replica was first, or the window has moved on
		}
		by := &access.Principal{Kind: access.System, ID: "headgate", Name: "headgate"}
		return record(ctx, tx, by, w, "budget.notice", map[string]any{"period": p.String(), "percent": level, "limitCents": b.Limits[p], "spentCents": b.Spent[p] / MicrosPerCent})
	})
}
