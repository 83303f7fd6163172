package checkup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
)

// mirroring is a script server of 2026-07-28 with one tool whose argument is
// mirrored; compare says whether a header and an argument (nil: left out) agree.
// named counts requests that name the tool, runs those that would have run it.
func mirroring(t *testing.T, schema string, compare func(header string, argument *string) bool) (s *mcpscript.Server, named, runs *int) {
	named, runs = new(int), new(int)
	s = mcpscript.New(t).Drop("initialize").
		Set("server/discover", `{"resultType":"complete","ttlMs":1,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`).
		Set("tools/list", `{"resultType":"complete","ttlMs":1,"cacheScope":"public","tools":[{"name":"query","title":"Q","description":"D.","annotations":{"readOnlyHint":true},"inputSchema":`+schema+`}]}`)
	s.OnBody("tools/call", func(w http.ResponseWriter, r *http.Request, m mcpscript.Message, params json.RawMessage) bool {
		var p struct {
			Name      string `json:"name"`
			Arguments struct {
				Region *string         `json:"region"`
				Query  *string         `json:"query"`
				More   json.RawMessage `json:"headgate-doctor-no-such"`
				Limit  any             `json:"limit"`
			} `json:"arguments"`
		}
		bad := json.Unmarshal(params, &p) != nil || p.Name != "query"
		if !bad {
			*named++
		}
		_, wrong := p.Arguments.Limit.(string)
		switch {
		case p.Name == "query" && !compare(r.Header.Get("Mcp-Param-Region"), p.Arguments.Region):
			mcpscript.Fail(w, 400, m.ID, -32020, "no")
		case bad, p.Arguments.Query == nil && schema == needsQuery, p.Arguments.More != nil, wrong, p.Arguments.Region == nil:
			mcpscript.Fail(w, 200, m.ID, -32602, "no")
		default:
			*runs++
			mcpscript.Respond(w, m.ID, `{"resultType":"complete","content":[]}`)
		}
		return true
	})
	return s, named, runs
}

const (
	region     = `"region":{"type":"string","x-mcp-header":"Region"}`
	needsQuery = `{"type":"object","properties":{` + region + `,"query":{"type":"string"}},"required":["region","query"]}`
	closed     = `{"type":"object","properties":{` + region + `},"required":["region"],"additionalProperties":false}`
	limited    = `{"type":"object","properties":{` + region + `,"limit":{"type":"integer"}},"required":["region"]}`
	alone      = `{"type":"object","properties":{` + region + `},"required":["region"]}`
)

func decoding(header string, argument *string) bool {
	text, err := mcp.DecodeHeader(header)
	return err == nil && argument != nil && text == *argument
}

func TestMirroredArguments(t *testing.T) {
	for name, schema := range map[string]string{"another argument is required": needsQuery, "others are not allowed": closed, "another has a type": limited} {
		t.Run("a server that decodes has no finding, and no tool runs: "+name, func(t *testing.T) {
			s, named, runs := mirroring(t, schema, decoding)
			r := examine(t, s.URL, loopback)
			for _, id := range []string{"headers.param", "headers.param-base64", "headers.param-undecoded"} {
				if f, ok := findings(r)[id]; ok {
					t.Errorf("%+v", f)
				}
			}
			testkit.Equal(t, []int{*named, *runs}, []int{3, 0})
			testkit.Equal(t, outcome(r, "headers").Detail, "Names and an argument were mirrored in headers.")
		})
		t.Run("one that compares what is written is found out, and no tool runs: "+name, func(t *testing.T) {
			s, _, runs := mirroring(t, schema, func(header string, argument *string) bool { return argument != nil && header == *argument })
			r := examine(t, s.URL, loopback)
			found(t, r, "headers.param-base64")
			found(t, r, "headers.param-undecoded")
			testkit.Equal(t, findings(r)["headers.param-undecoded"].Subjects, []string{"query Region"})
			testkit.Equal(t, *runs, 0)
		})
	}
	t.Run("where only the argument itself could be wrong, the encoded form is not tried, and that is said", func(t *testing.T) {
		s, named, runs := mirroring(t, alone, decoding)
		r := examine(t, s.URL, loopback)
		testkit.Equal(t, []int{*named, *runs}, []int{1, 0})
		testkit.Equal(t, outcome(r, "headers").Detail, "Names and an argument were mirrored in headers. The encoded form was not tried: no arguments would keep the tool from running.")
	})
}

// A client that declares nothing is asked for nothing.
func TestMissingCapabilities(t *testing.T) {
	const discovered = `{"resultType":"complete","ttlMs":1,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"resources":{},"prompts":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}}`
	refuse := func(status int, code int64, data string) func(http.ResponseWriter, *http.Request, mcpscript.Message) bool {
		return func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no","data":%s}}`, m.ID, code, data)
			return true
		}
	}
	answer := func(result string) func(http.ResponseWriter, *http.Request, mcpscript.Message) bool {
		return func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
			mcpscript.Respond(w, m.ID, result)
			return true
		}
	}
	const needed = `{"requiredCapabilities":{"elicitation":{}}}`
	well := func(t *testing.T) *mcpscript.Server {
		return mcpscript.New(t).Drop("initialize").Set("server/discover", discovered).
			On("resources/read", refuse(400, -32021, needed)).On("prompts/get", refuse(400, -32021, needed)).On("tasks/get", refuse(400, -32021, needed))
	}
	ids := []string{"protocol.undeclared-input", "protocol.undeclared-task", "protocol.undeclared-tasks", "protocol.capability-code", "protocol.required-capabilities", "protocol.capability-status", "reading.resource", "reading.prompt"}
	t.Run("a server that refuses as the specification says has no finding", func(t *testing.T) {
		s := well(t)
		r := examine(t, s.URL, loopback)
		for _, id := range ids {
			if f, ok := findings(r)[id]; ok {
				t.Errorf("%+v", f)
			}
		}
		if s.Count("tasks/get") != 1 || s.Count("prompts/get") == 0 || s.Count("resources/read") == 0 {
			t.Error("it was not asked")
		}
	})
	for _, c := range []struct {
		finding, method string
		hook            func(http.ResponseWriter, *http.Request, mcpscript.Message) bool
		subjects        []string
	}{
		{"protocol.undeclared-input", "resources/read", answer(`{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create"},"b":{"method":"roots/list"}}}`), []string{"resources/read", "elicitation/create", "roots/list"}},
		{"protocol.undeclared-task", "prompts/get", answer(`{"resultType":"task","taskId":"1"}`), []string{"prompts/get"}},
		{"protocol.undeclared-tasks", "tasks/get", answer(`{"resultType":"complete","taskId":"1","status":"working"}`), []string{"tasks/get"}},
		{"protocol.capability-code", "tasks/get", refuse(400, -32003, needed), []string{"tasks/get"}},
		{"protocol.required-capabilities", "prompts/get", refuse(400, -32021, `{}`), []string{"prompts/get"}},
		{"protocol.capability-status", "resources/read", refuse(200, -32021, needed), []string{"resources/read"}},
	} {
		t.Run(c.finding+" is found", func(t *testing.T) {
			r := examine(t, well(t).On(c.method, c.hook).URL, loopback)
			found(t, r, c.finding)
			testkit.Equal(t, findings(r)[c.finding].Subjects, c.subjects)
		})
	}
}

func TestReading(t *testing.T) {
	for _, c := range []struct{ finding, method, result string }{
		{"reading.resource", "resources/read", ""}, {"reading.contents", "resources/read", `{}`},
		{"reading.prompt", "prompts/get", ""}, {"reading.messages", "prompts/get", `{"description":"D."}`},
	} {
		t.Run(c.finding+" is found", func(t *testing.T) {
			s := mcpscript.New(t).Set("resources/read", `{"contents":[]}`).Set("prompts/get", `{"messages":[]}`).Drop(c.method)
			if c.result != "" {
				s.Set(c.method, c.result)
			}
			r := examine(t, s.URL, loopback)
			found(t, r, c.finding)
			n := 0
			for _, f := range r.Findings {
				if f.Check == "reading" {
					n++
				}
			}
			testkit.Equal(t, n, 1)
		})
	}
	t.Run("a prompt that requires an argument is left alone", func(t *testing.T) {
		s := mcpscript.New(t).Set("prompts/list", `{"prompts":[{"name":"p","arguments":[{"name":"a","required":true}]}]}`)
		examine(t, s.URL, loopback)
		testkit.Equal(t, s.Count("prompts/get"), 0)
	})
}
