package quota_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/quota"
	"headgate/internal/testkit"
)

func stored(t *testing.T, s *db.Store, organization, day string) int64 {
	t.Helper()
	at := testkit.Must(time.Parse(time.DateOnly, day))(t)
	return testkit.Must(db.Value[int64](t.Context(), s, `SELECT COALESCE(SUM(used), 0) FROM day_counts WHERE organization_id = $1 AND day = $2`, organization, at.Unix()/86400))(t)
}

func TestCount(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		c := newClock("2026-11-05T23:59:00Z")
		q := quota.New(s, c.Now, nil)
		t.Run("is exact however parallel, also while it is being written", func(t *testing.T) {
			var passed, refused atomic.Int64
			var wg, flusher sync.WaitGroup
			stop := make(chan struct{})
			flusher.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if err := q.Flush(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
			for range 16 {
				wg.Go(func() {
					for range 100 {
						switch err := q.Count(t.Context(), "org_1", 1000); fault.CodeOf(err) {
						case "":
							passed.Add(1)
						case "quota.requests_per_day":
							refused.Add(1)
						default:
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			close(stop)
			flusher.Wait()
			testkit.Equal(t, []int64{passed.Load(), refused.Load()}, []int64{1000, 600})
			testkit.Must0(t, q.Flush(t.Context()))
			testkit.Equal(t, stored(t, s, "org_1", "2026-11-05"), int64(1000))
		})
		t.Run("a refusal says what, how many and until when", func(t *testing.T) {
			f := fault.Of(q.Count(t.Context(), "org_1", 1000))
			testkit.Equal(t, f.Kind.Status(), 402)
			testkit.Equal(t, f.RetryAfter, time.Minute)
			testkit.Equal(t, f.Details, map[string]any{"feature": "requests_per_day", "limit": int64(1000), "used": int64(1000), "reset": "2026-11-06T00:00:00Z"})
		})
		t.Run("organizations do not share, zero refuses, unlimited counts", func(t *testing.T) {
			testkit.Must0(t, q.Count(t.Context(), "org_2", 1))
			testkit.Fault(t, q.Count(t.Context(), "org_3", 0), "quota.requests_per_day")
			for range 5 {
				testkit.Must0(t, q.Count(t.Context(), "org_3", quota.Unlimited))
			}
			used, _, err := q.Today(t.Context(), "org_3")
			testkit.Must0(t, err)
			testkit.Equal(t, used, int64(5))
		})
		t.Run("midnight UTC begins anew, and loses nothing of the day before", func(t *testing.T) {
			c.Advance(time.Minute - time.Millisecond)
			testkit.Fault(t, q.Count(t.Context(), "org_1", 1000), "quota.requests_per_day")
			c.Advance(time.Millisecond)
			testkit.Must0(t, q.Count(t.Context(), "org_1", 1000))
			testkit.Must0(t, q.Count(t.Context(), "org_3", 1000))
			used, reset, err := q.Today(t.Context(), "org_1")
			testkit.Must0(t, err)
			testkit.Equal(t, used, int64(1))
			testkit.Equal(t, reset.Format(time.RFC3339), "2026-11-07T00:00:00Z")
			testkit.Must0(t, q.Flush(t.Context()))
			testkit.Equal(t, []int64{stored(t, s, "org_1", "2026-11-05"), stored(t, s, "org_3", "2026-11-05"), stored(t, s, "org_3", "2026-11-06")}, []int64{1000, 5, 1})
		})
		t.Run("a restart goes on where the last process stopped", func(t *testing.T) {
			again := quota.New(s, c.Now, nil)
			testkit.Must0(t, again.Count(t.Context(), "org_1", 2))
			testkit.Fault(t, again.Count(t.Context(), "org_1", 2), "quota.requests_per_day")
		})
		t.Run("replicas learn of each other when they write", func(t *testing.T) {
			a, b := quota.New(s, c.Now, nil), quota.New(s, c.Now, nil)
			for _, q := range []*quota.Service{a, b} {
				for range 6 {
					testkit.Must0(t, q.Count(t.Context(), "org_4", 10))
				}
			}
			testkit.Must0(t, a.Flush(t.Context()))
			testkit.Must0(t, b.Flush(t.Context()))
			testkit.Fault(t, b.Count(t.Context(), "org_4", 10), "quota.requests_per_day")
		})
		t.Run("what could not be written is kept", func(t *testing.T) {
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			testkit.Must0(t, q.Count(t.Context(), "org_5", 10))
			if q.Flush(gone) == nil {
				t.Fatal("written with a dead context")
			}
			c.Advance(24 * time.Hour) // the day ends before the next attempt
			testkit.Must0(t, q.Count(t.Context(), "org_5", 10))
			if q.Flush(gone) == nil {
				t.Fatal("written with a dead context")
			}
			testkit.Must0(t, q.Flush(t.Context()))
			testkit.Equal(t, []int64{stored(t, s, "org_5", "2026-11-06"), stored(t, s, "org_5", "2026-11-07")}, []int64{1, 1})
		})
		t.Run("a counter forgotten overnight comes back", func(t *testing.T) {
			c.Advance(24 * time.Hour)
			testkit.Must0(t, q.Flush(t.Context()))
			testkit.Must0(t, q.Count(t.Context(), "org_5", 1))
			testkit.Fault(t, q.Count(t.Context(), "org_5", 1), "quota.requests_per_day")
		})
		t.Run("stopping writes what is left", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			testkit.Must0(t, q.Count(t.Context(), "org_6", 10))
			testkit.Must0(t, q.Run(ctx))
			testkit.Equal(t, stored(t, s, "org_6", c.Now().Format(time.DateOnly)), int64(1))
		})
	})
}

func BenchmarkCount(b *testing.B) {
	q := quota.New(testkit.SQLite(b), time.Now, nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Count(context.Background(), "org_1", 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}
