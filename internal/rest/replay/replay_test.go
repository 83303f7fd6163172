package replay_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/rest/replay"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
)

func TestStore(t *testing.T) {
	a, b := [32]byte{1}, [32]byte{2}
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := asking(t.Context())
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
			dead := ctx
			ctx = asking(ctx)
			begin(t, later, "org_b", "k", b, "", nil)
			if err := r.Finish(dead, "org_b", "k", []byte("late")); err == nil {
				t.Error("kept")
			}
		})
		t.Run("answers stay for a day", func(t *testing.T) {
			now = now.Add(24*time.Hour - time.Millisecond)
			begin(t, r, "org_a", "k", a, "answer", nil)
			now = now.Add(time.Millisecond)
			testkit.Equal(t, testkit.Must(r.Expire(ctx))(t), int64(1)) // the lapsed claim stays its day
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

// asking is the context of one request.
func asking(ctx context.Context) context.Context {
	return request.With(ctx, request.Info{ID: id.New("req")})
}

// TestCrash shows that what a request did before its process died is not done
// again by its repeat.
func TestCrash(t *testing.T) {
	print := [32]byte{1}
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		now := time.Now()
		r := replay.New(s, func() time.Time { return now })
		by := &access.Principal{Kind: access.System, ID: "x", Organization: "org_a", Tenant: "ten_a"}
		for name, c := range map[string]struct {
			did  func(ctx context.Context) error
			want error
		}{
			"nothing": {func(context.Context) error { return nil }, nil},
			"a change": {func(ctx context.Context) error {
				return s.Tx(ctx, func(tx *db.Tx) error {
					return activity.Record(ctx, tx, by, activity.Event{Action: "x.made", TargetType: "x", TargetID: "x"})
				})
			}, rest.ErrAnswerLost},
			"a call that worked":   {func(ctx context.Context) error { return s.Fast(ctx, line(ctx, true, 0)) }, rest.ErrAnswerLost},
			"a tool's error, paid": {func(ctx context.Context) error { return s.Fast(ctx, line(ctx, false, 1)) }, rest.ErrAnswerLost},
			"a call that failed":   {func(ctx context.Context) error { return s.Fast(ctx, line(ctx, false, 0)) }, nil},
		} {
			t.Run("what the first one did: "+name, func(t *testing.T) {
				first := asking(t.Context())
				testkit.Must(r.Begin(first, "org_a", name, print))(t)
				testkit.Must0(t, c.did(first))
				if _, err := r.Begin(asking(t.Context()), "org_a", name, print); !errors.Is(err, rest.ErrInFlight) {
					t.Errorf("while it may still run: %v", err)
				}
				restart(t, s, r, &now)
				testkit.Must(r.Expire(t.Context()))(t)
				if _, err := r.Begin(asking(t.Context()), "org_a", name, print); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if _, err := r.Begin(asking(t.Context()), "org_a", name, [32]byte{2}); !errors.Is(err, rest.ErrKeyReused) {
					t.Errorf("another request: %v", err)
				}
			})
		}
	})
}

// TestCrashOfOperator: an operator acts in no organization, and what is done is
// an event of somebody's.
func TestCrashOfOperator(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		now := time.Now()
		r := replay.New(s, func() time.Time { return now })
		first := asking(t.Context())
		testkit.Must(r.Begin(first, "", "k", [32]byte{1}))(t)
		testkit.Must0(t, s.Tx(first, func(tx *db.Tx) error {
			return activity.Record(first, tx, &access.Principal{Kind: access.OperatorKey, ID: "key_x"}, activity.Event{Organization: "org_a", Tenant: "ten_a", Action: "credit.topup", TargetType: "account", TargetID: "x"})
		}))
		restart(t, s, r, &now)
		if _, err := r.Begin(asking(t.Context()), "", "k", [32]byte{1}); !errors.Is(err, rest.ErrAnswerLost) {
			t.Errorf("got %v", err)
		}
	})
}

// restart is a new start on SQLite, and the time a claim has on PostgreSQL.
func restart(t *testing.T, s *db.Store, r *replay.Store, now *time.Time) {
	t.Helper()
	if n := testkit.Must(r.Recover(t.Context()))(t); (n > 0) != (s.Engine() == db.SQLite) {
		t.Errorf("%d claims were freed at the start", n)
	}
	if s.Engine() == db.PostgreSQL {
		*now = now.Add(replay.ClaimFor)
	}
}

func line(ctx context.Context, success bool, charged int64) func(f *db.Fast) error {
	raw, _ := id.ParseRaw("req", request.ID(ctx))
	return func(f *db.Fast) error {
		return activity.Append(f, &activity.Line{Organization: "org_a", ID: raw, Principal: "x", Door: "platform", Operation: "tools/call", Name: "x", Success: success, Charged: charged, CreatedAt: time.Now()})
	}
}
