package mcp_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"headgate/internal/mcp"
)

func TestHeader(t *testing.T) {
	t.Run("is encoded as the specification's examples are", func(t *testing.T) {
		for value, want := range map[string]string{
			"us-west1":            "us-west1",
			"two words\tand more": "two words\tand more",
			"":                    "",
			"Hello, 世界":           "=?base64?SGVsbG8sIOS4lueVjA==?=",
			" padded ":            "=?base64?IHBhZGRlZCA=?=",
			"line1\nline2":        "=?base64?bGluZTEKbGluZTI=?=",
			"=?base64?literal?=":  "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
			"=?base64?open":       "=?base64?open",
		} {
			if got := mcp.EncodeHeader(value); got != want {
				t.Errorf("%q: got %q, want %q", value, got, want)
			}
		}
	})
	t.Run("carries every text there and back, in visible ASCII", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			s := rapid.OneOf(rapid.String(), rapid.StringMatching(`(=\?base64\?)?[ -~\t]*(\?=)?`)).Draw(t, "s")
			header := mcp.EncodeHeader(s)
			if strings.TrimSpace(header) != header || strings.ContainsFunc(header, func(r rune) bool { return (r < ' ' && r != '\t') || r > '~' }) {
				t.Fatalf("%q is no header for %q", header, s)
			}
			if got, err := mcp.DecodeHeader(header); err != nil || got != s {
				t.Fatalf("%q: got %q, %v", s, got, err)
			}
			raw := []byte(escape(t, s))
			if !mcp.MatchName(header, raw, mcp.Root(raw)) || mcp.MatchName(header+"x", raw, mcp.Root(raw)) {
				t.Fatalf("MatchName is wrong on %q and %s", header, raw)
			}
		})
	})
	t.Run("is refused when it is not canonical", func(t *testing.T) {
		for _, header := range []string{
			"caf\xc3\xa9", "a\r\nb", "a\x00", " a", "a ", "a\x7f",
			"=?base64?%%%?=", "=?base64?YQ?=", "=?base64?YR==?=", "=?base64?Y\r\nQ==?=", "=?base64? YQ==?=", "=?base64?/w==?=",
		} {
			if got, err := mcp.DecodeHeader(header); mcp.RPCCode(err) != mcp.CodeHeaderMismatch {
				t.Errorf("%q: got %q, %v", header, got, err)
			}
		}
		for _, header := range []string{"=?BASE64?YQ==?=", "=?base64?=", "=?base64?"} { // plain texts
			if got, err := mcp.DecodeHeader(header); err != nil || got != header {
				t.Errorf("%q: got %q, %v", header, got, err)
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

func TestMergedName(t *testing.T) {
	t.Run("is plain when it can be", func(t *testing.T) {
		for _, row := range [][3]string{
			{"github", "search_repositories", "github_search_repositories"},
			{"my-db", "repository", "my-db_repository"},
			{"a", "x.y-Z_9", "a_x.y-Z_9"},
		} {
			if got := mcp.MergedName(row[0], row[1]); got != row[2] {
				t.Errorf("got %s, want %s", got, row[2])
			}
		}
	})
	t.Run("stays the same from release to release", func(t *testing.T) {
		if got := mcp.MergedName("files", "größe/lesen"); got != "files_gr__e_lesen_7pbunxohb7" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("is short and clean whatever it is made of", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			got := mcp.MergedName(rapid.String().Draw(t, "server"), rapid.String().Draw(t, "name"))
			if len(got) == 0 || len(got) > mcp.MaxName || !utf8.ValidString(got) ||
				strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
				t.Fatalf("got %q", got)
			}
		})
	})
	t.Run("is never the same for two different pairs", func(t *testing.T) {
		part := rapid.OneOf(rapid.StringMatching(`[ab_é/]{0,4}`), rapid.StringMatching(`a{10,70}`), rapid.StringMatching(`a_[2-7][a-z]{9}`))
		rapid.Check(t, func(t *rapid.T) {
			s1, n1, s2, n2 := part.Draw(t, "s1"), part.Draw(t, "n1"), part.Draw(t, "s2"), part.Draw(t, "n2")
			if (s1 != s2 || n1 != n2) && mcp.MergedName(s1, n1) == mcp.MergedName(s2, n2) {
				t.Fatalf("%q %q and %q %q become %q", s1, n1, s2, n2, mcp.MergedName(s1, n1))
			}
		})
	})
	t.Run("cannot be forged by naming a tool as another's changed name", func(t *testing.T) {
		changed := mcp.MergedName("a", "é")
		if mcp.MergedName("a", strings.TrimPrefix(changed, "a_")) == changed {
			t.Fatal("forged")
		}
	})
}
