package credit

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Settlement ends a hold in the group writer's transaction.
type Settlement struct {
	Account string
	Hold    Hold
	Charge  int64 // what to take, at most the hold
	Settled bool  // false: the call is void, nothing is taken, no entry is written
	CallID  id.Raw
	Service string
	Price   int64
	By      string
	At      time.Time
}

var (
	readAccount = db.Prepare(`SELECT monthly, purchased, seq FROM accounts WHERE id = $1`)
	lockAccount = db.Prepare(`SELECT monthly, purchased, seq FROM accounts WHERE id = $1 FOR UPDATE`)
	writeEntry  = db.PrepareInsert(`INSERT INTO entries (account_id, seq, type, amount, monthly_amount, balance_before, balance_after, reference_type, call_id, service_id, price, created_by, created_at)`, `($1,$2,'usage',$3,$4,$5,$6,'tool_call',$7,$8,$9,$10,$11)`)
	moveAccount = db.Prepare(`UPDATE accounts SET monthly = $2, purchased = $3, seq = $4, leased = leased - $5, total_used = total_used + $5, total_calls = total_calls + $6 WHERE id = $1`)
	// A replica that was away for longer than its lease settles from what nobody
	// has leased; when that is not enough, the account's CHECK refuses. The
	// account is locked by then, and with it every lease of it.
	moveLeased = db.Prepare(`WITH shrunk AS (
		UPDATE leases l SET amount = l.amount - LEAST(l.amount, $5) FROM (SELECT amount FROM leases WHERE account_id = $1 AND replica = $7) o
		WHERE l.account_id = $1 AND l.replica = $7 RETURNING LEAST(o.amount, $5) AS n)
		UPDATE accounts SET monthly = $2, purchased = $3, seq = $4, leased = leased - COALESCE((SELECT n FROM shrunk), 0), total_used = total_used + $5, total_calls = total_calls + $6 WHERE id = $1`)
	errNoBalance  = fmt.Errorf("settle: %w", ErrInsufficient)
	errNoneSettle = fmt.Errorf("settle: %w", ErrNoAccount)
)

// Settle writes the entries of a group of calls and moves their accounts, in
// the group writer's transaction. The holds are not ended here: once the
// transaction has committed the caller calls Ended for each, and when it has
// failed, Hold.Release.
func (s *Service) Settle(f *db.Fast, group []*Settlement) error {
	// Accounts are locked in order, so that two replicas cannot deadlock.
	slices.SortStableFunc(group, func(a, b *Settlement) int {
		switch {
		case a.Account < b.Account:
			return -1
		case a.Account > b.Account:
			return 1
		}
		return 0
	})
	for len(group) > 0 {
		n := 1
		for n < len(group) && group[n].Account == group[0].Account {
			n++
		}
		if group[0].Account != "" {
			if err := s.settleAccount(f, group[:n]); err != nil {
				return err
			}
		}
		group = group[n:]
	}
	return nil
}

func (s *Service) settleAccount(f *db.Fast, group []*Settlement) error {
	account := group[0].Account
	var monthly, purchased, seq int64
	found := false
	read := readAccount
	if s.store.Engine() == db.PostgreSQL {
		read = lockAccount
	}
	err := f.Each(read, func(v []driver.Value) error {
		monthly, purchased, seq, found = v[0].(int64), v[1].(int64), v[2].(int64), true
		return nil
	}, account)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if !found {
		return errNoneSettle
	}
	var taken int64
	for _, st := range group {
		if !st.Settled {
			continue
		}
		before := monthly + purchased
		if st.Charge > before {
			return errNoBalance
		}
		m := min(monthly, st.Charge)
		monthly, purchased, seq, taken = monthly-m, purchased-(st.Charge-m), seq+1, taken+st.Charge
		if err := f.Insert(writeEntry, account, seq, -st.Charge, -m, before, before-st.Charge, st.CallID[:], db.Null(st.Service), st.Price, db.Null(st.By), st.At.UnixMilli()); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	move, args := moveAccount, []any{account, monthly, purchased, seq, taken, int64(len(group))}
	if s.store.Engine() == db.PostgreSQL {
		move, args = moveLeased, append(args, s.replica)
	}
	if err := f.Queue(move, 1, args...); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

// Ended ends the hold of a settlement whose transaction has committed.
func (st *Settlement) Ended() {
	if st.Settled {
		st.Hold.end(st.Charge)
	} else {
		st.Hold.end(0)
	}
}
