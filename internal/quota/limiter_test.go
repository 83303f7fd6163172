package quota_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/quota"
	"headgate/internal/testkit"
)

// clock is a hand-set clock, safe for parallel use.
type clock struct{ ns atomic.Int64 }

func newClock(at string) *clock {
	c := &clock{}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		panic(err)
	}
	c.ns.Store(t.UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ns.Add(int64(d)) }

func TestLimiter(t *testing.T) {
	minute := quota.Limit{PerMinute: 60, Burst: 10}
	t.Run("gives the burst at once, then one per interval", func(t *testing.T) {
		c := newClock("2026-11-05T10:00:00Z")
		l := quota.NewLimiter[string](1000, c.Now)
		for i := range int64(10) {
			d := l.Take("k", minute)
			want := quota.Decision{OK: true, Limit: 60, Remaining: 9 - i, Reset: c.Now().Add(time.Duration(i+1) * time.Second)}
			testkit.Equal(t, d, want)
		}
		d := l.Take("k", minute)
		testkit.Equal(t, d, quota.Decision{Limit: 60, Reset: c.Now().Add(10 * time.Second), RetryAfter: time.Second})
		testkit.Fault(t, d.Err(), "quota.rate")
		c.Advance(d.RetryAfter - 1)
		if l.Take("k", minute).OK {
			t.Error("a nanosecond early passed")
		}
		c.Advance(1)
		if !l.Take("k", minute).OK || l.Take("k", minute).OK {
			t.Error("RetryAfter later exactly one should pass")
		}
		if !l.Take("other", minute).OK {
			t.Error("keys share a bucket")
		}
	})
	t.Run("parallel takers get exactly the burst", func(t *testing.T) {
		c := newClock("2026-11-05T10:00:00Z")
		l := quota.NewLimiter[string](1000, c.Now)
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 100 {
					if l.Take("k", quota.Limit{PerMinute: 1, Burst: 137}).OK {
						passed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		testkit.Equal(t, passed.Load(), int64(137))
	})
	t.Run("a returned one can be taken again", func(t *testing.T) {
		l := quota.NewLimiter[string](1000, newClock("2026-11-05T10:00:00Z").Now)
		one := quota.Limit{PerMinute: 1, Burst: 1}
		l.Take("k", one)
		l.Return("k", one)
		if !l.Take("k", one).OK || l.Take("k", one).OK {
			t.Error("want exactly one after the return")
		}
	})
	t.Run("a clock set back and a smaller limit cost no more than one depth", func(t *testing.T) {
		c := newClock("2026-11-05T10:00:00Z")
		l := quota.NewLimiter[string](1000, c.Now)
		for range 10 {
			l.Take("k", minute)
		}
		c.Advance(-time.Hour)
		if d := l.Take("k", minute); d.OK || d.RetryAfter > time.Second {
			t.Errorf("after the step back: %+v", d)
		}
	})
	t.Run("zero refuses, huge does not overflow", func(t *testing.T) {
		l := quota.NewLimiter[string](1000, newClock("2026-11-05T10:00:00Z").Now)
		if l.Take("k", quota.Limit{}).OK {
			t.Error("a zero limit passed")
		}
		for _, huge := range []quota.Limit{{1, 1 << 62}, {1 << 62, 1 << 62}, {1 << 62, 1}} {
			l := quota.NewLimiter[string](1000, newClock("2026-11-05T10:00:00Z").Now)
			if d := l.Take("k", huge); !d.OK || d.Remaining < 0 {
				t.Errorf("%+v: %+v", huge, d)
			}
		}
	})
	t.Run("a flood of keys keeps the map capped and washes no debt away", func(t *testing.T) {
		c := newClock("2026-11-05T10:00:00Z")
		l := quota.NewLimiter[int](64*32, c.Now)
		debtor := quota.Limit{PerMinute: 1, Burst: 100}
		for range 100 {
			l.Take(-1, debtor)
		}
		for i := range 100_000 {
			l.Take(i, debtor)
		}
		if n := l.Len(); n > 64*32 {
			t.Errorf("%d keys remembered", n)
		}
		if l.Take(-1, debtor).OK {
			t.Error("the debt is gone")
		}
	})
}

func BenchmarkTake(b *testing.B) {
	l := quota.NewLimiter[string](100_000, time.Now)
	limit := quota.Limit{PerMinute: 1 << 40, Burst: 1 << 40}
	b.ReportAllocs()
	for b.Loop() {
		if !l.Take("key_01jc0000000000000000000000", limit).OK {
			b.Fatal("refused")
		}
	}
}
