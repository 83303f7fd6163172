package main

import (
	"fmt"
	"slices"
	"time"
)

// measurement is one question to all targets, or to those it is about. A later
// one is a line here, a function, and its bars in bars.go.
type measurement struct {
	name string
	run  func(b *bench) error
}

const (
	c16Small  = "16 callers, 64 B"
	c16Medium = "16 callers, 4 KiB"
	c16Large  = "16 callers, 64 KiB"
	c64Small  = "64 callers, 64 B"
	c16SSE    = "16 callers, 64 B, SSE"
	steady    = "300 calls/s"
	lists     = "tools/list"
	memory    = "memory"
	firstCall = "first call"
)

// The last two start Headgate anew, so they come last. Idle programs are weighed
// in this process, so that comes before what leaves much behind in it.
var measurements = []measurement{
	{c16Small, calls(c16Small, 16, 64, "")},
	{c16Medium, calls(c16Medium, 16, 4<<10, "")},
	{c16Large, calls(c16Large, 16, 64<<10, "")},
	{c64Small, calls(c64Small, 64, 64, "")},
	{c16SSE, calls(c16SSE, 16, 64, "_sse")},
	{steady, measureSteady},
	{lists, measureLists},
	{stdioCalls, measureStdio},
	{coldStart, measureColdStart},
	{wallCost, measureWalls},
	{idleStdio, measureIdle},
	{newSession, measureSessions},
	{crossEra, measureEras},
	{fanLists, measureFanOut},
	{idleStreams, measureStreams},
	{keyCheck, measureKeys},
	{ledgerSQLite, ledger(ledgerSQLite)},
	{ledgerPG, ledger(ledgerPG)},
	{memory, measureMemory},
	{firstCall, measureFirstCall},
}

// alternate measures every target in turn, round by round, so that whatever
// else the machine does falls on all of them.
func (b *bench) alternate(name string, targets []*target, one func(t *target) (sample, error)) error {
	for range b.rounds {
		for _, t := range targets {
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			s, err := one(t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			k := key{name, t.name}
			if b.results[k] == nil {
				b.order = append(b.order, k)
			}
			b.results[k] = append(b.results[k], s)
		}
	}
	return nil
}

// calls measures echo calls in a closed loop.
func calls(name string, n, size int, tool string) func(b *bench) error {
	return func(b *bench) error {
		targets := b.targets
		if b.quick { // no bar is about it
			targets = slices.DeleteFunc(slices.Clone(targets), func(t *target) bool { return t.name == proxied })
		}
		return b.alternate(name, targets, func(t *target) (sample, error) {
			callers, err := b.crew(t, n, echoOf(t.tool+tool, size))
			if err != nil {
				return sample{}, err
			}
			return b.sample(t, func(d time.Duration) sample { return closed(b.ctx, callers, &b.wrong, d) })
		})
	}
}

// measureSteady measures what a call takes where nothing is saturated.
func measureSteady(b *bench) error {
	return b.alternate(steady, b.targets, func(t *target) (sample, error) {
		callers, err := b.crew(t, 16, echoOf(t.tool, 64))
		if err != nil {
			return sample{}, err
		}
		return b.sample(t, func(d time.Duration) sample { return open(b.ctx, callers, &b.wrong, 300, d) })
	})
}

// measureLists compares Headgate's tools/list with a server that does nothing
// but copy as many bytes.
func measureLists(b *bench) error {
	targets := []*target{b.target(direct)}
	if b.full != nil {
		bytes, err := b.listSize(&b.full.target)
		if err != nil {
			return err
		}
		b.values["list bytes"] = []float64{float64(bytes)}
		c := *b.target(proxied)
		c.name, c.path, c.query, c.plain = copyOnly, "/copy", fmt.Sprintf("n=%d", bytes), true
		targets = append(targets, &c, b.target(durable))
		defer b.dismiss(&c)
	}
	return b.alternate(lists, targets, func(t *target) (sample, error) {
		callers, err := b.crew(t, 16, listOf("tools/list"))
		if err != nil {
			return sample{}, err
		}
		return b.sample(t, func(d time.Duration) sample { return closed(b.ctx, callers, &b.wrong, d) })
	})
}

// listSize returns the length of a list, once it has every tool.
func (b *bench) listSize(t *target) (int, error) {
	callers, err := b.crew(t, 1, listOf("tools/list"))
	if err != nil {
		return 0, err
	}
	k := callers[0]
	k.call(&b.wrong, time.Now())
	if n := countTools(k.seen); n < listed {
		return 0, fmt.Errorf("the list of %s has %d tools, want at least %d", t.name, n, listed)
	}
	return len(k.seen), nil
}

// measureMemory measures a server that has just started, then with sessions.
func measureMemory(b *bench) error {
	if b.full == nil {
		return nil
	}
	const sessions, callsEach = 1000, 4
	if _, err := b.restart(); err != nil {
		return err
	}
	b.values["idle MiB"] = []float64{b.full.process.rss()}
	callers, err := b.crew(&b.full.target, sessions, echoOf(b.full.tool, 64))
	if err != nil {
		return err
	}
	for range callsEach {
		for _, k := range callers {
			k.call(&b.wrong, time.Now())
		}
	}
	b.values["sessions MiB"] = []float64{b.full.process.rss()}
	b.dismiss(&b.full.target)
	return nil
}

// measureFirstCall measures starts with an existing database.
func measureFirstCall(b *bench) error {
	if b.full == nil {
		return nil
	}
	for range b.rounds {
		d, err := b.restart()
		if err != nil {
			return err
		}
		b.values[firstCall] = append(b.values[firstCall], d.Seconds()*1000)
	}
	return nil
}

// restart starts Headgate anew and makes a call.
func (b *bench) restart() (time.Duration, error) {
	b.dismiss(&b.full.target)
	return b.full.firstCall(b.ctx, &b.wrong)
}

// median returns the middle of the values, 0 without any.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// each returns a figure of every round.
func (b *bench) each(measurement, target string, figure func(sample) float64) []float64 {
	var values []float64
	for _, s := range b.results[key{measurement, target}] {
		values = append(values, figure(s))
	}
	return values
}

// share is the median of the rounds' ratios of two targets' rates; 0 when one
// was not measured.
func (b *bench) share(measurement, target, of string) float64 {
	return b.ratio(measurement, target, of, func(s sample) float64 { return s.rate })
}

// ratio is the same of any figure.
func (b *bench) ratio(measurement, target, of string, figure func(sample) float64) float64 {
	mine, theirs := b.each(measurement, target, figure), b.each(measurement, of, figure)
	var ratios []float64
	for i := range min(len(mine), len(theirs)) {
		if theirs[i] > 0 {
			ratios = append(ratios, mine[i]/theirs[i])
		}
	}
	return median(ratios)
}

func (b *bench) cpu(measurement, target string) float64 {
	return median(b.each(measurement, target, func(s sample) float64 { return s.cpu }))
}

func (b *bench) p50(measurement, target string) float64 {
	return median(b.each(measurement, target, func(s sample) float64 { return s.p50.Seconds() * 1000 }))
}

func (b *bench) p99(measurement, target string) float64 {
	return median(b.each(measurement, target, func(s sample) float64 { return s.p99.Seconds() * 1000 }))
}
