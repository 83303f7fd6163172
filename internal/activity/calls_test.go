package activity_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

func write(t *testing.T, s *db.Store, lines ...*activity.Line) {
	t.Helper()
	testkit.Must0(t, s.Fast(t.Context(), func(f *db.Fast) error {
		for _, l := range lines {
			if err := activity.Append(f, l); err != nil {
				return err
			}
		}
		return nil
	}))
}

// made returns a line with every field set, as far back as said.
func made(n int, ago time.Duration) *activity.Line {
	at := time.Now().UTC().Add(-ago).Truncate(time.Millisecond)
	l := &activity.Line{Organization: "org_a", ID: idAt(at), Account: "acc_a", Personal: true, Workspace: "ws_a", Server: "srv_a", Service: fmt.Sprintf("svc_%d", n%2),
		Principal: "key_a", User: "user_a", Door: "platform", Operation: "tools/call", Name: "echo", Success: n%3 != 0, StatusCode: 200, BackendError: n%3 == 0,
		Cost: 3, Charged: 2, CostMicros: 20_000, Duration: 1234 * time.Microsecond, RequestBytes: 10, ResponseBytes: 20, IP: "192.0.2.1", UserAgent: "test/1", CreatedAt: at}
	if !l.Success {
		l.ErrorCode, l.StatusCode = "backend_error", 502
	}
	return l
}

// idAt returns a fresh id with the time put in.
func idAt(t time.Time) id.Raw {
	raw := id.NewRaw()
	ms := t.UnixMilli()
	for i := range 6 {
		raw[i] = byte(ms >> (8 * (5 - i)))
	}
	return raw
}

func TestCalls(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		var lines []*activity.Line
		for i := range 30 {
			lines = append(lines, made(i, time.Duration(30-i)*time.Hour))
		}
		foreign := made(1, time.Hour)
		foreign.Organization = "org_b"
		write(t, s, append(lines, foreign)...)
		yes, no := true, false
		filters := map[string]activity.CallFilter{
			"all of an organization": {Organization: "org_a"},
			"another organization":   {Organization: "org_b"},
			"a service":              {Organization: "org_a", Service: "svc_1"},
			"successes":              {Organization: "org_a", Success: &yes},
			"errors of a service":    {Organization: "org_a", Success: &no, Service: "svc_0", ErrorCode: "backend_error"},
			"from a moment":          {Organization: "org_a", From: lines[10].CreatedAt},
			"until a moment":         {Organization: "org_a", Until: lines[10].CreatedAt},
			"a user, a key, a door, a name": {Organization: "org_a", User: "user_a", Principal: "key_a", Door: "platform", Name: "echo", Operation: "tools/call",
				Account: "acc_a", Workspace: "ws_a", Server: "srv_a"},
			"nobody": {Organization: "org_a", User: "user_b"},
		}
		for name, f := range filters {
			t.Run("the filter for "+name+" means the same in the store and in memory", func(t *testing.T) {
				var want []activity.Line
				for i := len(lines) - 1; i >= 0; i-- {
					if f.Match(lines[i]) {
						want = append(want, *lines[i])
					}
				}
				if f.Match(foreign) {
					want = append(want, *foreign)
				}
				if name != "nobody" && len(want) == 0 {
					t.Fatal("the filter selects nothing: the test shows nothing")
				}
				var got []activity.Line
				for l, err := range activity.EachCall(ctx, s, f, 1000) {
					testkit.Must0(t, err)
					got = append(got, l)
				}
				testkit.Equal(t, got, want)
				if n := testkit.Must(activity.CountCalls(ctx, s, f))(t); n != int64(len(want)) {
					t.Errorf("counted %d of %d", n, len(want))
				}
			})
		}
		t.Run("pages follow each other by offset and by position", func(t *testing.T) {
			f := activity.CallFilter{Organization: "org_a"}
			first := testkit.Must(activity.Calls(ctx, s, f, id.Raw{}, 10, 0))(t)
			second := testkit.Must(activity.Calls(ctx, s, f, id.Raw{}, 10, 10))(t)
			testkit.Equal(t, testkit.Must(activity.Calls(ctx, s, f, first[9].ID, 10, 0))(t), second)
		})
		t.Run("a line is found by its id, within the filter alone", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(activity.Call(ctx, s, activity.CallFilter{Organization: "org_a"}, lines[3].ID))(t), *lines[3])
			_, err := activity.Call(ctx, s, activity.CallFilter{Organization: "org_a"}, foreign.ID)
			testkit.Fault(t, err, "activity.no_call")
			_, err = activity.Call(ctx, s, activity.CallFilter{Organization: "org_a", User: "user_b"}, lines[3].ID)
			testkit.Fault(t, err, "activity.no_call")
		})
		t.Run("an export ends at its limit", func(t *testing.T) {
			n := 0
			for range activity.EachCall(ctx, s, activity.CallFilter{Organization: "org_a"}, 7) {
				n++
			}
			testkit.Equal(t, n, 7)
		})
		t.Run("what is too old goes, in every organization, and nothing else", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(activity.ExpireCalls(ctx, s, lines[20].CreatedAt))(t), int64(20))
			testkit.Equal(t, testkit.Must(activity.CountCalls(ctx, s, activity.CallFilter{Organization: "org_a"}))(t), int64(10))
			testkit.Equal(t, testkit.Must(activity.ExpireCalls(ctx, s, time.Now().Add(time.Hour)))(t), int64(11))
		})
	})
}

func TestFeed(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		feed := activity.NewFeed(s, time.Now, slog.New(slog.DiscardHandler), 5*time.Millisecond)
		next := func(t *testing.T, lines <-chan activity.Line) activity.Line {
			t.Helper()
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatal("the stream has ended")
				}
				return l
			case <-time.After(10 * time.Second):
				t.Fatal("no line came")
			}
			return activity.Line{}
		}
		t.Run("each line comes once, to those who may see it", func(t *testing.T) {
			write(t, s, made(1, time.Second)) // before anybody listens
			ctx, cancel := context.WithCancel(t.Context())
			all := testkit.Must(feed.Subscribe(ctx, activity.CallFilter{Organization: "org_a"}))(t)
			one := testkit.Must(feed.Subscribe(ctx, activity.CallFilter{Organization: "org_a", Service: "svc_1"}))(t)
			other := testkit.Must(feed.Subscribe(ctx, activity.CallFilter{Organization: "org_b"}))(t)
			a, b := made(2, 0), made(3, 0)
			a.Duration, b.Duration = time.Second, time.Second
			write(t, s, a)
			testkit.Equal(t, next(t, all), *a)
			write(t, s, b)
			testkit.Equal(t, next(t, all), *b)
			testkit.Equal(t, next(t, one), *b)
			// A call that began before both and ended after them.
			late := made(5, 4*time.Second)
			late.Duration = 5 * time.Second
			write(t, s, late)
			testkit.Equal(t, next(t, all), *late)
			cancel()
			for _, c := range []<-chan activity.Line{all, one, other} {
				for l := range c { // closed, once the context has ended
					if l.ID != late.ID {
						t.Errorf("another line came: %+v", l)
					}
				}
			}
		})
		t.Run("a call that took minutes comes too", func(t *testing.T) {
			var ahead atomic.Int64
			feed := activity.NewFeed(s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, slog.New(slog.DiscardHandler), 5*time.Millisecond)
			lines := testkit.Must(feed.Subscribe(t.Context(), activity.CallFilter{Organization: "org_d"}))(t)
			long := made(1, 5*time.Minute)
			long.Organization, long.Duration = "org_d", 6*time.Minute
			write(t, s, long)
			ahead.Store(int64(11 * time.Second)) // the time of the next look further back
			testkit.Equal(t, next(t, lines), *long)
		})
		t.Run("who is too slow is cut off instead of missing lines", func(t *testing.T) {
			lines := testkit.Must(feed.Subscribe(t.Context(), activity.CallFilter{Organization: "org_c"}))(t)
			var many []*activity.Line
			for i := range 400 {
				l := made(i, 0)
				l.Organization, l.Duration = "org_c", time.Second
				many = append(many, l)
			}
			write(t, s, many...)
			deadline := time.After(10 * time.Second)
			for cut := false; !cut; { // full, then closed: look without taking
				select {
				case <-deadline:
					t.Fatal("never cut off")
				default:
					cut = len(lines) == cap(lines)
				}
			}
			// To subscribe waits until the lines of this look are told.
			testkit.Must(feed.Subscribe(t.Context(), activity.CallFilter{Organization: "org_c"}))(t)
			n := 0
			for range lines {
				n++
			}
			if n != cap(lines) {
				t.Errorf("%d lines", n)
			}
		})
	})
}
