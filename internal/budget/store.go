package budget

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/db"
)

// cents scans a limit, NULL as Unlimited.
type cents int64

// Scan implements sql.Scanner.
func (c *cents) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c = cents(Unlimited)
	case int64:
		*c = cents(v)
	default:
		return fmt.Errorf("a limit column holds %T", src)
	}
	return nil
}

func nullCents(n int64) any {
	if n == Unlimited {
		return nil
	}
	return n
}

func (l *Limits) fields() []any {
	return []any{(*cents)(&l[Hourly]), (*cents)(&l[Daily]), (*cents)(&l[Weekly]), (*cents)(&l[Monthly])}
}

func one(ctx context.Context, q db.Querier, text string, args ...any) (Limits, error) {
	return db.One(ctx, q, (*Limits).fields, text, args...)
}

// limitsOf returns the limits of a workspace; one without a budget has none.
func limitsOf(ctx context.Context, q db.Querier, ws string) (Limits, error) {
	l, err := one(ctx, q, `SELECT hourly, daily, weekly, monthly FROM budgets WHERE workspace_id = $1`, ws)
	if errors.Is(err, db.ErrNone) {
		return NoLimits, nil
	}
	return l, err
}

// lock makes those who change a workspace's limits take turns. SQLite has one
// writer anyway.
func lock(ctx context.Context, tx *db.Tx, ws string) error {
	if tx.Engine() != db.PostgreSQL {
		return nil
	}
	_, err := db.Exec(ctx, tx, `SELECT pg_advisory_xact_lock(hashtextextended('budgets:' || $1, 0))`, ws)
	return err
}

// sums are the spending of each window and what is leased, in one statement,
// so that they are of one moment: a settlement moves money between them.
var sums = func() string {
	var b strings.Builder
	b.WriteString("SELECT ")
	for p := range periods {
		fmt.Fprintf(&b, "(SELECT CAST(COALESCE(SUM(spent), 0) AS BIGINT) FROM budget_buckets WHERE workspace_id = $1 AND period = '%s' AND bucket >= $%d), ", p, p+2)
	}
	b.WriteString("(SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM budget_leases WHERE workspace_id = $1)")
	return b.String()
}()

func state(ctx context.Context, q db.Querier, ws string, now time.Time) (Spent, int64, error) {
	type row struct {
		spent  Spent
		leased int64
	}
	r, err := db.One(ctx, q, func(r *row) []any {
		return []any{&r.spent[Hourly], &r.spent[Daily], &r.spent[Weekly], &r.spent[Monthly], &r.leased}
	}, sums, ws, Hourly.oldest(now), Daily.oldest(now), Weekly.oldest(now), Monthly.oldest(now))
	if err != nil {
		return Spent{}, 0, fmt.Errorf("read budget: %w", err)
	}
	return r.spent, r.leased, nil
}

// readAll fills in the budgets of an organization's workspaces, two statements
// for however many there are.
func readAll(ctx context.Context, q db.Querier, organization string, now time.Time, all map[string]Budget) error {
	type row struct {
		workspace, period string
		limits            Limits
		spent             int64
	}
	limits, err := db.All(ctx, q, func(r *row) []any { return append([]any{&r.workspace}, r.limits.fields()...) },
		`SELECT workspace_id, hourly, daily, weekly, monthly FROM budgets WHERE organization_id = $1`, organization)
	if err != nil {
		return fmt.Errorf("read budgets: %w", err)
	}
	for _, r := range limits {
		if b, ok := all[r.workspace]; ok {
			b.Limits = r.limits
			all[r.workspace] = b
		}
	}
	spent, err := db.All(ctx, q, func(r *row) []any { return []any{&r.workspace, &r.period, &r.spent} },
		`SELECT workspace_id, period, CAST(SUM(spent) AS BIGINT) FROM budget_buckets WHERE workspace_id IN (SELECT id FROM workspaces WHERE organization_id = $1 AND removed_at IS NULL)
		AND (period = 'hourly' AND bucket >= $2 OR period = 'daily' AND bucket >= $3 OR period = 'weekly' AND bucket >= $4 OR period = 'monthly' AND bucket >= $5) GROUP BY workspace_id, period`,
		organization, Hourly.oldest(now), Daily.oldest(now), Weekly.oldest(now), Monthly.oldest(now))
	if err != nil {
		return fmt.Errorf("read spending: %w", err)
	}
	for _, r := range spent {
		if p, ok := PeriodOf(r.period); ok {
			b := all[r.workspace]
			b.Spent[p] = r.spent
			all[r.workspace] = b
		}
	}
	return nil
}

// spend adds to the windows outside of the fast lane.
func spend(ctx context.Context, tx *db.Tx, ws string, at time.Time, micros int64) error {
	for p := range periods {
		if _, err := db.Exec(ctx, tx, `INSERT INTO budget_buckets (workspace_id, period, bucket, spent) VALUES ($1, $2, $3, $4)
			ON CONFLICT (workspace_id, period, bucket) DO UPDATE SET spent = budget_buckets.spent + excluded.spent`, ws, p.String(), p.bucket(at), micros); err != nil {
			return fmt.Errorf("write spending: %w", err)
		}
	}
	return nil
}

// prune deletes sixtieths that no window reaches any more.
func prune(ctx context.Context, q db.Querier, now time.Time) error {
	for p := range periods {
		if _, err := db.Exec(ctx, q, `DELETE FROM budget_buckets WHERE period = $1 AND bucket < $2`, p.String(), p.oldest(now)-1); err != nil {
			return fmt.Errorf("prune budgets: %w", err)
		}
	}
	return nil
}
