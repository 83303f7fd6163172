package credit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
)

// GrantKey is the key of a month's grant: one per account and calendar month
// (UTC), so that no clock, crash or second replica can grant twice.
func GrantKey(account string, at time.Time) string {
	return "monthly:" + account + ":" + at.UTC().Format("2006-01")
}

// NextGrant returns the first of the next month, UTC.
func NextGrant(at time.Time) time.Time {
	y, m, _ := at.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}

// GrantMonth gives every active account with an allocation this month's
// credits, once, and lets what was left of the last month expire. It returns
// how many accounts it granted.
func (s *Service) GrantMonth(ctx context.Context) (int, error) {
	due, err := db.All(ctx, s.store, func(v *string) []any { return []any{v} },
		`SELECT a.id FROM accounts a WHERE a.allocation > 0 AND a.active AND NOT EXISTS (SELECT 1 FROM entry_keys k WHERE k.key = 'monthly:' || a.id || ':' || $1) ORDER BY a.id`,
		s.now().UTC().Format("2006-01"))
	if err != nil {
		return 0, fmt.Errorf("find accounts due: %w", err)
	}
	granted := 0
	for _, account := range due {
		did, err := s.grantOne(ctx, account)
		if err != nil {
			return granted, fmt.Errorf("grant %s: %w", account, err)
		}
		if did {
			granted++
		}
	}
	return granted, nil
}

func (s *Service) grantOne(ctx context.Context, account string) (bool, error) {
	if err := s.Recall(ctx, account); err != nil {
		return false, err
	}
	did := false
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		did = false
		a, err := s.get(ctx, tx, account)
		if err != nil {
			return err
		}
		_, err = s.Post(ctx, tx, Posting{Account: account, Type: TypeMonthlyRefill, Amount: a.Allocation, Monthly: true, ReferenceType: "system", Key: GrantKey(account, s.now())})
		if errors.Is(err, ErrRepeated) {
			return nil
		}
		if err != nil {
			return err
		}
		did = true
		// What is set aside for calls in flight stays; it is spent or expires next month.
		left := min(a.Monthly, a.Balance()-a.Leased)
		if left <= 0 {
			return nil
		}
		_, err = s.Post(ctx, tx, Posting{Account: account, Type: TypeMonthlyExpiry, Amount: -left, Monthly: true, ReferenceType: "system"})
		return err
	})
	return did, err
}
