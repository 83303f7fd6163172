package mcp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/mcp"
)

func TestParamHeaders(t *testing.T) {
	t.Run("finds annotations at every depth of properties", func(t *testing.T) {
		schema := `{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"x-mcp-header":{"type":"string"},
			"at":{"type":"object","properties":{"n":{"x-mcp-header":"N","type":"integer"},"on":{"type":"boolean","x-mcp-header":"On"}}}},
			"default":{"x-mcp-header":"no annotation"}}`
		got, err := mcp.ParamHeaders([]byte(schema))
		want := []mcp.ParamHeader{
			{Header: "Region", Path: []string{"region"}, Type: "string"},
			{Header: "N", Path: []string{"at", "n"}, Type: "integer"},
			{Header: "On", Path: []string{"at", "on"}, Type: "boolean"},
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
	t.Run("finds none in schemas without", func(t *testing.T) {
		for _, schema := range []string{``, `true`, `{}`, `{"type":"object"}`} {
			if got, err := mcp.ParamHeaders([]byte(schema)); err != nil || len(got) > 0 {
				t.Errorf("%s: got %v, %v", schema, got, err)
			}
		}
	})
	t.Run("refuses what the specification does", func(t *testing.T) {
		property := func(p string) string { return `{"type":"object","properties":{"a":` + p + `}}` }
		for why, schema := range map[string]string{
			"an empty name":          property(`{"type":"string","x-mcp-header":""}`),
			"no string":              property(`{"type":"string","x-mcp-header":1}`),
			"a space":                property(`{"type":"string","x-mcp-header":"a b"}`),
			"a line feed":            property(`{"type":"string","x-mcp-header":"a\n"}`),
			"a letter beyond ASCII":  property(`{"type":"string","x-mcp-header":"é"}`),
			"a number":               property(`{"type":"number","x-mcp-header":"A"}`),
			"an object":              property(`{"type":"object","x-mcp-header":"A"}`),
			"several types":          property(`{"type":["string","null"],"x-mcp-header":"A"}`),
			"no type":                property(`{"x-mcp-header":"A"}`),
			"the root":               `{"type":"string","x-mcp-header":"A"}`,
			"the same in other case": `{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`,
			"items":                  property(`{"type":"array","items":{"type":"string","x-mcp-header":"A"}}`),
			"below items":            property(`{"items":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}`),
			"oneOf":                  property(`{"oneOf":[{"type":"string","x-mcp-header":"A"}]}`),
			"then":                   `{"then":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}`,
			"definitions":            `{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}`,
			"pattern properties":     `{"patternProperties":{".":{"type":"string","x-mcp-header":"A"}}}`,
			"endless nesting":        strings.Repeat(`{"not":`, 100) + "{}" + strings.Repeat("}", 100),
		} {
			if got, err := mcp.ParamHeaders([]byte(schema)); !errors.Is(err, mcp.ErrBadAnnotation) {
				t.Errorf("%s: got %v, %v", why, got, err)
			}
		}
	})
}

func TestMatchParam(t *testing.T) {
	for _, row := range []struct {
		header, raw string
		match       bool
	}{
		{"us-west1", `"us-west1"`, true},
		{"us-west1", `"US-west1"`, false},
		{"=?base64?w6k=?=", `"\u00e9"`, true},
		{"42", `42`, true},
		{"42.0", `42`, true},
		{"42", `42.00`, true},
		{"-7", `-7`, true},
		{"42", `"42"`, true},
		{"42", `43`, false},
		{"042", `42`, false},
		{"+42", `42`, false},
		{"42.", `42`, false},
		{"42.5", `42.5`, false},
		{"4.2e1", `42`, false},
		{"9007199254740991", `9007199254740991`, true},
		{"9007199254740993", `9007199254740993`, false},
		{"", `0`, false},
		{"true", `true`, true},
		{"True", `true`, false},
		{"false", `true`, false},
		{"null", `null`, false},
		{"", ``, false},
		{"{}", `{}`, false},
	} {
		b := []byte(row.raw)
		if got := mcp.MatchParam(row.header, b, mcp.Root(b)); got != row.match {
			t.Errorf("%q and %s: got %v", row.header, row.raw, got)
		}
	}
}

func TestAppendParam(t *testing.T) {
	for raw, want := range map[string]string{`"a b"`: "a b", `"é"`: "=?base64?w6k=?=", `42.0`: "42", `-1`: "-1", `true`: "true"} {
		b := []byte(raw)
		got, ok := mcp.AppendParam(nil, b, mcp.Root(b))
		if !ok || string(got) != want || !mcp.MatchParam(string(got), b, mcp.Root(b)) {
			t.Errorf("%s: got %q, %v", raw, got, ok)
		}
	}
	for _, raw := range []string{`null`, `1.5`, `[]`, `{}`, `9007199254740992`, ``} {
		b := []byte(raw)
		if got, ok := mcp.AppendParam(nil, b, mcp.Root(b)); ok {
			t.Errorf("%s: got %q", raw, got)
		}
	}
}
