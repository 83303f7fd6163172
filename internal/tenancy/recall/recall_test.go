package recall_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/tenancy/recall"
	"headgate/internal/testkit"
)

func TestCache(t *testing.T) {
	store := testkit.SQLite(t)
	now := time.Now()
	var loads, truth int
	var fail error
	var during func()
	c := recall.New(store, "thing", 3, func() time.Time { return now }, func(context.Context, string) (int, error) {
		loads++
		v := truth
		if during != nil {
			during()
		}
		return v, fail
	})
	get := func(t *testing.T, ref string) int { t.Helper(); return testkit.Must(c.Get(t.Context(), ref))(t) }
	change := func(kind, ref string, err error) {
		_ = store.Tx(t.Context(), func(tx *db.Tx) error { tx.Changed(kind, ref); return err })
	}

	t.Run("loads once", func(t *testing.T) {
		get(t, "a")
		get(t, "a")
		testkit.Equal(t, loads, 1)
	})
	t.Run("a committed change of its kind and reference is seen at once", func(t *testing.T) {
		truth = 1
		change("other", "a", nil)
		change("thing", "b", nil)
		change("thing", "a", errors.New("rolled back"))
		testkit.Equal(t, get(t, "a"), 0)
		change("thing", "a", nil)
		testkit.Equal(t, get(t, "a"), 1)
	})
	t.Run("a load that a change overtakes does not count", func(t *testing.T) {
		c.Forget("a")
		during = func() {
			during = nil
			truth = 2
			change("thing", "a", nil)
		}
		testkit.Equal(t, get(t, "a"), 2)
		testkit.Equal(t, get(t, "a"), 2)
	})
	t.Run("is forgotten after 30 seconds", func(t *testing.T) {
		truth = 3
		now = now.Add(30*time.Second - 1)
		testkit.Equal(t, get(t, "a"), 2)
		now = now.Add(1)
		testkit.Equal(t, get(t, "a"), 3)
	})
	t.Run("errors are not remembered", func(t *testing.T) {
		fail = errors.New("down")
		if _, err := c.Get(t.Context(), "e"); err == nil {
			t.Fatal("no error")
		}
		fail = nil
		testkit.Equal(t, get(t, "e"), 3)
	})
	t.Run("holds no more than its size", func(t *testing.T) {
		for i := range 50 {
			get(t, strconv.Itoa(i))
		}
		before, hits := loads, 0
		for i := range 50 {
			n := loads
			get(t, strconv.Itoa(i))
			if loads == n {
				hits++
			}
		}
		if loads-before < 40 || hits > 10 {
			t.Fatalf("%d of 50 were still there", hits)
		}
	})
}

func TestCacheParallel(t *testing.T) {
	store := testkit.SQLite(t)
	var truth atomic.Int64
	c := recall.New(store, "thing", 10, time.Now, func(context.Context, string) (int64, error) { return truth.Load(), nil })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = c.Get(context.Background(), "a")
				}
			}
		})
	}
	for i := int64(1); i <= 2000; i++ {
		truth.Store(i)
		c.Forget("a")
		if v, _ := c.Get(t.Context(), "a"); v < i {
			t.Fatalf("read %d after %d", v, i)
		}
	}
	close(stop)
	wg.Wait()
}
