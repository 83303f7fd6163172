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
	// Every column, in the order of the table: else SQLite copies each row into it.
	writeEntry = db.PrepareInsert(`INSERT INTO entries (account_id, seq, type, amount, monthly_amount, balance_before, balance_after, reference_type, reference_id, call_id, service_id, price, description, created_by, created_at)`,
		`($1,$2,'usage',$3,$4,$5,$6,'tool_call',NULL,$7,$8,$9,NULL,$10,$11)`)
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
	// All accounts are read before the first entry is written, so that the
	// entries of all together make few statements.
	var payers []payer
	for len(group) > 0 {
		n := 1
		for n < len(group) && group[n].Account == group[0].Account {
			n++
		}
		if group[0].Account != "" {
			p := payer{account: group[0].Account, group: group[:n]}
			if err := s.readPayer(f, &p); err != nil {
				return err
			}
			payers = append(payers, p)
		}
		group = group[n:]
	}
	for i := range payers {
		if err := payers[i].enter(f); err != nil {
			return err
		}
	}
	for i := range payers {
		if err := s.movePayer(f, &payers[i]); err != nil {
			return err
		}
	}
	return nil
}

// payer is an account and what a group of calls does to it.
type payer struct {
	account                       any // its id, a string; boxed once for all entries
	group                         []*Settlement
	monthly, purchased, seq, used int64
}

// readPayer reads where the account stands and on PostgreSQL locks it.
func (s *Service) readPayer(f *db.Fast, p *payer) error {
	read := readAccount
	if s.store.Engine() == db.PostgreSQL {
		read = lockAccount
	}
	found := false
	err := f.Each(read, func(v []driver.Value) error {
		p.monthly, p.purchased, p.seq, found = v[0].(int64), v[1].(int64), v[2].(int64), true
		return nil
	}, p.account)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if !found {
		return errNoneSettle
	}
	return nil
}

// enter writes the entries, each of which follows the one before.
func (p *payer) enter(f *db.Fast) error {
	for _, st := range p.group {
		if !st.Settled {
			continue
		}
		before := p.monthly + p.purchased
		if st.Charge > before {
			return errNoBalance
		}
		m := min(p.monthly, st.Charge)
		p.monthly, p.purchased, p.seq, p.used = p.monthly-m, p.purchased-(st.Charge-m), p.seq+1, p.used+st.Charge
		if err := f.Insert(writeEntry, p.account, p.seq, -st.Charge, -m, before, before-st.Charge, st.CallID[:], db.Null(st.Service), st.Price, db.Null(st.By), st.At.UnixMilli()); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	return nil
}

// movePayer brings the account to where its entries end.
func (s *Service) movePayer(f *db.Fast, p *payer) error {
	st, args := moveAccount, []any{p.account, p.monthly, p.purchased, p.seq, p.used, int64(len(p.group))}
	if s.store.Engine() == db.PostgreSQL {
		st, args = moveLeased, append(args, s.replica)
	}
	if err := f.Queue(st, 1, args...); err != nil {
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
