package diagnosis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/diagnosis"
	"headgate/internal/diagnosis/report"
	"headgate/internal/id"
	"headgate/internal/jobs"
	"headgate/internal/testkit"
)

func each(t *testing.T, test func(t *testing.T, w *world), change ...func(*diagnosis.Options)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) { test(t, newWorld(t, s, change...)) })
}

func TestReports(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := newScript(t)
		server := w.register("s", s.URL, nil)
		first := w.doctor(server)
		second := w.doctor(server)
		url := testkit.Must(w.DoctorURL(t.Context(), w.by, s.URL, nil))(t)
		testkit.Must(w.Validate(t.Context(), w.by, server))(t)

		list, total, err := w.Reports(t.Context(), w.by, server.ID, "doctor", 1, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, total, int64(2))
		testkit.Equal(t, list[0].ID, second.ID)
		testkit.Equal(t, list[0].Status, report.Ready)
		_, all, err := w.Reports(t.Context(), w.by, "", "", 10, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, all, int64(4))
		validated, _, err := w.Reports(t.Context(), w.by, server.ID, "validate", 10, 0)
		testkit.Must0(t, err)
		if len(validated) != 1 || validated[0].Tools != 1 {
			t.Errorf("validate keeps a snapshot of the tools: %+v", validated)
		}

		for _, r := range []*report.Report{first, url} {
			got := testkit.Must(w.Report(t.Context(), w.by, r.ID))(t)
			testkit.Equal(t, string(testkit.Must(got.JSON())(t)), string(testkit.Must(r.JSON())(t)))
		}
		stranger := *w.by
		stranger.Organization = id.New("org")
		_, err = w.Report(t.Context(), &stranger, first.ID)
		testkit.Fault(t, err, "diagnosis.no_report")
		_, err = w.Report(t.Context(), w.by, id.New("rep"))
		testkit.Fault(t, err, "diagnosis.no_report")
		drift := testkit.Must(w.Compare(t.Context(), w.by, first.ID, second.ID))(t)
		if drift.Changed {
			t.Errorf("nothing changed: %+v", drift)
		}
	})
}

func TestReportsAreFew(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		server := w.register("s", newScript(t).URL, nil)
		other := w.register("other", newScript(t).URL, nil)
		w.doctor(other)
		for range 5 {
			w.doctor(server)
		}
		_, total, err := w.Reports(t.Context(), w.by, server.ID, "", 10, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, total, int64(3))
		_, total, err = w.Reports(t.Context(), w.by, other.ID, "", 10, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, total, int64(1))
		w.clock.Advance(91 * 24 * time.Hour)
		w.doctor(other)
		testkit.Must0(t, w.Expire(t.Context()))
		_, total, err = w.Reports(t.Context(), w.by, "", "", 10, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, total, int64(1))
	}, func(o *diagnosis.Options) { o.Keep = 3 })
}

func TestPurge(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		server := w.register("s", newScript(t).URL, nil)
		w.doctor(server)
		testkit.Must(w.SetSchedule(t.Context(), w.by, server, "@daily", true))(t)
		left := func() int {
			t.Helper()
			_, n, err := w.Reports(t.Context(), w.by, "", "", 10, 0)
			testkit.Must0(t, err)
			return int(n) + len(testkit.Must(w.Schedules(t.Context(), w.by))(t))
		}
		for _, c := range []struct {
			workspace string
			left      int
		}{{id.New("ws"), 2}, {w.workspace, 0}} {
			testkit.Must0(t, w.store.Tx(t.Context(), func(tx *db.Tx) error { return w.Purge(t.Context(), tx, w.org, c.workspace) }))
			testkit.Equal(t, left(), c.left)
		}
	})
}

// A snapshot that cannot be kept does not change Validate's answer.
func TestValidateWithoutAStore(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	server := w.register("s", newScript(t).URL, nil)
	w.exec(`ALTER TABLE reports RENAME TO reports_gone`)
	info := testkit.Must(w.Validate(t.Context(), w.by, server))(t)
	testkit.Equal(t, info.ProtocolVersion, "2025-11-25")
}

func TestSchedules(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		s := newScript(t)
		server := w.register("s", s.URL, nil)
		runner := jobs.New(w.store, jobs.Options{Now: w.clock.Now})
		w.Register(runner)
		drain := func() {
			t.Helper()
			_, err := runner.Drain(t.Context())
			testkit.Must0(t, err)
		}
		events := func() []activity.Event {
			t.Helper()
			list, _, err := activity.Events(t.Context(), w.store, activity.EventFilter{Tenant: w.tenant, Action: "server.broke"}, 10, 0)
			testkit.Must0(t, err)
			return list
		}
		runs := func() int64 {
			t.Helper()
			_, n, err := w.Reports(t.Context(), w.by, server.ID, "doctor", 1, 0)
			testkit.Must0(t, err)
			return n
		}
		_, err := w.Schedule(t.Context(), w.by, server)
		testkit.Fault(t, err, "diagnosis.no_schedule")
		_, err = w.SetSchedule(t.Context(), w.by, server, "* * * * *", true)
		testkit.Fault(t, err, "diagnosis.cron")
		w.clock.ms.Store(time.Date(2030, 1, 7, 10, 0, 30, 0, time.UTC).UnixMilli())
		c := testkit.Must(w.SetSchedule(t.Context(), w.by, server, "0 * * * *", true))(t)
		testkit.Equal(t, c.NextAt.UTC(), time.Date(2030, 1, 7, 11, 0, 0, 0, time.UTC))

		drain()
		testkit.Equal(t, runs(), int64(0)) // not due yet
		w.clock.Advance(time.Hour)
		drain()
		drain()
		testkit.Equal(t, runs(), int64(1)) // once per period
		testkit.Equal(t, len(events()), 0)

		s.Set("tools/list", `{"tools":[]}`)
		w.clock.Advance(time.Hour)
		drain()
		testkit.Equal(t, runs(), int64(2))
		broke := events()
		if len(broke) != 1 || broke[0].TargetID != server.ID || broke[0].ActorKind != access.System.String() || !strings.Contains(strings.Join(texts(broke[0].Details["broke"]), " "), "look is gone") {
			t.Fatalf("%+v", broke)
		}
		c = testkit.Must(w.Schedule(t.Context(), w.by, server))(t)
		testkit.Equal(t, c.LastReport, broke[0].Details["report"].(string))

		testkit.Must(w.SetSchedule(t.Context(), w.by, server, "0 * * * *", false))(t)
		w.clock.Advance(3 * time.Hour)
		drain()
		testkit.Equal(t, runs(), int64(2)) // switched off

		testkit.Must(w.SetSchedule(t.Context(), w.by, server, "0 * * * *", true))(t)
		testkit.Must0(t, w.catalog.DeleteServer(t.Context(), w.by, server.ID))
		w.clock.Advance(3 * time.Hour)
		drain()
		list := testkit.Must(w.Schedules(t.Context(), w.by))(t)
		testkit.Equal(t, len(list), 0) // it went with its server
	})
}

func texts(v any) (list []string) {
	all, _ := v.([]any)
	for _, s := range all {
		list = append(list, s.(string))
	}
	return list
}

func TestScheduleRuns(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	var as []string
	w.Options.RunAs = func(_ context.Context, org, user string) *access.Principal {
		as = append(as, org+"/"+user)
		return nil
	}
	t.Run("a server that is down from the start is told once", func(t *testing.T) {
		server := w.register("down", dead, nil)
		runner := jobs.New(w.store, jobs.Options{Now: w.clock.Now})
		w.Register(runner)
		testkit.Must(w.SetSchedule(t.Context(), w.by, server, "*/30 * * * *", true))(t)
		for range 3 {
			w.clock.Advance(31 * time.Minute)
			testkit.Must(runner.Drain(t.Context()))(t)
		}
		_, n, err := activity.Events(t.Context(), w.store, activity.EventFilter{Tenant: w.tenant, Action: "server.broke"}, 10, 0)
		testkit.Must0(t, err)
		testkit.Equal(t, n, int64(1))
		if len(as) == 0 || as[0] != w.org+"/"+w.by.User {
			t.Errorf("asked for %v", as)
		}
	})
	t.Run("only who may register servers sets and removes schedules", func(t *testing.T) {
		server := w.register("rights", newScript(t).URL, nil)
		member := *w.by
		member.Role = access.Member
		_, err := w.SetSchedule(t.Context(), &member, server, "@daily", true)
		testkit.Fault(t, err, "access.denied")
		testkit.Fault(t, w.RemoveSchedule(t.Context(), &member, server), "access.denied")
		testkit.Fault(t, w.RemoveSchedule(t.Context(), w.by, server), "diagnosis.no_schedule")
	})
	t.Run("an unconfigured service is a report, not an error", func(t *testing.T) {
		w := newWorld(t, testkit.SQLite(t), func(o *diagnosis.Options) { o.Binder = unconfigured{} })
		r := w.doctor(w.register("u", newScript(t).URL, nil))
		testkit.Equal(t, r.Status, report.Failed)
		testkit.Equal(t, r.Error.Code, "VALIDATION_ERROR")
	})
	t.Run("what else fails is an error", func(t *testing.T) {
		w := newWorld(t, testkit.SQLite(t), func(o *diagnosis.Options) { o.Binder = broken{} })
		if _, err := w.Doctor(t.Context(), w.by, w.register("b", newScript(t).URL, nil), false); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
	})
}

type unconfigured struct{}

func (unconfigured) Bind(context.Context, *catalog.Server, *access.Principal) (*catalog.Binding, error) {
	return nil, catalog.ErrUnconfigured
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Bind(context.Context, *catalog.Server, *access.Principal) (*catalog.Binding, error) {
	return nil, errBroken
}
