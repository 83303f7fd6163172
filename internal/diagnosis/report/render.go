package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// ExitCode is the code of a command that shows the report: 0 ready, 3 a
// sign-in is needed, 4 unreachable, 5 partly broken.
func (r *Report) ExitCode() int {
	switch r.Status {
	case Ready:
		return 0
	case OAuthRequired:
		return 3
	case Partial:
		return 5
	}
	return 4
}

// title names what was diagnosed.
func (r *Report) title() string {
	switch t := r.Target; {
	case t.Slug != "" && t.URL != "":
		return t.Slug + " (" + t.URL + ")"
	case t.Slug != "":
		return t.Slug
	default:
		return t.URL
	}
}

// WriteText writes the report for people. Texts of the server are written
// without control characters, so that they cannot steer a terminal.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %d ms\n", r.title(), r.Status, r.DurationMs)
	if i := r.InitInfo; i != nil {
		fmt.Fprintf(&b, "speaks %s (%s)\n", i.ProtocolVersion, i.Era)
	}
	b.WriteByte('\n')
	for _, c := range r.Checks.List() {
		detail := c.Detail
		if r.Error != nil && c.Status == Error && detail == r.Error.Message {
			detail = "See below." // once is enough
		}
		fmt.Fprintf(&b, "  %-8s %-18s %s\n", c.Status, c.Name, detail)
	}
	for _, o := range r.Further {
		fmt.Fprintf(&b, "  %-8s %-18s %s\n", o.Status, o.ID, o.Detail)
	}
	if r.Error != nil {
		fmt.Fprintf(&b, "\n%s: %s\n", r.Error.Code, r.Error.Message)
	}
	for _, severity := range []string{SevError, SevWarning, SevInfo} {
		for _, f := range r.Findings {
			if f.Severity == severity {
				fmt.Fprintf(&b, "\n%s %s: %s%s\n  why: %s\n  fix: %s\n", f.Severity, f.ID, f.What, f.about(), f.Why, f.Fix)
			}
		}
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// about lists the subjects of a finding.
func (f *Finding) about() string {
	if len(f.Subjects) == 0 {
		return ""
	}
	more := ""
	if n := f.Count - len(f.Subjects); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return " (" + strings.Join(f.Subjects, ", ") + more + ")"
}

// printable drops control characters but line breaks, and what reorders text.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n':
			return c
		case c < ' ', c >= 0x7f && c < 0xa0, c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069, c == 0xfeff, c == 0xfffd:
			return '?'
		}
		return c
	}, s)
}

// WriteText writes the drift for people.
func (d *Drift) WriteText(w io.Writer) error {
	var b strings.Builder
	if !d.Changed {
		b.WriteString("Nothing changed.\n")
	}
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s\n", title)
			for _, l := range lines {
				fmt.Fprintf(&b, "  %s\n", l)
			}
		}
	}
	section("Broke:", d.Broke)
	section("Mended:", d.Mended)
	for _, l := range []struct {
		noun  string
		delta Delta
	}{{"Tools", d.Tools}, {"Resources", d.Resources}, {"Resource templates", d.Templates}, {"Prompts", d.Prompts}} {
		var lines []string
		for _, n := range l.delta.Added {
			lines = append(lines, "+ "+n)
		}
		for _, n := range l.delta.Removed {
			lines = append(lines, "- "+n)
		}
		for _, c := range l.delta.Changed {
			lines = append(lines, "~ "+c.Name+" ("+strings.Join(c.Fields, ", ")+")")
		}
		section(l.noun+":", lines)
	}
	section("Server:", movesText(d.Server))
	section("Latency:", movesText(d.Latency))
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

func movesText(moves []Move) (lines []string) {
	for _, m := range moves {
		lines = append(lines, fmt.Sprintf("%s: %s -> %s", m.What, m.From, m.To))
	}
	return lines
}

type junitSuites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Suite   junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML, which CI systems show: each check
// is a test, and one with an error is a failure.
func (r *Report) WriteJUnit(w io.Writer) error {
	s := junitSuite{Name: printable("headgate doctor " + r.title()), Time: fmt.Sprintf("%.3f", float64(r.DurationMs)/1000),
		Stamp: r.GeneratedAt.UTC().Format("2006-01-02T15:04:05Z")}
	add := func(name, status, detail string) {
		c := junitCase{Class: "headgate.doctor", Name: name, Output: printable(r.findingsOf(name))}
		switch status {
		case Error:
			c.Failure = &junitMessage{printable(detail), c.Output}
			s.Failures++
		case Skipped:
			c.Skipped = &junitMessage{Message: printable(detail)}
			s.Skipped++
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	for _, c := range r.Checks.List() {
		add(c.Name, c.Status, c.Detail)
	}
	for _, o := range r.Further {
		add(o.ID, o.Status, o.Detail)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suite: s}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r *Report) findingsOf(check string) string {
	var b strings.Builder
	for _, f := range r.Findings {
		if f.Check == check {
			fmt.Fprintf(&b, "%s %s: %s%s Why: %s Fix: %s\n", f.Severity, f.ID, f.What, f.about(), f.Why, f.Fix)
		}
	}
	return b.String()
}
