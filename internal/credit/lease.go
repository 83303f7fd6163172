package credit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/db"
)

const (
	leaseFor  = 15 * time.Second // a replica that stops renewing loses its leases after this
	tendEvery = 5 * time.Second
	leaseIdle = 10 * time.Second // an account nobody calls gets its lease back after this
)

// purse is what this replica may spend of one account without asking the
// store: free is leased and not held.
type purse struct {
	account string
	free    atomic.Int64
	used    atomic.Int64 // unix milliseconds of the last hold
	changes atomic.Int64 // of the account, by anybody
	seen    atomic.Int64 // how many of them the last look at it saw
	mu      sync.Mutex   // one trip to the store at a time
}

// changed reports whether the account must be looked at before the next hold.
func (p *purse) changed() bool { return p.seen.Load() != p.changes.Load() }

func (p *purse) take(n int64) bool {
	for {
		f := p.free.Load()
		if f < n {
			return false
		}
		if p.free.CompareAndSwap(f, f-n) {
			return true
		}
	}
}

// Hold is credits set aside for one call. Exactly one of Release and the
// settlement that carries it ends it.
type Hold struct {
	purse  *purse
	amount int64
}

// Amount returns what is set aside.
func (h *Hold) Amount() int64 { return h.amount }

// Release voids the hold: the credits are free again. Safe on a zero Hold and
// when called twice.
func (h *Hold) Release() { h.end(0) }

// end gives back what was not charged.
func (h *Hold) end(charged int64) {
	if h.purse != nil {
		h.purse.free.Add(h.amount - charged)
		h.purse = nil
	}
}

// Hold sets amount aside on the account, or returns ErrInsufficient with the
// balance and the price in its details. It asks the store only when the lease
// is used up.
func (s *Service) Hold(ctx context.Context, account string, amount int64) (Hold, error) {
	if amount == 0 {
		return Hold{}, nil
	}
	if amount < 0 || amount > MaxAmount {
		return Hold{}, ErrAmount
	}
	v, ok := s.purses.Load(account)
	if !ok {
		v, _ = s.purses.LoadOrStore(account, &purse{account: account})
	}
	p := v.(*purse)
	if p.changed() || !p.take(amount) {
		if err := s.refill(ctx, p, amount); err != nil {
			return Hold{}, err
		}
	}
	p.used.Store(s.now().UnixMilli())
	return Hold{p, amount}, nil
}

// refill looks at the account, leases more of it when amount is missing, and
// takes amount.
func (s *Service) refill(ctx context.Context, p *purse, amount int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	changes := p.changes.Load()
	if !p.changed() && p.take(amount) {
		return nil
	}
	var a Account
	var got int64
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		a, err = db.One(ctx, tx, (*Account).fields, `UPDATE accounts SET seq = seq WHERE id = $1 RETURNING `+accountColumns, p.account)
		if errors.Is(err, db.ErrNone) {
			return ErrNoAccount
		}
		if err != nil {
			return fmt.Errorf("read account: %w", err)
		}
		if !a.Active {
			return ErrInactive
		}
		if got = s.share(a.Balance()-a.Leased, amount-p.free.Load()); got == 0 {
			return nil
		}
		return s.lease(ctx, tx, p.account, got)
	})
	if err != nil {
		return err
	}
	p.seen.Store(changes)
	p.free.Add(got)
	if !p.take(amount) {
		return ErrInsufficient.Saying("This call costs %d credits and the account has %d. Buy credits, or wait for the monthly grant on the first.", amount, a.Balance()).
			With("price", amount).With("balance", a.Balance())
	}
	return nil
}

// share says how much of what is available to lease when need is missing. The
// only replica takes all; one of many leaves the others their part, but never
// less than it needs when that is there.
func (s *Service) share(available, need int64) int64 {
	if need <= 0 || available < need {
		return 0
	}
	if s.store.Engine() == db.SQLite {
		return available
	}
	return max(need, min(available/4, need*512))
}

func (s *Service) lease(ctx context.Context, tx *db.Tx, account string, n int64) error {
	if _, err := db.Exec(ctx, tx, `UPDATE accounts SET leased = leased + $2 WHERE id = $1`, account, n); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if s.store.Engine() == db.SQLite {
		return nil // one process: Recover frees everything at the next start
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO leases (account_id, replica, amount, deadline) VALUES ($1,$2,$3,$4)
		ON CONFLICT (account_id, replica) DO UPDATE SET amount = leases.amount + excluded.amount, deadline = excluded.deadline`,
		account, s.replica, n, s.now().Add(leaseFor).UnixMilli())
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// Recover frees every lease at the start of the only process (SQLite): holds
// of a crashed run belong to calls whose callers got no answer. On PostgreSQL
// it frees leases past their deadline. It returns how many credits it freed.
func (s *Service) Recover(ctx context.Context) (int64, error) {
	if s.store.Engine() == db.PostgreSQL {
		return s.reap(ctx)
	}
	var freed int64
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		if freed, err = db.Value[int64](ctx, tx, `SELECT COALESCE(SUM(leased), 0) FROM accounts`); err != nil {
			return err
		}
		_, err = db.Exec(ctx, tx, `UPDATE accounts SET leased = 0 WHERE leased <> 0`)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("free leases: %w", err)
	}
	return freed, nil
}

// reap frees leases past their deadline. As everywhere, the account is locked
// before its lease, so that nobody waits for each other.
func (s *Service) reap(ctx context.Context) (freed int64, err error) {
	now := s.now().UnixMilli()
	dead, err := db.All(ctx, s.store, func(l *deadLease) []any { return []any{&l.account, &l.replica} },
		`SELECT account_id, replica FROM leases WHERE deadline < $1`, now)
	if err != nil {
		return 0, fmt.Errorf("find dead leases: %w", err)
	}
	for _, l := range dead {
		var amount int64
		err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
			if _, err = db.Exec(ctx, tx, `UPDATE accounts SET seq = seq WHERE id = $1`, l.account); err != nil {
				return err
			}
			amount, err = db.Value[int64](ctx, tx, `DELETE FROM leases WHERE account_id = $1 AND replica = $2 AND deadline < $3 RETURNING amount`, l.account, l.replica, now)
			if errors.Is(err, db.ErrNone) {
				return nil // renewed, or freed by another replica
			}
			if err == nil {
				_, err = db.Exec(ctx, tx, `UPDATE accounts SET leased = leased - $2 WHERE id = $1`, l.account, amount)
			}
			return err
		})
		if err != nil {
			return freed, fmt.Errorf("free a dead lease: %w", err)
		}
		freed += amount
	}
	return freed, nil
}

type deadLease struct{ account, replica string }

// Run renews this replica's leases, returns idle ones and frees dead ones
// until ctx ends; then it returns them all.
func (s *Service) Run(ctx context.Context, log *slog.Logger) error {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return s.Return(end, 0)
		case <-t.C:
			if err := s.Tend(ctx); err != nil && ctx.Err() == nil {
				log.Warn("leases of credits could not be tended; they will be in a moment", "error", err)
			}
		}
	}
}

// Tend does once what Run does again and again.
func (s *Service) Tend(ctx context.Context) error {
	if s.store.Engine() == db.SQLite {
		return s.Return(ctx, leaseIdle)
	}
	renewed, err := db.All(ctx, s.store, func(l *lease) []any { return []any{&l.account, &l.amount} },
		`UPDATE leases SET deadline = $2 WHERE replica = $1 RETURNING account_id, amount`, s.replica, s.now().Add(leaseFor).UnixMilli())
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	_, err = s.reap(ctx)
	return errors.Join(err, s.forgetLost(ctx, renewed), s.Return(ctx, leaseIdle))
}

type lease struct {
	account string
	amount  int64
}

// forgetLost empties purses whose lease another replica has freed, because this
// one did not renew it in time: what they hold is not this replica's any more.
func (s *Service) forgetLost(ctx context.Context, renewed []lease) error {
	amounts := make(map[string]int64, len(renewed))
	for _, l := range renewed {
		amounts[l.account] = l.amount
	}
	var errs []error
	s.purses.Range(func(_, v any) bool {
		p := v.(*purse)
		if p.free.Load() > amounts[p.account] { // or it was refilled meanwhile: ask under its lock
			p.mu.Lock()
			errs = append(errs, s.fit(ctx, p))
			p.mu.Unlock()
		}
		return true
	})
	return errors.Join(errs...)
}

// fit makes what a purse offers no more than what is leased. The caller holds
// its lock, so that no refill comes between. What was lost and is held for
// calls in flight makes it negative until those end.
func (s *Service) fit(ctx context.Context, p *purse) error {
	leased, err := db.Value[int64](ctx, s.store, `SELECT amount FROM leases WHERE account_id = $1 AND replica = $2`, p.account, s.replica)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return fmt.Errorf("read lease: %w", err)
	}
	if over := p.free.Load() - leased; over > 0 {
		p.free.Add(-over)
	}
	return nil
}

// Return gives back what is free in purses nobody has used for idle.
func (s *Service) Return(ctx context.Context, idle time.Duration) error {
	var errs []error
	s.purses.Range(func(_, v any) bool {
		p := v.(*purse)
		if s.now().UnixMilli()-p.used.Load() >= idle.Milliseconds() {
			errs = append(errs, s.giveBack(ctx, p))
		}
		return true
	})
	return errors.Join(errs...)
}

// Recall gives back what is free of one account, so that its owner may take it out.
func (s *Service) Recall(ctx context.Context, account string) error {
	if p, ok := s.purses.Load(account); ok {
		return s.giveBack(ctx, p.(*purse))
	}
	return nil
}

func (s *Service) giveBack(ctx context.Context, p *purse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Load() == 0 {
		return nil
	}
	if s.store.Engine() == db.PostgreSQL {
		if err := s.fit(ctx, p); err != nil {
			return err
		}
	}
	n := p.free.Swap(0)
	if n <= 0 {
		p.free.Add(n)
		return nil
	}
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `UPDATE accounts SET leased = leased - $2 WHERE id = $1`, p.account, n); err != nil {
			return err
		}
		if s.store.Engine() == db.SQLite {
			return nil
		}
		changed, err := db.Exec(ctx, tx, `UPDATE leases SET amount = amount - $3 WHERE account_id = $1 AND replica = $2`, p.account, s.replica, n)
		if err == nil && changed == 0 {
			err = errLost // freed by another replica since fit
		}
		return err
	})
	if err != nil {
		p.free.Add(n) // a lost one is forgotten by the next fit
		return fmt.Errorf("return lease: %w", err)
	}
	return nil
}

var errLost = errors.New("the lease was freed by another replica")
