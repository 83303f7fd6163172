package activity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

func TestCheckpoints(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		dir := t.TempDir()
		keeper := activity.NewCheckpoints(dir, [32]byte{1}, time.Now)
		by := &access.Principal{Kind: access.System, ID: "x", Tenant: "ten_a", Organization: "org_a"}
		add := func(n int) {
			t.Helper()
			for i := range n {
				testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
					return activity.Record(ctx, tx, by, activity.Event{Action: "thing.change", TargetType: "thing", TargetID: fmt.Sprint(i), Workspace: []string{"", "ws_1"}[i%2]})
				}))
			}
		}
		exec := func(text string) { t.Helper(); testkit.Must(db.Exec(ctx, s, text))(t) }
		only := func() activity.Verdict {
			t.Helper()
			all := testkit.Must(keeper.VerifyAll(ctx, s))(t)
			if len(all) != 1 {
				t.Fatalf("got %+v", all)
			}
			return all[0]
		}
		add(5)
		testkit.Equal(t, testkit.Must(keeper.Write(ctx, s))(t), 1)
		testkit.Equal(t, testkit.Must(keeper.Write(ctx, s))(t), 0)
		add(3)
		if v := only(); !v.OK || v.Events != 8 {
			t.Fatalf("a sound trail: %+v", v)
		}
		t.Run("the events of a workspace, page by page", func(t *testing.T) {
			n := 0
			for e, err := range activity.EachEvent(ctx, s, activity.EventFilter{Organization: "org_a", Workspace: "ws_1"}, 3) {
				testkit.Must0(t, err)
				testkit.Equal(t, e.Workspace, "ws_1")
				n++
			}
			testkit.Equal(t, n, 3)
		})
		t.Run("a tail cut off with its head is found, and its checkpoint kept", func(t *testing.T) {
			testkit.Must(keeper.Write(ctx, s))(t)
			exec(`CREATE TABLE kept AS SELECT * FROM events WHERE seq > 6`)
			exec(`DELETE FROM events WHERE seq > 6`)
			exec(`UPDATE event_heads SET seq = 6, hash = (SELECT hash FROM events WHERE seq = 6)`)
			if v := testkit.Must(activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now).Verify(ctx, s, "ten_a"))(t); !v.OK {
				t.Fatalf("the chain alone saw it: %+v", v)
			}
			if v := only(); v.OK || v.BadSeq != 7 || !strings.Contains(v.Problem, "had 8 events") {
				t.Errorf("got %+v", v)
			}
			if n, err := keeper.Write(ctx, s); n != 0 || err == nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			add(4) // events that grow over the cut do not hide it
			if v := only(); v.OK || v.BadSeq != 8 || !strings.Contains(v.Problem, "written anew") {
				t.Errorf("got %+v", v)
			}
			exec(`DELETE FROM events WHERE seq > 6`)
			exec(`INSERT INTO events SELECT * FROM kept`)
			exec(`UPDATE event_heads SET seq = 8, hash = (SELECT hash FROM events WHERE seq = 8)`)
			if v := only(); !v.OK {
				t.Fatalf("mended: %+v", v)
			}
		})
		t.Run("a trail that is gone altogether is missed", func(t *testing.T) {
			exec(`DELETE FROM events`)
			exec(`DELETE FROM event_heads`)
			if v := only(); v.OK || v.BadSeq != 1 {
				t.Errorf("got %+v", v)
			}
		})
		t.Run("a forged checkpoint is no checkpoint", func(t *testing.T) {
			forger := activity.NewCheckpoints(t.TempDir(), [32]byte{2}, time.Now)
			add(2)
			testkit.Must(forger.Write(ctx, s))(t)
			path := filepath.Join(dir, "ten_a.json")
			text := testkit.Must(os.ReadFile(path))(t)
			testkit.Must0(t, os.WriteFile(path, []byte(strings.Replace(string(text), `"seq": 8`, `"seq": 2`, 1)), 0o600))
			if v := only(); v.OK || !strings.Contains(v.Problem, "not signed") {
				t.Errorf("got %+v", v)
			}
		})
	})
}
