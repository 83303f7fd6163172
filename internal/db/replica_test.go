package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

const lease = time.Second

// replica is a store that is linked to the others, and what it was told.
type replica struct {
	*db.Store
	mu    sync.Mutex
	heard map[string]int
	stop  func()
}

func newReplica(t *testing.T, at string) *replica {
	t.Helper()
	r := &replica{Store: testkit.Must(db.Open(t.Context(), at, db.Options{Connections: 4, Lease: lease}))(t), heard: map[string]int{}}
	r.OnChange(func(kind, ref string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.heard[kind+" "+ref]++
	})
	r.Join()
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := r.Replicate(ctx, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() { cancel(); run.Wait(); _ = r.Close() })
	t.Cleanup(r.stop)
	within(t, 5*time.Second, "a link", r.Current)
	return r
}

func (r *replica) has(change string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard[change] > 0
}

func (r *replica) change(t *testing.T, refs ...string) time.Duration {
	t.Helper()
	start := time.Now()
	testkit.Must0(t, r.Tx(t.Context(), func(tx *db.Tx) error {
		for _, ref := range refs {
			tx.Changed("key", ref)
		}
		return nil
	}))
	return time.Since(start)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

func links(t *testing.T, s *db.Store) int64 {
	t.Helper()
	return testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'headgate-replica:%'`))(t)
}

// unlink ends a replica's link from outside, as a broken network would.
func unlink(t *testing.T, s *db.Store) {
	t.Helper()
	testkit.Must(db.All(t.Context(), s, func(ok *bool) []any { return []any{ok} },
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'headgate-replica:%'`))(t)
}

func TestReplicas(t *testing.T) {
	at := testkit.PostgresURL(t)
	a, b := newReplica(t, at), newReplica(t, at)
	t.Run("a change is known everywhere before Tx returns", func(t *testing.T) {
		for i := range 50 {
			ref := fmt.Sprint("k", i)
			a.change(t, ref)
			if !b.has("key " + ref) {
				t.Fatalf("%s is not known to the other one", ref)
			}
		}
	})
	t.Run("also many at once, on both sides", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { a.change(t, fmt.Sprint("a", i)) })
			wg.Go(func() { b.change(t, fmt.Sprint("b", i)) })
		}
		wg.Wait()
		for i := range 20 {
			if !b.has(fmt.Sprint("key a", i)) || !a.has(fmt.Sprint("key b", i)) {
				t.Errorf("%d is not known", i)
			}
		}
	})
	t.Run("also more than one notification can carry", func(t *testing.T) {
		refs := make([]string, 2000)
		for i := range refs {
			refs[i] = fmt.Sprint("big", i)
		}
		a.change(t, refs...)
		for _, ref := range refs {
			if !b.has("key " + ref) {
				t.Fatalf("%s is not known", ref)
			}
		}
	})
	t.Run("a rollback tells nothing", func(t *testing.T) {
		_ = a.Tx(t.Context(), func(tx *db.Tx) error { tx.Changed("key", "never"); return context.Canceled })
		a.change(t, "after")
		if b.has("key never") {
			t.Error("it was told")
		}
	})
	t.Run("whoever was cut off learns what it missed, and trusts nothing until then", func(t *testing.T) {
		testkit.Must(db.Exec(t.Context(), a.Store, `INSERT INTO changes (at, body) VALUES (CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT), '{"r":"other","n":1,"c":[["key","missed"]]}')`))(t)
		unlink(t, a.Store)
		within(t, 5*time.Second, "noticing", func() bool { return !b.Current() || b.has("key missed") })
		within(t, 5*time.Second, "linking anew", func() bool { return a.Current() && b.Current() })
		if !b.has("key missed") || !a.has("key missed") {
			t.Error("it is trusted again and has missed a change")
		}
	})
	t.Run("one that stopped is not waited for", func(t *testing.T) {
		b.stop()
		within(t, 5*time.Second, "the end of its link", func() bool { return links(t, a.Store) == 1 })
		if took := a.change(t, "alone"); took >= lease {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("one that does not confirm is cut off, and waited for as long as it may trust itself", func(t *testing.T) {
		deaf := newReplica(t, at)
		block := make(chan struct{})
		deaf.OnChange(func(string, string) { <-block })
		took := a.change(t, "unheard")
		if n := links(t, a.Store); n != 1 {
			t.Errorf("%d links: it was not cut off", n)
		}
		if took < lease || took > 5*lease || deaf.Current() {
			t.Errorf("after %v; it trusts itself: %v", took, deaf.Current())
		}
		close(block)
		within(t, 5*time.Second, "coming back", deaf.Current)
	})
}

func TestAlone(t *testing.T) {
	t.Run("on SQLite nobody else changes anything", func(t *testing.T) {
		s := testkit.SQLite(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		testkit.Must0(t, s.Replicate(ctx, slog.New(slog.DiscardHandler)))
		if !s.Current() {
			t.Error("it does not trust itself")
		}
	})
	t.Run("a process that never links is told nothing, and works", func(t *testing.T) {
		s := testkit.Postgres(t)
		testkit.Must0(t, s.Tx(t.Context(), func(tx *db.Tx) error { tx.Changed("key", "x"); return nil }))
		if !s.Current() {
			t.Error("it does not trust itself")
		}
	})
}
