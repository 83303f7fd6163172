package main

import (
	"bytes"
	"strconv"
)

// bar is a figure with what it must and what it should be.
type bar struct {
	name        string
	unit        string
	floor, goal float64
	atMost      bool // less is better
	value       func(b *bench) float64
}

// The bars "of nginx" are those "of direct", divided by what nginx had of direct
// where they were set: 0.56 at 64 B, 0.62 at 4 KiB, 0.71 at 64 KiB, and 0.67 with
// 64 callers. They say how good Headgate is where a hop costs more, or less, than
// it did there.
var bars = []bar{
	// A call that is paid for and on disk before it is answered.
	shareBar(c16Small, durable, direct, 0.17, 0.24),
	shareBar(c16Medium, durable, direct, 0.20, 0.26),
	shareBar(c16Large, durable, direct, 0.33, 0.38),
	shareBar(c64Small, durable, direct, 0.30, 0.40),
	shareBar(c16SSE, durable, direct, 0.22, 0.31),
	shareBar(c16Small, durable, nginxed, 0.31, 0.42),
	shareBar(c16Medium, durable, nginxed, 0.32, 0.42),
	shareBar(c16Large, durable, nginxed, 0.46, 0.54),
	shareBar(c64Small, durable, nginxed, 0.45, 0.60),
	cpuBar(c16Small, durable, 0.105, 0.063),
	hopsBar(c16Small, durable, 5.5, 3.3),
	addedBar(durable, 0.7, 0.5),
	shareBar(c64Small, onPG, durable, 0.5, 0.8),

	// The same without the disk.
	shareBar(c16Small, noStore, direct, 0.38, 0.55),
	shareBar(c16Small, noStore, nginxed, 0.70, 0.97),
	shareBar(c64Small, noStore, direct, 0.46, 0.63),
	shareBar(c64Small, noStore, nginxed, 0.69, 0.94),
	shareBar(c16Large, noStore, direct, 0.48, 0.60),
	shareBar(c16Large, noStore, nginxed, 0.68, 0.85),
	shareBar(c16SSE, noStore, direct, 0.46, 0.60),
	cpuBar(c16Small, noStore, 0.042, 0.021),
	hopsBar(c16Small, noStore, 2.2, 1.1),
	addedBar(noStore, 0.25, 0.15),

	// Lists, sessions, eras, many servers, many clients.
	{name: "tools/list of " + strconv.Itoa(listed) + " tools, of copying its bytes", floor: 0.7, goal: 0.9,
		value: func(b *bench) float64 { return b.share(lists, durable, copyOnly) }},
	{name: "a new session with its first call: added p50", unit: " ms", floor: 2, goal: 2, atMost: true,
		value: func(b *bench) float64 { return b.added(newSession, durable) }},
	crossBar(legacyToModern, legacyToLegacy),
	crossBar(modernToLegacy, modernToModern),
	shareBar(fanLists, oneHung, allWell, 0.8, 0.95),
	shareBar(fanSessions, oneHung, allWell, 0.8, 0.95),
	{name: fanCold + ", one of 20 servers hung: added", unit: " ms", floor: 100, goal: 50, atMost: true,
		value: func(b *bench) float64 { return median(b.values[fanCold+oneHung]) - median(b.values[fanCold+allWell]) }},
	{name: "memory per idle stream of 2025", unit: " KiB", floor: 30, goal: 30, atMost: true, value: valueOf(legacyStreams)},
	{name: "memory per idle stream of 2026", unit: " KiB", floor: 30, goal: 30, atMost: true, value: valueOf(modernStreams)},

	// Inside.
	{name: "key check: a key used before, among thousands: p99", unit: " ms", floor: 0.2, goal: 0.2, atMost: true, value: valueOf(keyCheck)},
	{name: "settlements/s on SQLite", floor: 20_000, goal: 20_000, value: valueOf(ledgerSQLite)},
	{name: "settlements/s on PostgreSQL", floor: 3_000, goal: 3_000, value: valueOf(ledgerPG)},

	// Programs.
	shareBar(stdioCalls, overStdio, direct, 0.25, 0.30),
	cpuBar(stdioCalls, overStdio, 0.13, 0.09),
	{name: coldStart, unit: " ms", floor: 150, goal: 50, atMost: true, value: valueOf(coldStart)},
	{name: "what the walls add to a start", unit: " ms", floor: 10, goal: 5, atMost: true, value: valueOf(wallCost)},
	{name: "memory of Headgate per idle stdio child", unit: " MiB", floor: 1, goal: 0.5, atMost: true, value: valueOf(idleStdio)},

	// The process.
	{name: "idle memory", unit: " MiB", floor: 40, goal: 40, atMost: true, value: valueOf("idle MiB")},
	{name: "memory with 1,000 sessions", unit: " MiB", floor: 160, goal: 160, atMost: true, value: valueOf("sessions MiB")},
	{name: "first call after start, existing database", unit: " ms", floor: 300, goal: 300, atMost: true, value: valueOf(firstCall)},
}

// cpuBar is about the processor time of a target per call.
func cpuBar(measurement, target string, floor, goal float64) bar {
	return bar{name: "CPU per call, " + measurement + ": " + target, unit: " ms", floor: floor, goal: goal, atMost: true,
		value: func(b *bench) float64 { return b.cpu(measurement, target) }}
}

// hopsBar is the same as a multiple of what nginx takes, 0.019 ms where the bars
// were set: it says how lean a target is on a slower or faster machine, too.
func hopsBar(measurement, target string, floor, goal float64) bar {
	return bar{name: "CPU per call, " + measurement + ": " + target + ", of nginx's", floor: floor, goal: goal, atMost: true,
		value: func(b *bench) float64 {
			hop := b.cpu(measurement, nginxed)
			if hop == 0 {
				return 0
			}
			return b.cpu(measurement, target) / hop
		}}
}

// addedBar is about what a target adds to a call where nothing is saturated.
func addedBar(target string, floor, goal float64) bar {
	return bar{name: "added p50 at " + steady + ": " + target, unit: " ms", floor: floor, goal: goal, atMost: true,
		value: func(b *bench) float64 { return b.added(steady, target) }}
}

// crossBar is about what translating costs: the processor time of a call to a
// server of the other era, of one to a server of the client's own.
func crossBar(crossed, same string) bar {
	return bar{name: "CPU per call, client to server " + crossed + ", of " + same, floor: 2, goal: 2, atMost: true,
		value: func(b *bench) float64 {
			return b.ratio(crossEra, crossed, same, func(s sample) float64 { return s.cpu })
		}}
}

func shareBar(measurement, target, of string, floor, goal float64) bar {
	return bar{name: measurement + ": " + target + ", of " + of, floor: floor, goal: goal,
		value: func(b *bench) float64 { return b.share(measurement, target, of) }}
}

func valueOf(name string) func(b *bench) float64 {
	return func(b *bench) float64 { return median(b.values[name]) }
}

// added is what a target adds to the median time of a call.
func (b *bench) added(measurement, target string) float64 {
	if p := b.p50(measurement, target); p > 0 {
		return p - b.p50(measurement, direct)
	}
	return 0
}

// verdict says where a figure lies. 0 means that it was not measured.
func (r bar) verdict(v float64) string {
	reaches := func(line float64) bool { return v >= line }
	if r.atMost {
		reaches = func(line float64) bool { return v <= line }
	}
	switch {
	case v == 0:
		return "not measured"
	case reaches(r.goal):
		return "goal"
	case reaches(r.floor):
		return "ok"
	}
	return "**below**"
}

// number3 writes a figure with three digits.
func number3(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// countTools counts the tools of a list by what each has once.
func countTools(list []byte) int { return bytes.Count(list, []byte(`"inputSchema"`)) }
