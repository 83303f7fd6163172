package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
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

var bars = []bar{
	shareBar(c16Small, durable, direct, 0.17, 0.24),
	shareBar(c16Medium, durable, direct, 0.20, 0.26),
	shareBar(c16Large, durable, direct, 0.33, 0.38),
	shareBar(c64Small, durable, direct, 0.30, 0.40),
	{name: "CPU per call, " + c16Small, unit: " ms", floor: 0.105, goal: 0.063, atMost: true,
		value: func(b *bench) float64 { return b.cpu(c16Small, durable) }},
	shareBar(c16Small, durable, nginxed, 0.31, 0.42),
	shareBar(c16Small, noStore, direct, 0.38, 0.55),
	shareBar(c16Small, noStore, nginxed, 0.70, 0.97),
	{name: "added p50 at 300 calls/s", unit: " ms", floor: 0.7, goal: 0.5, atMost: true,
		value: func(b *bench) float64 { return b.added(durable) }},
	shareBar(c64Small, onPG, durable, 0.5, 0.8),
	{name: "tools/list of " + strconv.Itoa(listed) + " tools, of copying its bytes", floor: 0.7, goal: 0.9,
		value: func(b *bench) float64 { return b.share(lists, durable, copyOnly) }},
	shareBar(stdioCalls, overStdio, direct, 0.25, 0.30),
	{name: "CPU per call, " + stdioCalls, unit: " ms", floor: 0.13, goal: 0.09, atMost: true,
		value: func(b *bench) float64 { return b.cpu(stdioCalls, overStdio) }},
	{name: coldStart, unit: " ms", floor: 150, goal: 50, atMost: true, value: valueOf(coldStart)},
	{name: "what the walls add to a start", unit: " ms", floor: 10, goal: 5, atMost: true, value: valueOf(wallCost)},
	{name: "memory of Headgate per idle stdio child", unit: " MiB", floor: 1, goal: 0.5, atMost: true, value: valueOf(idleStdio)},
	{name: "idle memory", unit: " MiB", floor: 40, goal: 40, atMost: true, value: valueOf("idle MiB")},
	{name: "memory with 1,000 sessions", unit: " MiB", floor: 160, goal: 160, atMost: true, value: valueOf("sessions MiB")},
	{name: "first call after start, existing database", unit: " ms", floor: 300, goal: 300, atMost: true, value: valueOf(firstCall)},
}

func shareBar(measurement, target, of string, floor, goal float64) bar {
	return bar{name: measurement + ": " + target + ", of " + of, floor: floor, goal: goal,
		value: func(b *bench) float64 { return b.share(measurement, target, of) }}
}

func valueOf(name string) func(b *bench) float64 {
	return func(b *bench) float64 { return median(b.values[name]) }
}

// added is what a target adds to the median time of a call.
func (b *bench) added(target string) float64 {
	if p := b.p50(steady, target); p > 0 {
		return p - b.p50(steady, direct)
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

// print writes everything as Markdown, ready for README.md.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "\n%d CPUs, %s, %d rounds of %v, medians.\n", runtime.NumCPU(), runtime.Version(), b.rounds, b.round)
	for _, n := range b.notes {
		fmt.Fprintln(w, "Note:", n+".")
	}
	b.printShares(w)
	b.printSteady(w)
	fmt.Fprint(w, "\n| bar | measured | floor | goal | |\n| --- | --: | --: | --: | --- |\n")
	for _, r := range bars {
		v := r.value(b)
		measured := "-"
		if v != 0 {
			measured = number3(v) + r.unit
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.name, measured, number3(r.floor), number3(r.goal), r.verdict(v))
	}
	fmt.Fprintf(w, "\nAnswers: %s (must all be 0).\n", &b.wrong)
}

// printShares writes the closed loops: the direct rate, and shares of it.
func (b *bench) printShares(w io.Writer) {
	columns := []string{c16Small, c16Medium, c16Large, c64Small, c16SSE}
	fmt.Fprint(w, "\n| calls/s, as a share of direct |")
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c)
	}
	fmt.Fprint(w, " CPU ms per call, "+c16Small+" |\n| --- |")
	for range len(columns) + 1 {
		fmt.Fprint(w, " --: |")
	}
	fmt.Fprintln(w)
	for _, t := range b.targets {
		fmt.Fprintf(w, "| %s |", t.name)
		for _, c := range columns {
			share := b.share(c, t.name, direct)
			switch {
			case share == 0:
				fmt.Fprint(w, " - |")
			case t.name == direct:
				fmt.Fprintf(w, " 1 (%.0f/s) |", median(b.each(c, direct, func(s sample) float64 { return s.rate })))
			default:
				fmt.Fprintf(w, " %s |", number3(share))
			}
		}
		fmt.Fprintf(w, " %s |\n", number3(b.cpu(c16Small, t.name)))
	}
}

// printSteady writes the open loop.
func (b *bench) printSteady(w io.Writer) {
	if len(b.results[key{steady, direct}]) == 0 {
		return
	}
	fmt.Fprint(w, "\n| at "+steady+" | p50 ms | p99 ms | added p50 ms |\n| --- | --: | --: | --: |\n")
	for _, t := range b.targets {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", t.name, number3(b.p50(steady, t.name)), number3(b.p99(steady, t.name)), number3(b.added(t.name)))
	}
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
