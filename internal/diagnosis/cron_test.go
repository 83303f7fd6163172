package diagnosis_test

import (
	"testing"
	"time"

	"headgate/internal/diagnosis"
)

func TestCron(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ expression, after, next string }{
		{"*/15 * * * *", "2026-11-28 10:00:00", "2026-11-28 10:15:00"},
		{"*/15 * * * *", "2026-11-28 23:50:59", "2026-11-29 00:00:00"},
		{"0 6 * * 1-5", "2026-11-27 06:00:00", "2026-11-30 06:00:00"}, // Friday to Monday
		{"0 6 * * mon-FRI", "2026-11-27 06:00:00", "2026-11-30 06:00:00"},
		{"30 4 1,15 * *", "2026-11-02 00:00:00", "2026-11-15 04:30:00"},
		{"0 0 29 2 *", "2026-03-01 00:00:00", "2028-02-29 00:00:00"},
		{"0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"}, // 2100 is no leap year
		{"0 0 13 * 5", "2026-11-28 00:00:00", "2026-12-04 00:00:00"}, // a Friday or a 13th
		{"0 0 * * 7", "2026-11-28 00:00:00", "2026-11-29 00:00:00"},
		{"5-45/20 8-9 * * *", "2026-11-28 08:45:00", "2026-11-28 09:05:00"},
		{"0 12 31 * *", "2026-11-01 00:00:00", "2026-12-31 12:00:00"},
		{"10/20 * * * *", "2026-11-28 10:10:00", "2026-11-28 10:30:00"},
		{"@daily", "2026-11-28 10:10:00", "2026-11-29 00:00:00"},
		{"0 0 1 jan *", "2026-11-28 00:00:00", "2027-01-01 00:00:00"},
	} {
		t.Run(c.expression+" after "+c.after, func(t *testing.T) {
			got, ok := diagnosis.Next(c.expression, at(c.after))
			if want := at(c.next); !ok || !got.Equal(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	for _, e := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "0 0 30 2 *", "a * * * *",
		"5-1 * * * *", "*/0 * * * *", "*/x * * * *", "+5 * * * *", "1,,2 * * * *", "@reboot", "* * * * *", "*/2 * * * *", "0,3 * * * *", "1,58 * * * *", "-5 * * * *"} {
		t.Run("refuses "+e, func(t *testing.T) {
			if next, ok := diagnosis.Next(e, at("2026-11-28 10:00:00")); ok {
				t.Errorf("it is taken for %v", next)
			}
		})
	}
}

func FuzzCron(f *testing.F) {
	f.Add("*/15 0-6/2 1,15 jan-mar mon")
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, e string) {
		next, ok := diagnosis.Next(e, now)
		if !ok {
			return
		}
		if !next.After(now) || next.Second() != 0 {
			t.Errorf("%q: %v", e, next)
		}
		if again, _ := diagnosis.Next(e, next); again.Sub(next) < 5*time.Minute {
			t.Errorf("%q: %v and %v are too close", e, next, again)
		}
	})
}
