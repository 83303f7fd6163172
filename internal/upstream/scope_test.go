package upstream_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// TestScope: a 403 that asks for more permissions is told from every other.
func TestScope(t *testing.T) {
	const wants = `Bearer error="insufficient_scope", scope="mcp:write", resource_metadata="https://x"`
	for _, c := range []struct {
		name, header, code string
		scope              any
	}{
		{"one that names the permissions", wants, "upstream.scope", "mcp:write"},
		{"one that does not", `Bearer error="insufficient_scope"`, "upstream.scope", nil},
		{"one with an endless text", `Bearer error="insufficient_scope", scope="` + strings.Repeat("a ", 1000) + `"`, "upstream.scope", nil},
		{"another error", `Bearer error="invalid_token", scope="mcp:write"`, "upstream.rejected", nil},
		{"another kind of challenge", `Basic error="insufficient_scope"`, "upstream.rejected", nil},
		{"none", ``, "upstream.rejected", nil},
	} {
		refuse := func(w http.ResponseWriter) bool {
			w.Header().Set("WWW-Authenticate", c.header)
			w.Header().Set("Content-Type", "application/json")
			http.Error(w, `{"error":"x"}`, http.StatusForbidden)
			return true
		}
		check := func(t *testing.T, err error) {
			t.Helper()
			testkit.Fault(t, err, c.code)
			testkit.Equal(t, fault.Of(err).Details["scope"], c.scope)
			var challenge *upstream.Challenge
			if c.code == "upstream.scope" && (!errors.As(err, &challenge) || challenge.Header != c.header) {
				t.Errorf("challenge %v", challenge)
			}
		}
		t.Run(c.name+", to a call", func(t *testing.T) {
			u := newScript(t).on("tools/call", func(w http.ResponseWriter, _ *http.Request, _ message) bool { return refuse(w) })
			_, err := newHub(t).Exchange(t.Context(), call(serverAt(u.URL), mcp.LatestLegacy, "1", "echo", `{}`), nil)
			check(t, err)
		})
		t.Run(c.name+", to a list", func(t *testing.T) {
			u := newScript(t).on("tools/list", func(w http.ResponseWriter, _ *http.Request, _ message) bool { return refuse(w) })
			_, _, err := newHub(t).Test(t.Context(), serverAt(u.URL), ann)
			check(t, err)
		})
		t.Run(c.name+", over HTTP+SSE", func(t *testing.T) {
			no := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w) }))
			defer no.Close()
			s := serverAt(no.URL)
			s.Transport = catalog.SSE
			_, err := pairHub(t).Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
			check(t, err)
		})
	}
}
