package replay_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/rest"
	"headgate/internal/rest/replay"
	"headgate/internal/testkit"
)

func TestStore(t *testing.T) {
	a, b := [32]byte{1}, [32]byte{2}
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		now := time.Now()
		r := replay.New(s, func() time.Time { return now })
		begin := func(t *testing.T, r *replay.Store, org, key string, print [32]byte, stored string, want error) {
			t.Helper()
			got, err := r.Begin(ctx, org, key, print)
			if !errors.Is(err, want) || string(got) != stored {
				t.Errorf("got %q, %v; want %q, %v", got, err, stored, want)
			}
		}
		begin(t, r, "org_a", "k", a, "", nil)
		t.Run("while it runs nobody else has the key, except in another organization", func(t *testing.T) {
			begin(t, r, "org_a", "k", a, "", rest.ErrInFlight)
			begin(t, r, "org_a", "k", b, "", rest.ErrKeyReused)
			begin(t, r, "org_b", "k", b, "", nil)
		})
		t.Run("then the same request gets the stored answer, and another none", func(t *testing.T) {
			testkit.Must0(t, r.Finish(ctx, "org_a", "k", []byte("answer")))
			begin(t, r, "org_a", "k", a, "answer", nil)
			begin(t, r, "org_a", "k", b, "", rest.ErrKeyReused)
			testkit.Must0(t, r.Abandon(ctx, "org_a", "k")) // too late: it is done
			begin(t, r, "org_a", "k", a, "answer", nil)
		})
		t.Run("a key that was given back is free", func(t *testing.T) {
			testkit.Must0(t, r.Abandon(ctx, "org_b", "k"))
			begin(t, r, "org_b", "k", a, "", nil)
		})
		t.Run("a dead process's claim lapses, and its late answer is not kept", func(t *testing.T) {
			later := replay.New(s, func() time.Time { return now.Add(replay.ClaimFor) })
			begin(t, later, "org_b", "k", b, "", nil)
			if err := r.Finish(ctx, "org_b", "k", []byte("late")); err == nil {
				t.Error("kept")
			}
		})
		t.Run("answers stay for a day", func(t *testing.T) {
			now = now.Add(24*time.Hour - time.Millisecond)
			begin(t, r, "org_a", "k", a, "answer", nil)
			now = now.Add(time.Millisecond)
			testkit.Equal(t, testkit.Must(r.Expire(ctx))(t), int64(2))
			begin(t, r, "org_a", "k", b, "", nil)
		})
		t.Run("of many at once one gets it", func(t *testing.T) {
			var won atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					switch _, err := r.Begin(ctx, "org_a", "race", a); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, rest.ErrInFlight):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, won.Load(), int64(1))
		})
	})
}
