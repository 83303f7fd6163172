package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
)

// table is rows under a head; the first column is text, the others figures.
type table struct {
	head []string
	rows [][]string
}

// print writes everything that was measured: as tables to read in a terminal,
// or as Markdown, ready for README.md.
func (b *bench) print(w io.Writer, markdown bool) {
	fmt.Fprintf(w, "\n%d CPUs, %s, %d rounds of %v, medians.\n", runtime.NumCPU(), runtime.Version(), b.rounds, b.round)
	for _, n := range append(b.notes, b.yardstick()...) {
		fmt.Fprintln(w, "Note:", n+".")
	}
	for _, t := range []table{b.shares(), b.waits(), b.costs(), b.verdicts()} {
		switch {
		case len(t.rows) == 0:
		case markdown:
			t.markdown(w)
		default:
			t.plain(w)
		}
	}
	fmt.Fprintf(w, "\nAnswers: %s (must all be 0).\n", &b.wrong)
}

// yardstick says what a direct call costs, by which its shares are to be read.
func (b *bench) yardstick() []string {
	upstream, hop := b.cpu(c16Small, direct), b.cpu(c16Small, nginxed)
	if upstream == 0 || hop == 0 {
		return nil
	}
	load := median(b.each(c16Small, direct, func(s sample) float64 { return s.load }))
	return []string{fmt.Sprintf("%s: a direct call takes %.3g ms of processor time in its server and %.3g ms in its caller, together %.2f times nginx's (2.05 where the bars were set)",
		c16Small, upstream, load, (upstream+load)/hop)}
}

// shares is about the closed loops: the direct rate, and shares of it.
func (b *bench) shares() table {
	columns := []string{c16Small, c16Medium, c16Large, c64Small, c16SSE}
	t := table{head: append(append([]string{"calls/s, as a share of direct"}, columns...), "CPU ms per call, "+c16Small)}
	for _, target := range b.targets {
		row, any := []string{target.name}, false
		for _, c := range columns {
			share := b.share(c, target.name, direct)
			any = any || share > 0
			text := figure(share)
			if share > 0 && target.name == direct {
				text = fmt.Sprintf("1 (%.0f/s)", median(b.each(c, direct, func(s sample) float64 { return s.rate })))
			}
			row = append(row, text)
		}
		if any {
			t.rows = append(t.rows, append(row, figure(b.cpu(c16Small, target.name))))
		}
	}
	return t
}

// waits is about what one client waits for.
func (b *bench) waits() table {
	t := table{head: []string{"what a client waits for", "p50 ms", "p99 ms", "added p50 ms"}}
	for _, m := range []struct{ name, of string }{{steady, direct}, {newSession, direct}, {fanSessions, allWell}, {fanLists, allWell}} {
		for _, target := range b.measured(m.name) {
			t.rows = append(t.rows, []string{m.name + ": " + target, figure(b.p50(m.name, target)), figure(b.p99(m.name, target)),
				figure(b.p50(m.name, target) - b.p50(m.name, m.of))})
		}
	}
	for _, target := range []string{allWell, oneHung} {
		if v := median(b.values[fanCold+target]); v > 0 {
			t.rows = append(t.rows, []string{fanCold + ": " + target, figure(v), "-", figure(v - median(b.values[fanCold+allWell]))})
		}
	}
	return t
}

// costs is about processor time where shares say little.
func (b *bench) costs() table {
	t := table{head: []string{"CPU ms per call", "ms", "calls/s"}}
	for _, m := range []string{crossEra, lists, stdioCalls, newSession} {
		for _, target := range b.measured(m) {
			t.rows = append(t.rows, []string{m + ": " + target, figure(b.cpu(m, target)), figure(median(b.each(m, target, func(s sample) float64 { return s.rate })))})
		}
	}
	for _, name := range []string{ledgerSQLite, ledgerPG} {
		if rate := median(b.values[name]); rate > 0 {
			t.rows = append(t.rows, []string{name + ": a settlement, without the database's own processes", figure(median(b.values[name+" CPU"])), figure(rate)})
		}
	}
	return t
}

// verdicts are the bars. Those that were not measured are left out when only
// some were asked for.
func (b *bench) verdicts() table {
	t := table{head: []string{"bar", "measured", "floor", "goal", ""}}
	for _, r := range bars {
		v := r.value(b)
		if v == 0 && b.some {
			continue
		}
		measured := figure(v)
		if v != 0 {
			measured += r.unit
		}
		t.rows = append(t.rows, []string{r.name, measured, number3(r.floor), number3(r.goal), r.verdict(v)})
	}
	return t
}

// measured returns the targets of a measurement in the order they were made.
func (b *bench) measured(name string) (targets []string) {
	for _, k := range b.order {
		if k.measurement == name {
			targets = append(targets, k.target)
		}
	}
	return targets
}

// figure is a number, or a dash for what was not measured.
func figure(v float64) string {
	if v == 0 {
		return "-"
	}
	return number3(v)
}

func (t table) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n| %s |\n| ---%s |\n", strings.Join(t.head, " | "), strings.Repeat(" | --:", len(t.head)-1))
	for _, r := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
	}
}

func (t table) plain(w io.Writer) {
	fmt.Fprintln(w)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintln(columns, strings.Join(r, "\t"))
	}
	_ = columns.Flush()
}
