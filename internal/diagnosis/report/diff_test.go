package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"headgate/internal/diagnosis/report"
	"headgate/internal/testkit"
)

// made is a report of a server that is well, with these tools.
func made(tools ...string) *report.Report {
	r := report.New(report.Target{URL: "https://a.example/mcp", Transport: "http"}, time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	fine := report.Check{Status: report.OK, Detail: "Fine."}
	r.Checks = report.Checks{Probe: fine, Connection: fine, Initialization: fine, Capabilities: fine, Tools: fine, Resources: fine, ResourceTemplates: fine, Prompts: fine}
	r.Connection.Status = report.Connected
	r.InitInfo = &report.InitInfo{ProtocolVersion: "2025-11-25", ServerInfo: json.RawMessage(`{"name":"s","version":"1"}`)}
	for _, t := range tools {
		r.Tools = append(r.Tools, json.RawMessage(t))
	}
	r.Conclude()
	return r
}

func TestDiff(t *testing.T) {
	const (
		a  = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"string"},"n":{"type":"integer","maximum":9007199254740993}}}}`
		a2 = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"integer"},"n":{"type":"integer","maximum":9007199254740993}},"required":["x"]}}`
		a3 = `{"description":"A.","name":"a","inputSchema":{"properties":{"n":{"maximum":9007199254740993,"type":"integer"},"x":{"type":"string"}},"type":"object"}}`
		a4 = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"string"},"n":{"type":"integer","maximum":9007199254740992}}}}`
		a5 = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"string"}}}}`
		b  = `{"name":"b","description":"B.","inputSchema":{"type":"object"}}`
	)
	before := made(a)
	t.Run("the order of members is no change", func(t *testing.T) {
		if d := report.Diff(before, made(a3)); d.Changed {
			t.Errorf("%+v", d)
		}
	})
	t.Run("a change beyond the integers of JavaScript is one", func(t *testing.T) {
		d := report.Diff(before, made(a4))
		testkit.Equal(t, d.Tools.Changed, []report.Change{{Name: "a", Fields: []string{"inputSchema"}}})
		testkit.Equal(t, d.Broke, []string{})
	})
	t.Run("added tools break nothing, removed ones do", func(t *testing.T) {
		both := made(a, b)
		d := report.Diff(before, both)
		testkit.Equal(t, d.Tools.Added, []string{"b"})
		testkit.Equal(t, d.Broke, []string{})
		d = report.Diff(both, before)
		testkit.Equal(t, d.Tools.Removed, []string{"b"})
		testkit.Equal(t, d.Broke, []string{"The tool b is gone."})
	})
	t.Run("arguments that fail now are said to be breaking", func(t *testing.T) {
		d := report.Diff(before, made(a2))
		testkit.Equal(t, d.Tools.Changed[0].Breaking, []string{"the argument x is required now", "the argument x has another type"})
		testkit.Equal(t, len(d.Broke), 2)
		testkit.Equal(t, report.Diff(before, made(a5)).Broke, []string{"The tool a changed: the argument n is gone"})
	})
	t.Run("a list that could not be read is broken, and its entries are not gone", func(t *testing.T) {
		broken := made()
		broken.Checks.Tools = report.Check{Status: report.Error, Detail: "No list."}
		broken.Conclude()
		d := report.Diff(before, broken)
		testkit.Equal(t, d.Tools.Removed, []string{})
		testkit.Equal(t, d.Broke, []string{"The server was ready and is partial now.", "tools: No list."})
		testkit.Equal(t, report.Diff(broken, before).Mended, []string{"The server is ready again.", "tools: Fine."})
	})
	t.Run("a finding that is new and an error broke something", func(t *testing.T) {
		worse := made(a)
		worse.Find(report.Finding{ID: "names.twice", Severity: report.SevError, What: "A name comes twice."})
		worse.Find(report.Finding{ID: "hints.none", Severity: report.SevInfo, What: "No hints."})
		testkit.Equal(t, report.Diff(before, worse).Broke, []string{"A name comes twice."})
		testkit.Equal(t, report.Diff(worse, worse).Broke, []string{})
	})
	t.Run("another version of the server, and another time, are told", func(t *testing.T) {
		after := made(a)
		after.InitInfo.ProtocolVersion, after.InitInfo.ServerInfo = "2025-06-18", json.RawMessage(`{"name":"s","version":"2"}`)
		before := made(a)
		before.Steps, after.Steps = []report.Step{{Name: "connect", DurationMs: 100}, {Name: "ping", DurationMs: 1}}, []report.Step{{Name: "connect", DurationMs: 900}, {Name: "ping", DurationMs: 9}}
		d := report.Diff(before, after)
		testkit.Equal(t, d.Server, []report.Move{{What: "protocolVersion", From: "2025-11-25", To: "2025-06-18"}, {What: "serverInfo", From: `{"name":"s","version":"1"}`, To: `{"name":"s","version":"2"}`}})
		testkit.Equal(t, d.Latency, []report.Move{{What: "connect", From: "100 ms", To: "900 ms"}}) // what nobody notices is not told
	})
}

func TestReportBounds(t *testing.T) {
	r := made()
	for range 50 {
		r.Find(report.Finding{ID: "one", Check: "c", Severity: report.SevWarning}, "subject")
	}
	testkit.Equal(t, []int{len(r.Findings), len(r.Findings[0].Subjects), r.Findings[0].Count}, []int{1, 10, 50})
	for i := range 500 {
		r.Find(report.Finding{ID: string(rune('a' + i))}, strings.Repeat("é", 500))
	}
	testkit.Equal(t, len(r.Findings), 200)
	testkit.Equal(t, r.Worst("c"), report.Warning)
	r.Scrub([]string{"short", "subject-that-is-long"})
	text := testkit.Must(r.JSON())(t)
	testkit.Equal(t, string(testkit.Must(testkit.Must(report.Parse(text))(t).JSON())(t)), string(text))
}

func TestRenderings(t *testing.T) {
	r := made(`{"name":"one"}`)
	r.Checks.Prompts = report.Check{Status: report.Error, Detail: "No list."}
	r.Find(report.Finding{ID: "names.characters", Check: "names", Severity: report.SevError, What: "W.", Why: "Y.", Fix: "F."}, "evil\x1b[31m\u202e")
	r.Note("names", r.Worst("names"), "1 name.")
	r.Conclude()
	t.Run("text steers no terminal", func(t *testing.T) {
		var b bytes.Buffer
		testkit.Must0(t, r.WriteText(&b))
		text := b.String()
		if strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, "evil?[31m?") || !strings.Contains(text, "partial") || !strings.Contains(text, "fix: ") {
			t.Errorf("%q", text)
		}
	})
	t.Run("what a finding says is said once", func(t *testing.T) {
		r := made()
		r.Fail(&report.Problem{Code: "SERVER_UNREACHABLE", Message: "The server answered with error -32000."})
		said := func() int {
			var b bytes.Buffer
			testkit.Must0(t, r.WriteText(&b))
			return strings.Count(b.String(), "-32000")
		}
		testkit.Equal(t, said(), 1)
		r.Find(report.Finding{ID: "tools.failed", Check: "tools", Severity: report.SevError, What: "The list of tools cannot be had. The server answered with error -32000.", Why: "Y.", Fix: "F."})
		testkit.Equal(t, said(), 1)
	})
	t.Run("the brief text is what the server says of itself, and steers no terminal", func(t *testing.T) {
		r := made()
		r.InitInfo.ServerInfo = json.RawMessage(`{"name":"s","title":"A \u001bserver","version":"1"}`)
		r.InitInfo.Capabilities, r.InitInfo.Instructions = json.RawMessage(`{"tools":{},"prompts":{}}`), "Do\nthis."
		var b bytes.Buffer
		testkit.Must0(t, r.WriteBrief(&b))
		testkit.Equal(t, b.String(), "https://a.example/mcp: ready, 0 ms\nspeaks 2025-11-25 ()\n\n  server        A ?server 1 (s)\n  capabilities  prompts, tools\n  instructions  Do this.\n")
	})
	t.Run("JUnit has a test for each check, and counts them", func(t *testing.T) {
		var b bytes.Buffer
		testkit.Must0(t, r.WriteJUnit(&b))
		var doc struct {
			Suite struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Skipped  int `xml:"skipped,attr"`
				Cases    []struct {
					Name    string  `xml:"name,attr"`
					Failure *string `xml:"failure"`
					Skipped *string `xml:"skipped"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		testkit.Must0(t, xml.Unmarshal(b.Bytes(), &doc))
		failures, skipped := 0, 0
		for _, c := range doc.Suite.Cases {
			if c.Failure != nil {
				failures++
			}
			if c.Skipped != nil {
				skipped++
			}
			if c.Name == "prompts" && c.Failure == nil {
				t.Error("prompts did not fail")
			}
		}
		testkit.Equal(t, []int{doc.Suite.Tests, doc.Suite.Failures, doc.Suite.Skipped}, []int{len(doc.Suite.Cases), failures, skipped})
		testkit.Equal(t, doc.Suite.Tests, 8+len(r.Further))
	})
	t.Run("drift is told in words", func(t *testing.T) {
		var b bytes.Buffer
		testkit.Must0(t, report.Diff(r, r).WriteText(&b))
		testkit.Equal(t, b.String(), "Nothing changed.\n")
		b.Reset()
		testkit.Must0(t, report.Diff(r, made(`{"name":"look"}`)).WriteText(&b))
		for _, want := range []string{"Mended:", "+ look", "Tools:"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s is missing in\n%s", want, b.String())
			}
		}
	})
}
