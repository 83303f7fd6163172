package credit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
)

const dayMillis = 24 * 60 * 60 * 1000

// UsageFilter selects days of use. Organization must be set; the days are UTC.
type UsageFilter struct {
	Organization string
	Account      string    // "": all that pay in the organization
	Service      string    // "": all
	From, Until  time.Time // the days From..Until, both inside
}

// UsageDay is what calls of one service took on one day. Calls that were not
// charged because a server or Headgate failed are not among them.
type UsageDay struct {
	Service string
	Day     time.Time // its beginning, UTC
	Calls   int64
	Credits int64
}

// Usage returns use per service and day, oldest first. It folds the newest
// entries of the ledger first, so that it is never late, and reads sums: its
// cost does not grow with the number of calls ever made.
func (s *Service) Usage(ctx context.Context, f UsageFilter) ([]UsageDay, error) {
	if f.Organization == "" {
		return nil, errors.New("usage: whose?")
	}
	if err := s.Fold(ctx, f.Organization); err != nil {
		return nil, err
	}
	days, err := db.All(ctx, s.store, func(d *UsageDay) []any { return []any{&d.Service, (*day)(&d.Day), &d.Calls, &d.Credits} },
		`SELECT service_id, day, CAST(SUM(calls) AS BIGINT), CAST(SUM(credits) AS BIGINT) FROM usage_days
		WHERE organization_id = $1 AND day >= $2 AND day <= $3 AND ($4 = '' OR service_id = $4) AND ($5 = '' OR account_id = $5)
		GROUP BY service_id, day ORDER BY day, service_id`, f.Organization, dayOf(f.From), dayOf(f.Until), f.Service, f.Account)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return days, nil
}

func dayOf(t time.Time) int64 { return t.UnixMilli() / dayMillis }

// day scans a number of days since 1970.
type day time.Time

// Scan implements sql.Scanner.
func (d *day) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a day column holds %T", src)
	}
	*d = day(time.UnixMilli(n * dayMillis).UTC())
	return nil
}

// foldStep bounds how many entries one transaction sums up.
const foldStep = 20_000

// Fold adds the entries written since the last time to the sums of their days,
// for one organization or, when it is "", for all. Entries never change, so
// only the step forward needs a transaction, and a short one.
func (s *Service) Fold(ctx context.Context, organization string) error {
	due, err := db.All(ctx, s.store, func(a *folding) []any { return []any{&a.account, &a.organization, &a.seq, &a.folded} },
		`SELECT id, organization_id, seq, folded_seq FROM accounts WHERE seq > folded_seq AND ($1 = '' OR organization_id = $1) ORDER BY id`, organization)
	if err != nil {
		return fmt.Errorf("fold usage: %w", err)
	}
	for _, a := range due {
		for a.folded < a.seq {
			next := min(a.seq, a.folded+foldStep)
			won, err := s.foldOne(ctx, a, next)
			if err != nil {
				return fmt.Errorf("fold usage of %s: %w", a.account, err)
			}
			if !won {
				break // somebody else folds this account
			}
			a.folded = next
		}
	}
	return nil
}

type folding struct {
	account, organization string
	seq, folded           int64
}

func (s *Service) foldOne(ctx context.Context, a folding, until int64) (won bool, err error) {
	days, err := db.All(ctx, s.store, func(d *UsageDay) []any { return []any{&d.Service, (*day)(&d.Day), &d.Calls, &d.Credits} },
		`SELECT COALESCE(service_id, ''), created_at / 86400000, COUNT(*), CAST(SUM(-amount) AS BIGINT) FROM entries
		WHERE account_id = $1 AND seq > $2 AND seq <= $3 AND type = 'usage' GROUP BY 1, 2 ORDER BY 2, 1`, a.account, a.folded, until)
	if err != nil {
		return false, err
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE accounts SET folded_seq = $3 WHERE id = $1 AND folded_seq = $2`, a.account, a.folded, until)
		if won = n == 1; err != nil || !won {
			return err
		}
		for _, d := range days {
			if _, err := db.Exec(ctx, tx, `INSERT INTO usage_days (organization_id, account_id, service_id, day, calls, credits) VALUES ($1,$2,$3,$4,$5,$6)
				ON CONFLICT (organization_id, day, service_id, account_id) DO UPDATE SET calls = usage_days.calls + excluded.calls, credits = usage_days.credits + excluded.credits`,
				a.organization, a.account, d.Service, dayOf(d.Day), d.Calls, d.Credits); err != nil {
				return err
			}
		}
		return nil
	})
	return won, err
}
