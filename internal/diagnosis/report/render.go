package report

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
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
	r.head(&b)
	b.WriteByte('\n')
	for _, c := range r.Checks.List() {
		detail := c.Detail
		if r.Error != nil && c.Status == Error && detail == r.Error.Message {
			detail = "See below." // once is enough
		}
		fmt.Fprintf(&b, "  %-8s %-18s %s\n", c.Status, c.Name, detail)
	}
	for _, o := range r.Further {
		fmt.Fprintf(&b, "  %-8s %-18s %s%s\n", o.Status, o.ID, o.Detail, r.toMend(o.ID))
	}
	if r.Error != nil && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.What, r.Error.Message) }) {
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

// head is the verdict, and how the server speaks.
func (r *Report) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s, %d ms\n", r.title(), r.Status, r.DurationMs)
	if i := r.InitInfo; i != nil {
		fmt.Fprintf(b, "speaks %s (%s)\n", i.ProtocolVersion, i.Era)
	}
}

// WriteBrief writes the verdict for people and what the server says of itself,
// without the checks.
func (r *Report) WriteBrief(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	if r.Error != nil {
		fmt.Fprintf(&b, "\n%s: %s\n", r.Error.Code, r.Error.Message)
	}
	if i := r.InitInfo; i != nil {
		b.WriteByte('\n')
		for _, l := range [][2]string{{"server", serverName(i.ServerInfo)}, {"capabilities", strings.Join(keysOf(i.Capabilities), ", ")}, {"instructions", oneLine(i.Instructions)}} {
			if l[1] != "" {
				fmt.Fprintf(&b, "  %-13s %s\n", l[0], l[1])
			}
		}
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// serverName is what people call a server by, and its version.
func serverName(info json.RawMessage) string {
	var s struct{ Name, Title, Version string }
	if json.Unmarshal(info, &s) != nil {
		return ""
	}
	text := strings.TrimSpace(cmp.Or(s.Title, s.Name) + " " + s.Version)
	if s.Title != "" && s.Title != s.Name {
		text += " (" + s.Name + ")"
	}
	return oneLine(text)
}

func keysOf(object json.RawMessage) []string {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(object, &m) // what is no object has none
	return slices.Sorted(maps.Keys(m))
}

// oneLine makes a text fit a line.
func oneLine(s string) string { return Clip(strings.Join(strings.Fields(s), " "), 200) }

// toMend counts what a check found, for the line that says that it is not well.
func (r *Report) toMend(check string) string {
	var list []string
	for _, severity := range []string{SevError, SevWarning} {
		n := 0
		for _, f := range r.Findings {
			if f.Check == check && f.Severity == severity {
				n++
			}
		}
		switch {
		case n == 1:
			list = append(list, "1 "+severity)
		case n > 1:
			list = append(list, fmt.Sprintf("%d %ss", n, severity))
		}
	}
	if list == nil {
		return ""
	}
	return " Below: " + strings.Join(list, ", ") + "."
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
	for _, s := range append([]section{{"Broke", d.Broke}, {"Mended", d.Mended}}, d.sections()...) {
		if len(s.lines) > 0 {
			fmt.Fprintf(&b, "%s:\n", s.title)
			for _, l := range s.lines {
				fmt.Fprintf(&b, "  %s\n", l)
			}
		}
	}
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

type section struct {
	title string
	lines []string
}

// sections are what changed, by what it is of.
func (d *Drift) sections() (list []section) {
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
		list = append(list, section{l.noun, lines})
	}
	return append(list, section{"Server", movesText(d.Server)}, section{"Latency", movesText(d.Latency)})
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

// Case is one test of a JUnit suite.
type Case struct {
	Name   string
	Status string // OK, Error, Skipped; Warning counts as OK
	Detail string
	Output string
}

// WriteJUnit writes the report as JUnit XML, which CI systems show: each check
// is a test, and one with an error is a failure.
func (r *Report) WriteJUnit(w io.Writer) error {
	var list []Case
	for _, c := range r.Checks.List() {
		list = append(list, Case{c.Name, c.Status, c.Detail, r.findingsOf(c.Name)})
	}
	for _, o := range r.Further {
		list = append(list, Case{o.ID, o.Status, o.Detail, r.findingsOf(o.ID)})
	}
	return WriteJUnit(w, "doctor", r.title(), r.GeneratedAt, time.Duration(r.DurationMs)*time.Millisecond, list)
}

// WriteJUnit writes what a command found about something as JUnit XML.
func WriteJUnit(w io.Writer, command, about string, at time.Time, took time.Duration, cases []Case) error {
	s := junitSuite{Name: printable("headgate " + command + " " + about), Time: fmt.Sprintf("%.3f", took.Seconds()), Stamp: at.UTC().Format("2006-01-02T15:04:05Z")}
	for _, c := range cases {
		j := junitCase{Class: "headgate." + command, Name: c.Name, Output: printable(c.Output)}
		switch c.Status {
		case Error:
			j.Failure = &junitMessage{printable(c.Detail), j.Output}
			s.Failures++
		case Skipped:
			j.Skipped = &junitMessage{Message: printable(c.Detail)}
			s.Skipped++
		}
		s.Tests++
		s.Cases = append(s.Cases, j)
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

// WriteJUnit writes the drift as JUnit XML: one test that fails when something
// broke, and one for each thing that may change, which tells what did.
func (d *Drift) WriteJUnit(w io.Writer) error {
	verdict := Case{Name: "nothing broke", Status: OK}
	if len(d.Broke) > 0 {
		verdict.Status, verdict.Detail, verdict.Output = Error, d.Broke[0], strings.Join(d.Broke, "\n")
	}
	list := []Case{verdict}
	for _, s := range d.sections() {
		list = append(list, Case{Name: s.title, Status: OK, Output: strings.Join(s.lines, "\n")})
	}
	return WriteJUnit(w, "diff", d.From.name()+" "+d.To.name(), d.To.GeneratedAt, 0, list)
}

// name is a report's id, or its time when it was never kept.
func (r ReportRef) name() string {
	if r.ID != "" {
		return r.ID
	}
	return r.GeneratedAt.UTC().Format(time.RFC3339)
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
