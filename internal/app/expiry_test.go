package app_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

// TestExpiry: the job removes what is older than the settings keep, twice over
// too, and touches neither the money nor what is younger.
func TestExpiry(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		calls := func(from int64) {
			for n := from; n < from+5; n++ {
				testkit.Must(h.call(ctx, http.DefaultClient, n))(t)
			}
		}
		again := func() { // the job has run in this hour
			s := h.open()
			defer s.Close()
			testkit.Must(db.Exec(ctx, s, `DELETE FROM jobs WHERE kind = 'activity.expire'`))(t)
		}
		counted := func(table string) int64 {
			s := h.open()
			defer s.Close()
			return testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM `+table))(t)
		}
		h.start()
		calls(1)
		h.stop(syscall.SIGTERM)
		if v, code := h.verdict(); code != 0 {
			t.Fatalf("before: %+v", v)
		}
		lines, entries, events, trails := counted("calls"), counted("entries"), counted("events"), counted("event_heads")
		if lines != 5 || events == 0 {
			t.Fatalf("%d calls and %d events before", lines, events)
		}

		for _, keep := range []struct {
			age    string
			calls  int64
			events int64
		}{{"1h", lines, events}, {"1ms", 0, trails}, {"1ms", 0, trails}} {
			again()
			h.flags = []string{"--keep-calls", keep.age, "--keep-bodies", keep.age, "--keep-errors", keep.age, "--keep-audit", keep.age}
			h.start()
			time.Sleep(1500 * time.Millisecond) // the job begins with the server
			h.stop(syscall.SIGTERM)
			if got := counted("calls"); got != keep.calls {
				t.Errorf("kept %s: %d calls are left of %d", keep.age, got, keep.calls)
			}
			if got := counted("events"); got != keep.events {
				t.Errorf("kept %s: %d events are left, not %d", keep.age, got, keep.events)
			}
			if got := counted("entries"); got != entries {
				t.Errorf("kept %s: %d entries of %d", keep.age, got, entries)
			}
			if v, code := h.verdict(); code != 0 {
				t.Errorf("kept %s: %+v", keep.age, v)
			}
		}
		h.flags = nil
		h.start()
		calls(100) // all goes on
		h.stop(syscall.SIGTERM)
		if got := counted("calls"); got != 5 {
			t.Errorf("%d calls after it", got)
		}
	})
}
