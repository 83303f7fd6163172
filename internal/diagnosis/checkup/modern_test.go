package checkup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/diagnosis/report"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
	"headgate/internal/testkit/oauthserver"
)

// modern is a server of 2026-07-28 with a tool whose argument is mirrored in a
// header. runs counts how often the tool ran.
func modern(t *testing.T, around func(http.Handler) http.Handler) (url string, runs *int) {
	t.Helper()
	runs = new(int)
	m := sdk.NewServer(&sdk.Implementation{Name: "modern", Version: "1"}, nil)
	m.AddTool(&sdk.Tool{Name: "weather", Title: "Weather", Description: "D.", Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true},
		InputSchema: json.RawMessage(`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}},"required":["region"]}`)},
		func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			*runs++
			return &sdk.CallToolResult{}, nil
		})
	s := httptest.NewServer(around(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return m }, &sdk.StreamableHTTPOptions{Stateless: true})))
	t.Cleanup(s.Close)
	return s.URL, runs
}

func asItIs(h http.Handler) http.Handler { return h }

// on answers one method with the messages a function makes of its id, and
// leaves the others to the server.
func on(method string, messages func(id string) []string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var m mcpscript.Message
			_ = json.Unmarshal(body, &m)
			if m.Method == method {
				stream(w, messages(string(m.ID))...)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

// Against a server built on the SDK.
func TestModern(t *testing.T) {
	t.Run("subscriptions are acknowledged, mirrored arguments compared, and no tool runs", func(t *testing.T) {
		url, runs := modern(t, asItIs)
		r := examine(t, url, loopback)
		testkit.Equal(t, r.Status, report.Ready)
		testkit.Equal(t, outcome(r, "subscriptions").Status, report.OK)
		for _, id := range []string{"headers.param", "subscriptions.no-id", "protocol.name-header", "protocol.logs", "protocol.undeclared-request"} {
			if f, ok := findings(r)[id]; ok {
				t.Errorf("%+v", f)
			}
		}
		testkit.Equal(t, *runs, 0)
	})
	t.Run("an Mcp-Param header that nobody compares is found", func(t *testing.T) {
		url, _ := modern(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("Mcp-Param-Region")
				h.ServeHTTP(w, r)
			})
		})
		f := findings(examine(t, url, loopback))["headers.param"]
		testkit.Equal(t, f.Subjects, []string{"weather Region"})
	})
	ack := func(id, more string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{"toolsListChanged":true%s}}}`, id, more)
	}
	for _, c := range []struct {
		finding, method string
		messages        func(id string) []string
	}{
		{"subscriptions.silent", "subscriptions/listen", func(string) []string { return nil }},
		{"subscriptions.not-first", "subscriptions/listen", func(id string) []string {
			return []string{`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, ack(id, "")}
		}},
		{"subscriptions.no-id", "subscriptions/listen", func(string) []string { return []string{ack("999", "")} }},
		{"subscriptions.more", "subscriptions/listen", func(id string) []string { return []string{ack(id, `,"promptsListChanged":true`)} }},
		{"subscriptions.buffering", "subscriptions/listen", func(id string) []string { return []string{ack(id, "")} }},
		{"subscriptions.missing", "subscriptions/listen", func(id string) []string {
			return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, id)}
		}},
		{"protocol.logs", "tools/list", func(id string) []string {
			return []string{`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`,
				fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}}`, id)}
		}},
	} {
		t.Run(c.finding+" is found", func(t *testing.T) {
			url, _ := modern(t, on(c.method, c.messages))
			r := examine(t, url, loopback)
			f, ok := findings(r)[c.finding]
			if !ok || f.What == "" || f.Why == "" || f.Fix == "" {
				t.Errorf("want %s, got %+v in %+v", c.finding, f, r.Findings)
			}
			if o := outcome(r, f.Check); f.Severity == report.SevWarning && o.Status != report.Warning {
				t.Errorf("%s: %+v", f.Check, o)
			}
		})
	}
}

func TestWrongTokens(t *testing.T) {
	as := oauthserver.New(t)
	inner, _ := modern(t, asItIs)
	for _, c := range []struct {
		finding string
		answer  func(w http.ResponseWriter) // of a request with a token that nobody gave out
	}{
		{"auth.invalid-token", nil},
		{"auth.any-token", func(w http.ResponseWriter) { w.WriteHeader(200) }},
		{"auth.invalid-token-status", func(w http.ResponseWriter) { w.WriteHeader(500) }},
	} {
		t.Run(c.finding+" is found", func(t *testing.T) {
			protected := as.Protect(http.NotFoundHandler())
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") && c.answer != nil {
					c.answer(w)
					return
				}
				w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+protected.Server.URL+`/.well-known/oauth-protected-resource/mcp"`)
				w.WriteHeader(http.StatusUnauthorized)
			}))
			t.Cleanup(s.Close)
			f, ok := findings(examine(t, s.URL, loopback))[c.finding]
			if !ok || f.What == "" || f.Why == "" || f.Fix == "" {
				t.Errorf("%s: %+v", c.finding, f)
			}
		})
	}
	t.Run("a server without a sign-in gets no token", func(t *testing.T) {
		if f, ok := findings(examine(t, inner, loopback))["auth.any-token"]; ok {
			t.Errorf("%+v", f)
		}
	})
}
