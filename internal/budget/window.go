package budget

import "time"

// Period is one of the windows that a budget bounds.
type Period uint8

// The periods.
const (
	Hourly Period = iota
	Daily
	Weekly
	Monthly
	periods
)

// Unlimited is a limit that bounds nothing.
const Unlimited int64 = -1

// MicrosPerCent turns a limit into what is counted.
const MicrosPerCent = 10_000

// maxCents keeps every sum far from the end of int64.
const maxCents = 100_000_000_000

const buckets = 60

var windows = [periods]struct {
	name   string
	window time.Duration
}{{"hourly", time.Hour}, {"daily", 24 * time.Hour}, {"weekly", 7 * 24 * time.Hour}, {"monthly", 30 * 24 * time.Hour}}

// String returns the period's word.
func (p Period) String() string { return windows[p].name }

// Window returns how far back the period reaches.
func (p Period) Window() time.Duration { return windows[p].window }

// bucket returns the sixtieth a moment falls into.
func (p Period) bucket(t time.Time) int64 {
	return t.UnixMilli() / (p.Window() / buckets).Milliseconds()
}

// oldest is the first sixtieth that counts at a moment: the one begun sixty
// before the present one, so that no spending is forgotten early.
func (p Period) oldest(t time.Time) int64 { return p.bucket(t) - buckets }

// PeriodOf returns the period of a word.
func PeriodOf(word string) (Period, bool) {
	for p := range periods {
		if windows[p].name == word {
			return p, true
		}
	}
	return 0, false
}

// Limits are a budget's ceilings in cents, by period.
type Limits [periods]int64

// NoLimits bounds nothing.
var NoLimits = Limits{Unlimited, Unlimited, Unlimited, Unlimited}

func (l Limits) bound() bool { return l != NoLimits }

// check refuses limits that are no amounts.
func (l Limits) check() error {
	for p, cents := range l {
		if cents != Unlimited && (cents < 0 || cents > maxCents) {
			return ErrLimits.With("period", Period(p).String())
		}
	}
	return nil
}

// Spent is what was spent in each period, in micro-USD.
type Spent [periods]int64

// exceeded names the periods in which less than need is left, when leased is
// set aside already.
func (l Limits) exceeded(spent Spent, leased, need int64) (words []string, left int64) {
	left = int64(1) << 62
	for p, cents := range l {
		if cents == Unlimited {
			continue
		}
		rest := cents*MicrosPerCent - spent[p] - leased
		if rest < need {
			words = append(words, Period(p).String())
		}
		left = min(left, rest)
	}
	return words, max(left, 0)
}
