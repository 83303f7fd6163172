package diagnosis

import (
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cron is a parsed expression: for each field the set of its values, as bits.
type cron struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool // the field is *
}

// closest is how close together two runs of a schedule may be.
const closest = 5 * time.Minute

var (
	monthNames = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	dayNames   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	macros     = map[string]string{"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
)

// parseCron reads the five fields (minute hour day month weekday) with lists,
// ranges, steps and names, as cron does: where both day and weekday are given,
// either counts.
func parseCron(text string) (*cron, error) {
	if m, ok := macros[text]; ok {
		text = m
	}
	f := strings.Fields(text)
	if len(f) != 5 || len(text) > 100 {
		return nil, ErrCron
	}
	c := &cron{anyDay: f[2] == "*", anyWeekday: f[4] == "*"}
	for i, field := range []struct {
		into     *uint64
		min, max int
		names    []string
	}{{&c.minute, 0, 59, nil}, {&c.hour, 0, 23, nil}, {&c.day, 1, 31, nil}, {&c.month, 1, 12, monthNames}, {&c.weekday, 0, 7, dayNames}} {
		set, ok := parseField(f[i], field.min, field.max, field.names)
		if !ok {
			return nil, ErrCron
		}
		*field.into = set
	}
	c.weekday |= c.weekday >> 7 & 1 // 7 is Sunday too
	if c.tooOften() || c.next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, ErrCron
	}
	return c, nil
}

func parseField(text string, low, high int, names []string) (set uint64, ok bool) {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			var err error
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > high {
				return 0, false
			}
		}
		from, to := low, high
		if span != "*" {
			a, b, ranged := strings.Cut(span, "-")
			if from, ok = value(a, low, high, names); !ok {
				return 0, false
			}
			switch {
			case ranged:
				if to, ok = value(b, low, high, names); !ok || to < from {
					return 0, false
				}
			case !stepped:
				to = from
			}
		}
		for v := from; v <= to; v += step {
			set |= 1 << v
		}
	}
	return set, set != 0
}

func value(text string, low, high int, names []string) (int, bool) {
	for i, n := range names {
		if strings.EqualFold(text, n) {
			return i + low, true
		}
	}
	v, err := strconv.Atoi(text)
	return v, err == nil && v >= low && v <= high && text[0] != '+' && text[0] != '-'
}

// tooOften reports whether two minutes of one hour are too close together.
func (c *cron) tooOften() bool {
	m := c.minute
	last := -60
	first := bits.TrailingZeros64(m)
	for ; m != 0; m &= m - 1 {
		at := bits.TrailingZeros64(m)
		if at-last < int(closest/time.Minute) {
			return true
		}
		last = at
	}
	return bits.OnesCount64(c.hour) > 1 && first+60-last < int(closest/time.Minute)
}

// next returns the first minute after t, in UTC; the zero time when there is
// none in the eight years that hold a 29 February for certain.
func (c *cron) next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(8, 1, 0); t.Before(end); {
		switch {
		case c.month>>int(t.Month())&1 == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !c.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case c.hour>>t.Hour()&1 == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case c.minute>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

func (c *cron) onDay(t time.Time) bool {
	day, weekday := c.day>>t.Day()&1 == 1, c.weekday>>int(t.Weekday())&1 == 1
	switch {
	case c.anyDay:
		return weekday
	case c.anyWeekday:
		return day
	}
	return day || weekday
}
