package mcp_test

import (
	"strings"
	"testing"

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
