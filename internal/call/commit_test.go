package call_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/call"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

func account(t testing.TB, s *db.Store, c *credit.Service, credits int64) credit.Account {
	t.Helper()
	ctx, org := context.Background(), id.New("org")
	var a credit.Account
	testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) (err error) {
		for _, q := range []string{
			`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_' || $1, $1, 'T', 0)`,
			`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_' || $1, $1, 'P', 1, 1, 0, '[]', 0)`,
			`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_' || $1, $1, 'O', TRUE, 'plan_' || $1, 'off', 0)`,
		} {
			if _, err = db.Exec(ctx, tx, q, org); err != nil {
				return err
			}
		}
		a, err = c.Open(ctx, tx, credit.Spec{Organization: org, Purchased: credits, Tier: "free"})
		return err
	}))
	return a
}

func record(a credit.Account, h credit.Hold, charge int64) *call.Record {
	raw := id.NewRaw()
	return &call.Record{
		Settlement: credit.Settlement{Account: a.ID, Hold: h, Charge: charge, Settled: true, CallID: raw, Price: charge, At: time.Now()},
		Line: activity.Line{Organization: a.Organization, ID: raw, Account: a.ID, Principal: "key_x", Door: "gateway", Operation: "tools/call", Name: "echo",
			Success: true, StatusCode: 200, Cost: charge, Charged: charge, CreatedAt: time.Now()},
	}
}

func TestCommitter(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		credits := credit.New(s, time.Now)
		c := call.NewCommitter(s, credits, slog.New(slog.DiscardHandler))
		t.Run("many callers, each line and entry once", func(t *testing.T) {
			a := account(t, s, credits, 100000)
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for range 20 {
						h, err := credits.Hold(ctx, a.ID, 2)
						if err == nil {
							err = c.Commit(record(a, h, 2))
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			lines := testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM calls c JOIN entries e ON e.call_id = c.id WHERE c.organization_id = $1 AND e.account_id = c.account_id`, a.Organization))(t)
			got := testkit.Must(credits.Get(ctx, a.ID))(t)
			if lines != 640 || got.Balance() != 100000-1280 || got.TotalCalls != 640 || got.TotalUsed != 1280 {
				t.Fatalf("%d lines, account %+v", lines, got)
			}
		})
		t.Run("one record that cannot be written fails alone and takes nothing", func(t *testing.T) {
			a := account(t, s, credits, 10)
			good := record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)
			bad := record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)
			bad.Line.ID = good.Line.ID // the log refuses it
			testkit.Must0(t, c.Commit(good))
			testkit.Fault(t, c.Commit(bad), "call.store")
			testkit.Must0(t, c.Ready()) // the store itself is well, and a probe finds it so
			got := testkit.Must(credits.Get(ctx, a.ID))(t)
			if got.Balance() != 9 {
				t.Fatalf("balance %d", got.Balance())
			}
			if h, err := credits.Hold(ctx, a.ID, 9); err != nil {
				t.Fatalf("the failed call's hold is lost: %v", err)
			} else {
				h.Release()
			}
		})
		t.Run("without an account the line alone is written", func(t *testing.T) {
			a := account(t, s, credits, 1)
			r := record(a, credit.Hold{}, 0)
			r.Settlement, r.Line.Account = credit.Settlement{}, ""
			testkit.Must0(t, c.Commit(r))
		})
	})
}

func BenchmarkCommit(b *testing.B) {
	s := testkit.SQLite(b)
	credits := credit.New(s, time.Now)
	c := call.NewCommitter(s, credits, slog.New(slog.DiscardHandler))
	a := account(b, s, credits, 1<<40)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := credits.Hold(context.Background(), a.ID, 1)
			if err == nil {
				err = c.Commit(record(a, h, 1))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
