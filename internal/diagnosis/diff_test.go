package diagnosis_test

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"headgate/internal/diagnosis"
	"headgate/internal/testkit"
)

// examine diagnoses a script as it is now.
func examine(t *testing.T, s *script) *diagnosis.Report {
	t.Helper()
	return testkit.Must(diagnosis.New(diagnosis.Options{Guard: loopback}).Examine(t.Context(), s.URL, nil))(t)
}

func TestDiff(t *testing.T) {
	tools := func(list string) string { return `{"tools":[` + list + `]}` }
	const (
		a  = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"string"},"n":{"type":"integer","maximum":9007199254740993}}}}`
		a2 = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"integer"},"n":{"type":"integer","maximum":9007199254740993}},"required":["x"]}}`
		a3 = `{"description":"A.","name":"a","inputSchema":{"properties":{"n":{"maximum":9007199254740993,"type":"integer"},"x":{"type":"string"}},"type":"object"}}`
		a4 = `{"name":"a","description":"A.","inputSchema":{"type":"object","properties":{"x":{"type":"string"},"n":{"type":"integer","maximum":9007199254740992}}}}`
		b  = `{"name":"b","description":"B.","inputSchema":{"type":"object"}}`
	)
	s := newScript(t).set("tools/list", tools(a))
	before := examine(t, s)
	t.Run("the order of members is no change", func(t *testing.T) {
		if d := diagnosis.Diff(before, examine(t, s.set("tools/list", tools(a3)))); d.Changed {
			t.Errorf("%+v", d)
		}
	})
	t.Run("a change beyond the integers of JavaScript is one", func(t *testing.T) {
		d := diagnosis.Diff(before, examine(t, s.set("tools/list", tools(a4))))
		testkit.Equal(t, d.Tools.Changed, []diagnosis.Change{{Name: "a", Fields: []string{"inputSchema"}}})
		testkit.Equal(t, d.Broke, []string{})
	})
	t.Run("added tools break nothing, removed ones do", func(t *testing.T) {
		both := examine(t, s.set("tools/list", tools(a+","+b)))
		d := diagnosis.Diff(before, both)
		testkit.Equal(t, d.Tools.Added, []string{"b"})
		testkit.Equal(t, d.Broke, []string{})
		d = diagnosis.Diff(both, before)
		testkit.Equal(t, d.Tools.Removed, []string{"b"})
		testkit.Equal(t, d.Broke, []string{"The tool b is gone."})
	})
	t.Run("arguments that fail now are said to be breaking", func(t *testing.T) {
		d := diagnosis.Diff(before, examine(t, s.set("tools/list", tools(a2))))
		testkit.Equal(t, d.Tools.Changed[0].Breaking, []string{"the argument x is required now", "the argument x has another type"})
		testkit.Equal(t, len(d.Broke), 2)
	})
	t.Run("a list that could not be read is broken, and its entries are not gone", func(t *testing.T) {
		d := diagnosis.Diff(before, examine(t, s.set("tools/list", `{"no":1}`)))
		testkit.Equal(t, d.Tools.Removed, []string{})
		if len(d.Broke) == 0 || !strings.HasPrefix(d.Broke[0], "The server was ready and is partial now") {
			t.Errorf("%v", d.Broke)
		}
		mended := diagnosis.Diff(examine(t, s), before)
		if len(mended.Mended) == 0 {
			t.Errorf("%+v", mended)
		}
		s.set("tools/list", tools(a))
	})
	t.Run("another version of the server is told", func(t *testing.T) {
		s.set("initialize", `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"2"}}`)
		d := diagnosis.Diff(before, examine(t, s))
		var what []string
		for _, m := range d.Server {
			what = append(what, m.What)
		}
		testkit.Equal(t, what, []string{"protocolVersion", "serverInfo", "capabilities"})
	})
}

func TestRenderings(t *testing.T) {
	s := newScript(t).set("tools/list", "{\"tools\":[{\"name\":\"evil\\u001b[31m\\u202e\",\"inputSchema\":{\"type\":\"object\"}}]}").
		set("prompts/list", `{"no":1}`)
	r := examine(t, s)
	t.Run("text steers no terminal", func(t *testing.T) {
		var b bytes.Buffer
		testkit.Must0(t, r.WriteText(&b))
		text := b.String()
		if strings.ContainsAny(text, "\x1b\u202e") || !strings.Contains(text, "evil?[31m?") || !strings.Contains(text, "partial") || !strings.Contains(text, "fix: ") {
			t.Errorf("%q", text)
		}
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
		testkit.Must0(t, diagnosis.Diff(r, r).WriteText(&b))
		testkit.Equal(t, b.String(), "Nothing changed.\n")
		b.Reset()
		testkit.Must0(t, diagnosis.Diff(r, examine(t, newScript(t))).WriteText(&b))
		for _, want := range []string{"Mended:", "+ look", "Tools:"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s is missing in\n%s", want, b.String())
			}
		}
	})
}
