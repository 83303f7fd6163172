package diagnosis

import "time"

// Next is what a cron expression gives after a moment; ok is false when it is none.
func Next(expression string, after time.Time) (next time.Time, ok bool) {
	c, err := parseCron(expression)
	if err != nil {
		return time.Time{}, false
	}
	return c.next(after), true
}
