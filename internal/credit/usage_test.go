package credit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

// spend settles calls at a moment.
func spend(t testing.TB, s *db.Store, c *credit.Service, account, service string, at time.Time, charges ...int64) []id.Raw {
	t.Helper()
	var ids []id.Raw
	var group []*credit.Settlement
	for _, n := range charges {
		hold := testkit.Must(c.Hold(context.Background(), account, n))(t)
		raw := id.NewRaw()
		ids = append(ids, raw)
		group = append(group, &credit.Settlement{Account: account, Hold: hold, Charge: n, Settled: true, CallID: raw, Service: service, Price: n, At: at})
	}
	testkit.Must0(t, settle(s, c, group...))
	return ids
}

func TestUsage(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		c := credit.New(s, time.Now)
		a, other := open(t, s, c, 0, 1000), open(t, s, c, 0, 1000)
		day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
		spend(t, s, c, a.ID, "svc_a", day(1).Add(23*time.Hour+59*time.Minute+59999*time.Millisecond), 3, 4)
		spend(t, s, c, a.ID, "svc_a", day(2), 5)
		spend(t, s, c, a.ID, "svc_b", day(2), 1, 0)
		spend(t, s, c, other.ID, "svc_a", day(2), 100)
		all := []credit.UsageDay{{"svc_a", day(1), 2, 7}, {"svc_a", day(2), 1, 5}, {"svc_b", day(2), 2, 1}}
		usage := func(t *testing.T, f credit.UsageFilter, want ...credit.UsageDay) {
			t.Helper()
			f.Organization = a.Organization
			got := testkit.Must(c.Usage(ctx, f))(t)
			if len(got) != len(want) || len(want) > 0 {
				testkit.Equal(t, got, want)
			}
		}
		t.Run("days are sums of the ledger, of one's own organization", func(t *testing.T) {
			usage(t, credit.UsageFilter{From: day(1), Until: day(31)}, all...)
			usage(t, credit.UsageFilter{From: day(2).Add(time.Hour), Until: day(2)}, all[1:]...)
			usage(t, credit.UsageFilter{From: day(1), Until: day(31), Service: "svc_b"}, all[2])
			usage(t, credit.UsageFilter{From: day(1), Until: day(31), Account: other.ID})
		})
		t.Run("a new call is in it at once, and nothing is counted twice", func(t *testing.T) {
			spend(t, s, c, a.ID, "svc_b", day(3), 2)
			all = append(all, credit.UsageDay{"svc_b", day(3), 1, 2})
			for range 3 {
				usage(t, credit.UsageFilter{From: day(1), Until: day(31)}, all...)
			}
		})
		t.Run("many who ask at once do not count twice either", func(t *testing.T) {
			spend(t, s, c, a.ID, "svc_b", day(4), 1, 1, 1)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := c.Fold(ctx, ""); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			usage(t, credit.UsageFilter{From: day(1), Until: day(31)}, append(all, credit.UsageDay{"svc_b", day(4), 3, 3})...)
		})
		t.Run("asking for nobody's is a mistake", func(t *testing.T) {
			if _, err := c.Usage(ctx, credit.UsageFilter{}); err == nil {
				t.Error("no error")
			}
		})
	})
}
