package activity_test

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

func TestEvents(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		by := &access.Principal{Kind: access.Session, ID: "ses_a", Name: "a@example.com", Tenant: "ten_a", Organization: "org_a"}
		record := func(n int, organization, action string) {
			testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
				for i := range n {
					if err := activity.Record(ctx, tx, by, activity.Event{Organization: organization, Action: action, TargetType: "key", TargetID: fmt.Sprintf("key_%d", i)}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		record(3, "org_a", "key.create")
		record(2, "org_b", "key.create")
		record(1, "org_a", "key.revoke")
		for _, c := range []struct {
			name   string
			filter activity.EventFilter
			want   int64
		}{
			{"an organization", activity.EventFilter{Organization: "org_a"}, 4},
			{"a tenant", activity.EventFilter{Tenant: "ten_a"}, 6},
			{"an action", activity.EventFilter{Organization: "org_a", Action: "key.revoke"}, 1},
			{"all actions on a noun", activity.EventFilter{Organization: "org_a", Action: "key."}, 4},
			{"another noun", activity.EventFilter{Organization: "org_a", Action: "ke."}, 0},
			{"a target", activity.EventFilter{Organization: "org_a", Target: "key_0"}, 2},
			{"an actor", activity.EventFilter{Organization: "org_a", Actor: "ses_a"}, 4},
			{"a time to come", activity.EventFilter{Organization: "org_a", From: time.Now().Add(time.Hour)}, 0},
			{"a time gone by", activity.EventFilter{Organization: "org_a", Until: time.Now().Add(-time.Hour)}, 0},
			{"a time around now", activity.EventFilter{Organization: "org_a", From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}, 4},
		} {
			t.Run("events of "+c.name, func(t *testing.T) {
				events, total, err := activity.Events(ctx, s, c.filter, 100, 0)
				testkit.Must0(t, err)
				if total != c.want || int64(len(events)) != c.want {
					t.Errorf("%d of %d events, want %d", len(events), total, c.want)
				}
			})
		}
		t.Run("pages are parts of the whole, and there is nothing behind the last", func(t *testing.T) {
			f := activity.EventFilter{Organization: "org_a"}
			all, _, err := activity.Events(ctx, s, f, 100, 0)
			testkit.Must0(t, err)
			var seen []string
			for offset := 0; offset < 9; offset += 3 {
				page, total, err := activity.Events(ctx, s, f, 3, offset)
				testkit.Must0(t, err)
				testkit.Equal(t, []int{len(page), int(total)}, []int{max(0, min(3, len(all)-offset)), len(all)})
				for _, e := range page {
					seen = append(seen, e.ID)
				}
			}
			var want []string
			for _, e := range all {
				want = append(want, e.ID)
			}
			testkit.Equal(t, seen, want)
		})
		t.Run("nobody's events are not asked for by mistake", func(t *testing.T) {
			if _, _, err := activity.Events(ctx, s, activity.EventFilter{}, 10, 0); err == nil {
				t.Error("no error")
			}
		})
	})
}

// What a trail is asked for is counted in an index alone, so that a page of a
// long trail does not read all of it.
func TestTrailIsCountedInIndexes(t *testing.T) {
	s := testkit.SQLite(t)
	type step struct {
		id, parent, unused int64
		detail             string
	}
	for filter, index := range map[string]string{
		"organization_id = 'o'":                                           "events_organization",
		"organization_id = 'o' AND workspace_id = 'w'":                    "events_workspace",
		"organization_id = 'o' AND actor_id = 'a'":                        "events_actor",
		"organization_id = 'o' AND target_id = 't'":                       "events_target",
		"organization_id = 'o' AND action = 'key.create'":                 "events_action",
		"organization_id = 'o' AND action >= 'key.' AND action < 'key/'":  "events_action",
		"organization_id = 'o' AND id >= 'evt_0' AND created_at >= 1":     "events_organization",
		"organization_id = 'o' AND workspace_id = 'w' AND created_at < 1": "events_workspace",
	} {
		plan := testkit.Must(db.All(t.Context(), s, func(p *step) []any { return []any{&p.id, &p.parent, &p.unused, &p.detail} },
			`EXPLAIN QUERY PLAN SELECT COUNT(*) FROM events WHERE `+filter))(t)
		if len(plan) != 1 || !strings.Contains(plan[0].detail, "USING COVERING INDEX "+index+" ") {
			t.Errorf("%s: %+v", filter, plan)
		}
	}
}

// A trail that says of itself that it begins later is not believed: whoever can
// write to the database could say so too.
func TestTrailExcusesNothing(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		keeper := activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now)
		record := func(e activity.Event) {
			e.Tenant, e.TargetType = "ten_a", "trail"
			testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error { return activity.Record(ctx, tx, nil, e) }))
		}
		for range 5 {
			record(activity.Event{Action: "thing.create"})
		}
		testkit.Must(keeper.Write(ctx, s))(t)
		last := testkit.Must(db.Value[[]byte](ctx, s, `SELECT hash FROM events WHERE seq = 5`))(t)
		record(activity.Event{Action: "trail.expire", Details: map[string]any{"through": 5, "hash": hex.EncodeToString(last)}})
		testkit.Must(db.Exec(ctx, s, `DELETE FROM events WHERE seq <= 5`))(t)
		v := testkit.Must(keeper.VerifyAll(ctx, s))(t)
		testkit.Equal(t, v, []activity.Verdict{{Tenant: "ten_a", Events: 1, BadSeq: 1, Problem: "an event is missing here"}})
	})
}

func TestErrors(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		e := activity.NewErrors(s, time.Now, slog.New(slog.DiscardHandler))
		for i := range 5 {
			e.Add(activity.ErrorLine{Organization: "org_a", RequestID: fmt.Sprintf("req_%d", i), Code: "internal", Message: "m", Door: "platform", Operation: "getThing", Severity: activity.SeverityError})
		}
		e.Add(activity.ErrorLine{RequestID: "req_x", Code: "internal", Severity: activity.SeverityError})
		e.Flush(ctx)
		lines, total, err := activity.ErrorLines(ctx, s, activity.ErrorFilter{Organization: "org_a", Code: "internal", Severity: "error"}, 2, 1)
		testkit.Must0(t, err)
		if total != 5 || len(lines) != 2 || lines[0].RequestID != "req_3" || lines[1].RequestID != "req_2" || lines[0].CreatedAt.IsZero() {
			t.Errorf("%d: %+v", total, lines)
		}
		t.Run("a flood is dropped and counted", func(t *testing.T) {
			for range 1100 {
				e.Add(activity.ErrorLine{Organization: "org_a"})
			}
			testkit.Equal(t, e.Dropped(), int64(100))
		})
		t.Run("they go when their time is over", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(activity.ExpireErrors(ctx, s, time.Now().Add(-time.Hour)))(t), int64(0))
			testkit.Equal(t, testkit.Must(activity.ExpireErrors(ctx, s, time.Now().Add(time.Hour)))(t), int64(6))
		})
	})
}
