package budget

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"headgate/internal/db"
)

// Spend is what one settled call has cost.
type Spend struct {
	Workspace string
	At        time.Time
	Micros    int64
	Reserved  bool // out of this replica's lease
}

var (
	addBuckets = db.Prepare(`INSERT INTO budget_buckets (workspace_id, period, bucket, spent) VALUES ($1,'hourly',$2,$6),($1,'daily',$3,$6),($1,'weekly',$4,$6),($1,'monthly',$5,$6)
		ON CONFLICT (workspace_id, period, bucket) DO UPDATE SET spent = budget_buckets.spent + excluded.spent`)
	shrinkLease = db.Prepare(`UPDATE budget_leases SET amount = amount - $3 WHERE workspace_id = $1 AND replica = $2 AND amount >= $3`)
	// The only process never loses a lease but to a restart, whose journal is
	// written all the same.
	easeLease = db.Prepare(`UPDATE budget_leases SET amount = CASE WHEN amount > $3 THEN amount - $3 ELSE 0 END WHERE workspace_id = $1 AND replica = $2`)
)

// Settle writes what a group of calls has cost, in the group writer's
// transaction: out of the lease, into the windows. A lease that was lost fails
// the transaction. The holds are ended by their owner once it has committed.
func (s *Service) Settle(f *db.Fast, group []Spend) error {
	// Budgets are locked in order, so that two replicas cannot deadlock.
	slices.SortStableFunc(group, func(a, b Spend) int {
		if c := strings.Compare(a.Workspace, b.Workspace); c != 0 {
			return c
		}
		return a.At.Compare(b.At)
	})
	for len(group) > 0 {
		n, first := 1, group[0]
		total, reserved := first.Micros, int64(0)
		if first.Reserved {
			reserved = first.Micros
		}
		for n < len(group) && group[n].Workspace == first.Workspace && Hourly.bucket(group[n].At) == Hourly.bucket(first.At) {
			total += group[n].Micros
			if group[n].Reserved {
				reserved += group[n].Micros
			}
			n++
		}
		if err := s.settle(f, first.Workspace, first.At, total, reserved); err != nil {
			return fmt.Errorf("settle budget: %w", err)
		}
		group = group[n:]
	}
	return nil
}

func (s *Service) settle(f *db.Fast, ws string, at time.Time, total, reserved int64) error {
	if total == 0 {
		return nil
	}
	if err := f.Queue(addBuckets, -1, ws, Hourly.bucket(at), Daily.bucket(at), Weekly.bucket(at), Monthly.bucket(at), total); err != nil {
		return err
	}
	switch {
	case reserved == 0:
		return nil
	case s.Store.Engine() == db.SQLite:
		return f.Queue(easeLease, -1, ws, s.replica, reserved)
	}
	return f.Queue(shrinkLease, 1, ws, s.replica, reserved)
}
