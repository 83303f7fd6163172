package call

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/journal"
	"headgate/internal/testkit"
)

// BenchmarkApply makes rows of journalled calls: an operation is one record, of
// which 320 are in a transaction, of as many accounts as the name says.
func BenchmarkApply(b *testing.B) {
	const group = 320
	for _, accounts := range []int{1, 4, 64} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			ctx, s := b.Context(), testkit.SQLite(b)
			testkit.Must0(b, s.Tx(ctx, func(tx *db.Tx) error {
				for _, q := range []string{
					`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten', 't', 'T', 0)`,
					`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan', 'p', 'P', 1, 1, 0, '[]', 0)`,
				} {
					if _, err := db.Exec(ctx, tx, q); err != nil {
						return err
					}
				}
				return nil
			}))
			credits := credit.New(s, time.Now)
			c := NewCommitter(s, credits, slog.New(slog.DiscardHandler))
			testkit.Must(c.Journalled(ctx, b.TempDir(), journal.ID{1}))(b)
			made := make([]Record, accounts)
			for i := range made {
				org := id.New("org")
				var a credit.Account
				testkit.Must0(b, s.Tx(ctx, func(tx *db.Tx) (err error) {
					if _, err = db.Exec(ctx, tx, `INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten', $1, 'O', FALSE, 'plan', 'off', 0)`, org); err == nil {
						a, err = credits.Open(ctx, tx, credit.Spec{Organization: org, Purchased: 1 << 49, Tier: "free"})
					}
					return err
				}))
				hold := testkit.Must(credits.Hold(ctx, a.ID, 1<<40))(b) // leases what all calls take
				hold.Release()
				made[i] = Record{
					Settlement: credit.Settlement{Account: a.ID, Settled: true, Charge: 1, Price: 1, Service: id.New("svc"), By: id.New("key")},
					Line: activity.Line{Organization: org, Account: a.ID, Workspace: id.New("ws"), Server: id.New("srv"), Principal: id.New("key"), User: id.New("user"),
						Door: "gateway", Operation: "tools/call", Name: "echo", Success: true, StatusCode: 200, Cost: 1, Charged: 1, CostMicros: 10_000,
						Duration: 300 * time.Microsecond, RequestBytes: 180, ResponseBytes: 160, IP: "127.0.0.1", UserAgent: "benchmark/1.0"},
				}
			}
			r := c.rows
			b.ReportAllocs()
			for left := b.N; left > 0; left -= group {
				now := time.Now()
				for i := range min(left, group) {
					rec := made[i%accounts]
					raw := id.NewRaw()
					rec.Settlement.CallID, rec.Settlement.At = raw, now
					rec.Line.ID, rec.Line.Service, rec.Line.CreatedAt = raw, rec.Settlement.Service, now
					r.waiting = append(r.waiting, rec)
				}
				r.last++
				testkit.Must0(b, r.apply(ctx))
			}
		})
	}
}
