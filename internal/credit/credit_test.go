package credit_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

// organization makes the rows an account hangs on.
func organization(t testing.TB, s *db.Store) string {
	t.Helper()
	org := id.New("org")
	testkit.Must0(t, s.Tx(context.Background(), func(tx *db.Tx) error {
		for _, q := range []string{
			`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_' || $1, $1, 'T', 0)`,
			`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_' || $1, $1, 'P', 1, 1, 0, '[]', 0)`,
			`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_' || $1, $1, 'O', TRUE, 'plan_' || $1, 'off', 0)`,
		} {
			if _, err := db.Exec(context.Background(), tx, q, org); err != nil {
				return err
			}
		}
		return nil
	}))
	return org
}

func open(t testing.TB, s *db.Store, c *credit.Service, monthly, purchased int64) credit.Account {
	t.Helper()
	org := organization(t, s)
	var a credit.Account
	testkit.Must0(t, s.Tx(context.Background(), func(tx *db.Tx) (err error) {
		a, err = c.Open(context.Background(), tx, credit.Spec{Organization: org, Monthly: monthly, Purchased: purchased, Allocation: monthly, Tier: "free"})
		return err
	}))
	return a
}

// settle ends holds in one transaction of the fast lane, as the group writer does.
func settle(s *db.Store, c *credit.Service, group ...*credit.Settlement) error {
	err := s.Fast(context.Background(), func(f *db.Fast) error { return c.Settle(f, group) })
	for _, st := range group {
		if err == nil {
			st.Ended()
		} else {
			st.Hold.Release()
		}
	}
	return err
}

func charge(a credit.Account, h credit.Hold, n int64) *credit.Settlement {
	return &credit.Settlement{Account: a.ID, Hold: h, Charge: n, Settled: true, CallID: id.NewRaw(), Price: n, At: time.Now()}
}

// audit checks the invariant: Σ entries = balance ≥ 0, and each entry starts
// where the one before it ended.
func audit(t testing.TB, c *credit.Service, account string) credit.Account {
	t.Helper()
	a := testkit.Must(c.Get(context.Background(), account))(t)
	entries := testkit.Must(c.Entries(context.Background(), account, 1_000_000, 0))(t)
	var sum, monthly int64
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if e.Before != sum || e.After != sum+e.Amount || e.Seq != int64(len(entries)-i) {
			t.Fatalf("entry %d does not follow: %+v after %d", e.Seq, e, sum)
		}
		sum, monthly = e.After, monthly+e.MonthlyAmount
	}
	if sum != a.Balance() || monthly != a.Monthly || a.Monthly < 0 || a.Purchased < 0 || a.Seq != int64(len(entries)) {
		t.Fatalf("entries say %d (%d monthly), the account %+v", sum, monthly, a)
	}
	return a
}

func TestHold(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		t.Run("parallel calls never spend more than there is", func(t *testing.T) {
			c := credit.New(s, time.Now)
			for range 20 {
				a := open(t, s, c, 0, 100)
				var ok, short atomic.Int64
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						h, err := c.Hold(ctx, a.ID, 60)
						switch {
						case err == nil:
							ok.Add(1)
							if err := settle(s, c, charge(a, h, 60)); err != nil {
								t.Error(err)
							}
						case errors.Is(err, credit.ErrInsufficient):
							short.Add(1)
						default:
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if got := audit(t, c, a.ID); ok.Load() != 1 || short.Load() != 49 || got.Balance() != 40 {
					t.Fatalf("%d calls went through, %d refused, balance %d", ok.Load(), short.Load(), got.Balance())
				}
			}
		})
		t.Run("a released hold can be spent again, and a refusal names price and balance", func(t *testing.T) {
			c := credit.New(s, time.Now)
			a := open(t, s, c, 0, 10)
			h := testkit.Must(c.Hold(ctx, a.ID, 10))(t)
			_, err := c.Hold(ctx, a.ID, 1)
			testkit.Fault(t, err, "credit.insufficient")
			h.Release()
			h.Release()
			h = testkit.Must(c.Hold(ctx, a.ID, 10))(t)
			testkit.Must0(t, settle(s, c, charge(a, h, 10)))
			_, err = c.Hold(ctx, a.ID, 1)
			testkit.Fault(t, err, "credit.insufficient")
			audit(t, c, a.ID)
		})
		t.Run("two replicas share one account without overspending", func(t *testing.T) {
			if s.Engine() == db.SQLite {
				return // one process owns the file
			}
			one, two := credit.New(s, time.Now), credit.New(s, time.Now)
			a := open(t, s, one, 0, 1000)
			var spent atomic.Int64
			var wg sync.WaitGroup
			for i := range 8 {
				c := []*credit.Service{one, two}[i%2]
				wg.Go(func() {
					for range 200 {
						h, err := c.Hold(ctx, a.ID, 3)
						if err != nil {
							continue
						}
						if err := settle(s, c, charge(a, h, 3)); err != nil {
							t.Error(err)
							return
						}
						spent.Add(3)
					}
				})
			}
			wg.Wait()
			got := audit(t, one, a.ID)
			if got.Balance() != 1000-spent.Load() {
				t.Fatalf("spent %d, balance %d", spent.Load(), got.Balance())
			}
			testkit.Must0(t, one.Return(ctx, 0))
			testkit.Must0(t, two.Return(ctx, 0))
			if got = audit(t, one, a.ID); got.Leased != 0 {
				t.Fatalf("%d still leased", got.Leased)
			}
		})
		t.Run("the lease of a dead replica ends with its deadline", func(t *testing.T) {
			now := time.Now()
			clock := func() time.Time { return now }
			dead, alive := credit.New(s, clock), credit.New(s, clock)
			a := open(t, s, dead, 0, 100)
			testkit.Must(dead.Hold(ctx, a.ID, 100))(t)
			_, err := alive.Hold(ctx, a.ID, 60)
			testkit.Fault(t, err, "credit.insufficient")
			now = now.Add(time.Minute)
			testkit.Must(alive.Recover(ctx))(t)
			h := testkit.Must(alive.Hold(ctx, a.ID, 60))(t)
			testkit.Must0(t, settle(s, alive, charge(a, h, 60)))
			audit(t, alive, a.ID)
		})
	})
}

func TestPost(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		post := func(c *credit.Service, p credit.Posting) error {
			return s.Tx(ctx, func(tx *db.Tx) error { _, err := c.Post(ctx, tx, p); return err })
		}
		t.Run("a key is spent once, whoever comes", func(t *testing.T) {
			c := credit.New(s, time.Now)
			a := open(t, s, c, 0, 1)
			var ok atomic.Int64
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					switch err := post(c, credit.Posting{Account: a.ID, Type: credit.TypePurchase, Amount: 5, ReferenceType: "payment", Key: "pay:" + a.ID}); {
					case err == nil:
						ok.Add(1)
					case !errors.Is(err, credit.ErrRepeated):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := audit(t, c, a.ID); ok.Load() != 1 || got.Balance() != 6 {
				t.Fatalf("%d grants, balance %d", ok.Load(), got.Balance())
			}
		})
		t.Run("nothing goes below zero or into what is held", func(t *testing.T) {
			c := credit.New(s, time.Now)
			a := open(t, s, c, 0, 10)
			testkit.Fault(t, post(c, credit.Posting{Account: a.ID, Type: credit.TypeAdjustment, Amount: -11, ReferenceType: "operator"}), "credit.insufficient")
			h := testkit.Must(c.Hold(ctx, a.ID, 4))(t)
			testkit.Must0(t, c.Recall(ctx, a.ID))
			testkit.Fault(t, post(c, credit.Posting{Account: a.ID, Type: credit.TypeAdjustment, Amount: -7, ReferenceType: "operator"}), "credit.in_use")
			testkit.Must0(t, post(c, credit.Posting{Account: a.ID, Type: credit.TypeAdjustment, Amount: -6, ReferenceType: "operator"}))
			testkit.Must0(t, settle(s, c, charge(a, h, 4)))
			if got := audit(t, c, a.ID); got.Balance() != 0 {
				t.Fatalf("balance %d", got.Balance())
			}
			for _, n := range []int64{0, 1 << 62, -1 << 62} {
				testkit.Fault(t, post(c, credit.Posting{Account: a.ID, Type: credit.TypeGrant, Amount: n, ReferenceType: "operator"}), "credit.amount")
			}
		})
		t.Run("the month is granted once, the old one expires, bought credits stay", func(t *testing.T) {
			now := time.Date(2027, 1, 31, 23, 59, 0, 0, time.UTC)
			c := credit.New(s, func() time.Time { return now })
			a := open(t, s, c, 50, 7)
			h := testkit.Must(c.Hold(ctx, a.ID, 20))(t)
			testkit.Must0(t, settle(s, c, charge(a, h, 20)))
			for _, step := range []struct {
				after            time.Duration
				monthly, bought_ int64
			}{{0, 30, 7}, {2 * time.Minute, 50, 7}, {0, 50, 7}, {-2 * time.Hour, 50, 7}, {28 * 24 * time.Hour, 50, 7}} {
				now = now.Add(step.after)
				testkit.Must(c.GrantMonth(ctx))(t)
				if got := audit(t, c, a.ID); got.Monthly != step.monthly || got.Purchased != step.bought_ {
					t.Fatalf("at %s: %d monthly, %d purchased", now, got.Monthly, got.Purchased)
				}
			}
			keys := testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM entry_keys WHERE account_id = $1`, a.ID))(t)
			if keys != 2 {
				t.Fatalf("%d months were granted, want 2 (January, February)", keys)
			}
		})
	})
}

// TestLedgerProperties runs random histories of everything that moves credits.
func TestLedgerProperties(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		rapid.Check(t, func(r *rapid.T) {
			c := credit.New(s, time.Now)
			a := open(t, s, c, 20, 30)
			want, held := int64(50), int64(0)
			var holds []credit.Hold
			for range rapid.IntRange(1, 60).Draw(r, "steps") {
				n := rapid.Int64Range(1, 25).Draw(r, "n")
				switch rapid.IntRange(0, 4).Draw(r, "what") {
				case 0, 1:
					h, err := c.Hold(context.Background(), a.ID, n)
					if fits := want-held >= n; fits != (err == nil) {
						r.Fatalf("hold of %d with %d free: %v", n, want-held, err)
					}
					if err == nil {
						holds, held = append(holds, h), held+n
					}
				case 2:
					if len(holds) == 0 {
						continue
					}
					i := rapid.IntRange(0, len(holds)-1).Draw(r, "which")
					h := holds[i]
					holds = append(holds[:i], holds[i+1:]...)
					held -= h.Amount()
					take := rapid.Int64Range(0, h.Amount()).Draw(r, "take")
					st := charge(a, h, take)
					st.Settled = rapid.Bool().Draw(r, "settled")
					if st.Settled {
						want -= take
					}
					testkit.Must0(t, settle(s, c, st))
				case 3:
					err := s.Tx(context.Background(), func(tx *db.Tx) error {
						_, err := c.Post(context.Background(), tx, credit.Posting{Account: a.ID, Type: credit.TypeGrant, Amount: n, ReferenceType: "test"})
						return err
					})
					testkit.Must0(t, err)
					want += n
				case 4:
					testkit.Must0(t, c.Return(context.Background(), 0))
				}
			}
			for i := range holds {
				holds[i].Release()
			}
			testkit.Must0(t, c.Return(context.Background(), 0))
			if got := audit(t, c, a.ID); got.Balance() != want || got.Leased != 0 {
				r.Fatalf("balance %d, leased %d, want %d", got.Balance(), got.Leased, want)
			}
		})
	})
}

// TestAway shows what becomes of a replica that could not renew its leases in
// time, because it or the store stood still: what it held is not its own any
// more, and nobody overspends.
func TestAway(t *testing.T) {
	s := testkit.Postgres(t) // SQLite has one process
	ctx := t.Context()
	now := time.Now()
	clock := func() time.Time { return now }
	away, other := credit.New(s, clock), credit.New(s, clock)
	a := open(t, s, away, 0, 100)
	inFlight := testkit.Must(away.Hold(ctx, a.ID, 30))(t)
	late := testkit.Must(away.Hold(ctx, a.ID, 30))(t)
	now = now.Add(time.Minute)
	testkit.Must(other.Recover(ctx))(t)
	others := testkit.Must(other.Hold(ctx, a.ID, 60))(t)

	t.Run("an answered call is still charged where there is enough", func(t *testing.T) {
		testkit.Must0(t, settle(s, away, charge(a, inFlight, 30)))
	})
	t.Run("and refused where it would spend what another replica holds", func(t *testing.T) {
		if err := settle(s, away, charge(a, late, 30)); err == nil {
			t.Fatal("60 of 70 are held elsewhere, and 30 were taken")
		}
	})
	t.Run("its purse is forgotten, and new calls ask the store", func(t *testing.T) {
		testkit.Must0(t, away.Tend(ctx))
		_, err := away.Hold(ctx, a.ID, 11)
		testkit.Fault(t, err, "credit.insufficient")
		h := testkit.Must(away.Hold(ctx, a.ID, 10))(t)
		testkit.Must0(t, settle(s, away, charge(a, h, 10)))
	})
	t.Run("what the other one held is whole", func(t *testing.T) {
		testkit.Must0(t, settle(s, other, charge(a, others, 60)))
		testkit.Must0(t, errors.Join(away.Return(ctx, 0), other.Return(ctx, 0)))
		if got := audit(t, other, a.ID); got.Balance() != 0 || got.Leased != 0 {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestAwayAlone: giving back a lease that was freed takes nothing from others.
func TestAwayAlone(t *testing.T) {
	s := testkit.Postgres(t)
	ctx := t.Context()
	now := time.Now()
	clock := func() time.Time { return now }
	away, other := credit.New(s, clock), credit.New(s, clock)
	a := open(t, s, away, 0, 100)
	h := testkit.Must(away.Hold(ctx, a.ID, 1))(t)
	h.Release()
	now = now.Add(time.Minute)
	testkit.Must(other.Recover(ctx))(t)
	testkit.Must(other.Hold(ctx, a.ID, 100))(t)
	testkit.Must0(t, away.Return(ctx, 0))
	if got := audit(t, other, a.ID); got.Leased != 100 {
		t.Fatalf("%d are leased, 100 are held", got.Leased)
	}
}

// TestRunGoesOn: a store that fails for a while does not end the tending of leases.
func TestRunGoesOn(t *testing.T) {
	path := testkit.SQLitePath(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := testkit.Must(db.Open(ctx, path, db.Options{}))(t)
		defer s.Close()
		c := credit.New(s, time.Now)
		a := open(t, s, c, 0, 100)
		h := testkit.Must(c.Hold(ctx, a.ID, 1))(t)
		h.Release()
		var ran sync.WaitGroup
		ran.Go(func() {
			if err := c.Run(ctx, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
		testkit.Must(db.Exec(ctx, s, `ALTER TABLE accounts RENAME TO away`))(t)
		time.Sleep(time.Minute)
		testkit.Must(db.Exec(ctx, s, `ALTER TABLE away RENAME TO accounts`))(t)
		time.Sleep(time.Minute)
		if got := testkit.Must(c.Get(ctx, a.ID))(t); got.Leased != 0 {
			t.Errorf("%d are still leased: nobody tends them", got.Leased)
		}
		stop()
		ran.Wait()
	})
}
