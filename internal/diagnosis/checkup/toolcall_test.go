package checkup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
)

func TestToolCall(t *testing.T) {
	const (
		tool   = `{"name":"add","title":"Add","description":"D.","annotations":{"readOnlyHint":false},"inputSchema":{"type":"object","properties":{"a":{"type":"integer","x-mcp-header":"A"}}},"outputSchema":{"type":"object","properties":{"sum":{"type":"integer"}},"required":["sum"]}}`
		modern = `{"resultType":"complete","ttlMs":1,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`
		good   = `{"resultType":"complete","content":[],"structuredContent":{"sum":3}}`
	)
	// serve is a server whose one tool answers with messages, made of the id.
	serve := func(t *testing.T, era mcp.Era, calls *[]string, messages func(id string) []string) string {
		s := mcpscript.New(t).Set("tools/list", `{"resultType":"complete","ttlMs":1,"cacheScope":"public","tools":[`+tool+`]}`)
		if era == mcp.Modern {
			s.Drop("initialize").Drop("resources/list").Drop("prompts/list").Set("server/discover", modern)
		}
		s.OnBody("tools/call", func(w http.ResponseWriter, r *http.Request, m mcpscript.Message, params json.RawMessage) bool {
			if strings.Contains(string(params), `"name":"add"`) {
				*calls = append(*calls, r.Header.Get("Mcp-Param-A")+" "+string(params))
				stream(w, messages(string(m.ID))...)
				return true
			}
			return false
		})
		return s.URL
	}
	result := func(text string) func(string) []string {
		return func(id string) []string {
			return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, text)}
		}
	}
	call := func(t *testing.T, url string) *report.Report {
		return examineWith(t, checkup.Options{URL: url, Call: &checkup.Call{Tool: "add", Arguments: json.RawMessage(`{"a":1}`)}})
	}
	mine := func(r *report.Report) (list []string) {
		for _, f := range r.Findings {
			if f.Check == "call" || strings.HasPrefix(f.ID, "protocol.undeclared-") && f.Check == "protocol" {
				list = append(list, f.ID)
			}
		}
		return list
	}
	for era, want := range map[mcp.Era]string{
		mcp.Legacy: ` {"name":"add","arguments":{"a":1},"_meta":{"progressToken":"headgate-doctor"}}`,
		mcp.Modern: `1 {"name":"add","arguments":{"a":1},"_meta":{"progressToken":"headgate-doctor","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"headgate-doctor","version":"1.0.0"}}}`,
	} {
		t.Run("a tool that answers as it says has no finding, and is called once: "+era.String(), func(t *testing.T) {
			var calls []string
			r := call(t, serve(t, era, &calls, func(id string) []string {
				return []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"headgate-doctor","progress":0}}`,
					`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"headgate-doctor","progress":0.5,"total":1}}`, result(good)(id)[0]}
			}))
			testkit.Equal(t, calls, []string{want})
			testkit.Equal(t, len(mine(r)), 0)
			testkit.Equal(t, []string{string(r.Status), outcome(r, "call").Status}, []string{"ready", report.OK})
			if text := string(testkit.Must(r.JSON())(t)); strings.Contains(text, `"sum":3`) {
				t.Error("the report holds the result")
			}
		})
	}
	for _, c := range []struct {
		finding  string
		messages func(id string) []string
	}{
		{"call.no-content", result(`{"resultType":"complete","structuredContent":{"sum":3}}`)},
		{"call.no-structure", result(`{"resultType":"complete","content":[]}`)},
		{"call.output-schema", result(`{"resultType":"complete","content":[],"structuredContent":{"sum":"3"}}`)},
		{"call.no-reply", func(string) []string { return []string{`{"nothing":1}`} }},
		{"call.progress-token", func(id string) []string {
			return []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}`, result(good)(id)[0]}
		}},
		{"call.progress-backwards", func(id string) []string {
			const told = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"headgate-doctor","progress":2}}`
			return []string{told, told, result(good)(id)[0]}
		}},
		{"protocol.undeclared-input", result(`{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage"}}}`)},
		{"protocol.undeclared-task", result(`{"resultType":"task","taskId":"1","status":"working"}`)},
	} {
		t.Run(c.finding+" is found", func(t *testing.T) {
			r := call(t, serve(t, mcp.Modern, new([]string), c.messages))
			found(t, r, c.finding)
			testkit.Equal(t, mine(r), []string{c.finding})
		})
	}
	t.Run("a refusal for a missing capability says which", func(t *testing.T) {
		refusal := func(data string) func(string) []string {
			return func(id string) []string {
				return []string{fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32021,"message":"Needs elicitation","data":%s}}`, id, data)}
			}
		}
		r := call(t, serve(t, mcp.Modern, new([]string), refusal(`{"requiredCapabilities":{"elicitation":{}}}`)))
		testkit.Equal(t, outcome(r, "call").Detail, "The call was refused with error -32021: Needs elicitation.")
		testkit.Equal(t, len(mine(r)), 0)
		if _, ok := findings(r)["protocol.capability-status"]; ok {
			t.Error("the status of a stream was sent before")
		}
		found(t, call(t, serve(t, mcp.Modern, new([]string), refusal(`{}`))), "protocol.required-capabilities")
	})
	for challenge, lacks := range map[string][]string{
		`Bearer error="insufficient_scope", scope="add", resource_metadata="https://a.example"`: nil,
		`Bearer error="insufficient_scope"`:                                                     {"scope", "resource_metadata"},
		``:                                                                                      {"WWW-Authenticate: Bearer", `error="insufficient_scope"`, "scope", "resource_metadata"},
	} {
		t.Run("a call beyond the scopes is refused with all that a client needs: "+challenge, func(t *testing.T) {
			s := mcpscript.New(t).Set("tools/list", `{"tools":[`+tool+`]}`).On("tools/call", func(w http.ResponseWriter, _ *http.Request, _ mcpscript.Message) bool {
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusForbidden)
				return true
			})
			r := call(t, s.URL)
			testkit.Equal(t, findings(r)["call.scope-challenge"].Subjects, lacks)
		})
	}
	t.Run("call.unauthorized is found", func(t *testing.T) {
		s := mcpscript.New(t).Set("tools/list", `{"tools":[`+tool+`]}`).On("tools/call", func(w http.ResponseWriter, _ *http.Request, _ mcpscript.Message) bool {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		found(t, call(t, s.URL), "call.unauthorized")
	})
	t.Run("a tool that says it failed is not held to its form", func(t *testing.T) {
		r := call(t, serve(t, mcp.Modern, new([]string), result(`{"resultType":"complete","content":[],"isError":true}`)))
		testkit.Equal(t, len(mine(r)), 0)
		testkit.Equal(t, outcome(r, "call").Detail, "The tool ran and said that it failed (isError).")
	})
	t.Run("a tool that is not there is said, and nothing is called", func(t *testing.T) {
		var calls []string
		url := serve(t, mcp.Modern, &calls, result(good))
		r := examineWith(t, checkup.Options{URL: url, Call: &checkup.Call{Tool: "subtract"}})
		found(t, r, "call.no-such-tool")
		testkit.Equal(t, len(calls), 0)
	})
	t.Run("a call that is never answered is found", func(t *testing.T) {
		s := mcpscript.New(t).Set("tools/list", `{"tools":[`+tool+`]}`).
			On("tools/call", func(w http.ResponseWriter, r *http.Request, _ mcpscript.Message) bool { return mcpscript.Hang(w, r) })
		r := examineWith(t, checkup.Options{URL: s.URL, Patience: 100e6, Call: &checkup.Call{Tool: "add"}})
		found(t, r, "call.failed")
	})
}
