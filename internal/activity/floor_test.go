package activity_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

// TestTrailExpires: old events go, what is left can still be verified, and
// nobody who only has the database can make more of it go unnoticed.
func TestTrailExpires(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		keeper := activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now)
		add := func(tenant string, n int) {
			t.Helper()
			testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
				for i := range n {
					if err := activity.Record(ctx, tx, nil, activity.Event{Tenant: tenant, Action: "thing.change", TargetType: "thing", TargetID: fmt.Sprint(i)}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		exec := func(text string) { t.Helper(); testkit.Must(db.Exec(ctx, s, text))(t) }
		verdict := func(tenant string) activity.Verdict {
			t.Helper()
			return testkit.Must(keeper.Verify(ctx, s, tenant))(t)
		}
		age := func() time.Time { // all that is there now is older than what comes
			time.Sleep(3 * time.Millisecond)
			defer time.Sleep(3 * time.Millisecond)
			return time.Now()
		}
		add("ten_a", 1205)
		add("ten_b", 2)
		first := testkit.Must(keeper.Write(ctx, s))(t)
		testkit.Equal(t, first, 2)
		replica := activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now) // its checkpoint is from before, too
		testkit.Must(replica.Write(ctx, s))(t)
		moment := age()
		add("ten_a", 3)

		t.Run("the old go, page by page, and leave a mark and events that say so", func(t *testing.T) {
			for _, want := range []int64{1205 + 2, 0} {
				testkit.Equal(t, testkit.Must(keeper.Expire(ctx, s, moment))(t), want)
			}
			testkit.Equal(t, verdict("ten_a"), activity.Verdict{Tenant: "ten_a", Events: 3 + 2, OK: true})
			testkit.Equal(t, verdict("ten_b"), activity.Verdict{Tenant: "ten_b", Events: 1, OK: true})
			for _, c := range []*activity.Checkpoints{keeper, replica} {
				for _, v := range testkit.Must(c.VerifyAll(ctx, s))(t) {
					if !v.OK {
						t.Errorf("%+v", v)
					}
				}
				testkit.Equal(t, testkit.Must(c.Write(ctx, s))(t), 2)
			}
		})
		for _, c := range []struct{ name, damage, mend string }{
			{"without its mark", `UPDATE event_floors SET tenant_id = 'gone' WHERE tenant_id = 'ten_a'`, `UPDATE event_floors SET tenant_id = 'ten_a' WHERE tenant_id = 'gone'`},
			{"with a mark moved up", `UPDATE event_floors SET seq = seq + 1 WHERE tenant_id = 'ten_a'`, `UPDATE event_floors SET seq = seq - 1 WHERE tenant_id = 'ten_a'`},
			{"with one more event gone", `UPDATE events SET tenant_id = 'gone' WHERE tenant_id = 'ten_a' AND seq = 1206`, `UPDATE events SET tenant_id = 'ten_a' WHERE tenant_id = 'gone'`},
			{"with the mark of another trail", `UPDATE event_floors SET signature = (SELECT signature FROM event_floors WHERE tenant_id = 'ten_b'), at = at + 1 WHERE tenant_id = 'ten_a'`, ""},
		} {
			t.Run(c.name+" it does not hold, and loses nothing more", func(t *testing.T) {
				exec(c.damage)
				if v := verdict("ten_a"); v.OK || v.Problem == "" {
					t.Fatalf("not found: %+v", v)
				}
				n, err := keeper.Expire(ctx, s, time.Now().Add(time.Hour))
				if !errors.Is(err, activity.ErrTrail) && c.name != "without its mark" {
					t.Errorf("expired %d: %v", n, err)
				}
				if left := testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM events WHERE tenant_id IN ('ten_a', 'gone')`))(t); left != 5 {
					t.Errorf("%d events are left of 5", left)
				}
				if c.mend == "" {
					return
				}
				exec(c.mend)
				if v := verdict("ten_a"); !v.OK {
					t.Fatalf("not mended: %+v", v)
				}
			})
		}
	})
}

// TestTrailTampered: an old event that was changed is evidence and stays.
func TestTrailTampered(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		keeper := activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now)
		for _, tenant := range []string{"ten_a", "ten_b"} {
			for range 4 {
				testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
					return activity.Record(ctx, tx, nil, activity.Event{Tenant: tenant, Action: "thing.change", TargetType: "thing"})
				}))
			}
		}
		testkit.Must(db.Exec(ctx, s, `UPDATE events SET actor_name = 'mallory' WHERE tenant_id = 'ten_a' AND seq = 2`))(t)
		n, err := keeper.Expire(ctx, s, time.Now().Add(time.Hour))
		if n != 4 || !errors.Is(err, activity.ErrTrail) {
			t.Errorf("expired %d: %v", n, err)
		}
		testkit.Equal(t, testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM events WHERE tenant_id = 'ten_a'`))(t), int64(4))
		testkit.Equal(t, testkit.Must(keeper.Verify(ctx, s, "ten_b"))(t), activity.Verdict{Tenant: "ten_b", Events: 1, OK: true})
		// The event that is left does not make room for another one.
		n, err = keeper.Expire(ctx, s, time.Now().Add(time.Hour))
		if n != 0 || !errors.Is(err, activity.ErrTrail) {
			t.Errorf("expired %d: %v", n, err)
		}
	})
}
