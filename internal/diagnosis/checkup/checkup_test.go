package checkup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/netguard"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
)

var loopback = netguard.New(netguard.Policy{Loopback: true})

// examine examines a URL as it is now.
func examine(t *testing.T, url string, guard *netguard.Guard, headers ...catalog.Header) *report.Report {
	t.Helper()
	r := report.New(report.Target{URL: url, Transport: "http"}, time.Time{})
	client := checkup.Client(guard, 10*time.Second)
	t.Cleanup(client.CloseIdleConnections)
	checkup.OverNetwork(t.Context(), r, checkup.Options{URL: url, Headers: headers, Client: client, Resolve: net.DefaultResolver.LookupNetIP, Now: time.Now, Patience: time.Second})
	return r
}

func findings(r *report.Report) map[string]report.Finding {
	m := map[string]report.Finding{}
	for _, f := range r.Findings {
		m[f.ID] = f
	}
	return m
}

func outcome(r *report.Report, id string) report.Outcome {
	for _, o := range r.Further {
		if o.ID == id {
			return o
		}
	}
	return report.Outcome{}
}

// dead is a URL on which nobody listens: systems give away higher ports.
const dead = "http://127.0.0.1:20001/mcp"

func TestUntrustedCertificates(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	r := examine(t, s.URL, loopback)
	if r.Status != report.Failed || !strings.Contains(r.Error.Message, "certificate") {
		t.Errorf("%s %+v", r.Status, r.Error)
	}
}

// What cannot be reached reads alike, whatever the reason, so that nobody maps
// a private network with the doctor (security.md U06).
func TestNoMap(t *testing.T) {
	canary := mcpscript.New(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(canary.URL, "http://"), ":")
	guard := netguard.NewWithResolver(netguard.Policy{}, func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if host == "inside.example" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return nil, fmt.Errorf("no such host")
	})
	open := netguard.NewWithResolver(netguard.Policy{Loopback: true}, func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	var reports []string
	for _, c := range []struct {
		guard *netguard.Guard
		url   string
	}{
		{guard, "http://inside.example:" + port}, {guard, "http://nowhere.example:" + port}, {open, strings.Replace(dead, "127.0.0.1", "closed.example", 1)},
	} {
		start := time.Now()
		r := examine(t, c.url, c.guard)
		if took := time.Since(start); took < 240*time.Millisecond {
			t.Errorf("%s failed after %v", c.url, took)
		}
		text := string(testkit.Must(r.JSON())(t))
		reports = append(reports, strings.ReplaceAll(text, c.url, "URL"))
	}
	testkit.Equal(t, reports[1], reports[0])
	testkit.Equal(t, reports[2], reports[0])
	testkit.Equal(t, canary.Count("initialize")+canary.Count("server/discover"), 0)
}

func TestFindings(t *testing.T) {
	long := strings.Repeat("n", 70)
	deep := `{"type":"object","properties":{"a":` + strings.Repeat(`{"type":"object","properties":{"a":`, 12) + `{"type":"string"}` + strings.Repeat(`}}`, 12) + `}}`
	tool := func(name, more string) string { return fmt.Sprintf(`{"name":%q,"description":"D."%s}`, name, more) }
	schema := func(s string) string { return `,"inputSchema":` + s }
	for _, c := range []struct{ tools, finding, severity string }{
		{tool("a", schema(`{"type":"object"}`)) + "," + tool("a", schema(`{"type":"object"}`)), "names.twice", "error"},
		{tool("Get", schema(`{"type":"object"}`)) + "," + tool("get", schema(`{"type":"object"}`)), "names.alike", "warning"},
		{tool("a b", schema(`{"type":"object"}`)), "names.characters", "error"},
		{tool(long, schema(`{"type":"object"}`)), "names.long", "warning"},
		{tool(long+long, schema(`{"type":"object"}`)), "names.too-long", "error"},
		{`{"description":"D."}`, "names.missing", "error"},
		{tool("a", ""), "schemas.no-input", "error"},
		{tool("a", schema(`{"type":"string"}`)), "schemas.not-object", "error"},
		{tool("a", schema(`{"type":"object","properties":{"x":{"type":"nonsense"}}}`)), "schemas.invalid", "error"},
		{tool("a", schema(`{"type":"object","properties":{"x":{"$ref":"http://a.example/b"}}}`)), "schemas.remote-ref", "error"},
		{tool("a", schema(deep)), "schemas.deep", "warning"},
		{tool("a", schema(`{"type":"object","properties":{"x":{"type":"number","x-mcp-header":"X"}}}`)), "schemas.param-headers", "error"},
		{`{"name":"a","inputSchema":{"type":"object"}}`, "hints.no-description", "warning"},
		{tool("a", schema(`{"type":"object"}`)), "hints.none", "info"},
		{tool("a", schema(`{"type":"object"}`)+`,"annotations":{"readOnlyHint":true,"destructiveHint":true}`), "hints.contradiction", "error"},
		{tool("delete_all", schema(`{"type":"object"}`)+`,"annotations":{"readOnlyHint":true}`), "hints.suspicious", "warning"},
		{`{"name":"a","inputSchema":{"type":"object"}}`, "hints.no-title", "info"},
		{tool("request", schema(`{"type":"object","properties":{"method":{"type":"string"},"path":{"type":"string"}}}`)), "hints.catch-all", "info"},
		{`{"name":7}`, "schemas.bad-tool", "error"},
		{fmt.Sprintf(`{"name":"a","description":%q,"inputSchema":{"type":"object"}}`, strings.Repeat("w ", 25_000)), "size.context", "warning"},
	} {
		t.Run(c.finding, func(t *testing.T) {
			r := examine(t, mcpscript.New(t).Set("tools/list", `{"tools":[`+c.tools+`]}`).URL, loopback)
			f, ok := findings(r)[c.finding]
			if !ok || f.Severity != c.severity {
				t.Fatalf("want %s %s, got %+v", c.severity, c.finding, r.Findings)
			}
			if f.What == "" || f.Why == "" || f.Fix == "" || len(f.Subjects) == 0 && f.ID != "size.context" {
				t.Errorf("a finding says what, why and how to mend: %+v", f)
			}
			if o := outcome(r, f.Check); c.severity == "error" && o.Status != report.Error {
				t.Errorf("the check %s is %+v", f.Check, o)
			}
			testkit.Equal(t, r.Status, report.Ready) // the contract's status is the eight checks' alone
		})
	}
}

func TestProtocol(t *testing.T) {
	for _, c := range []struct {
		name, finding string
		server        func(s *mcpscript.Server)
	}{
		{"an unknown method that is answered", "protocol.method-not-found", func(s *mcpscript.Server) { s.Set("headgate/doctor", `{}`) }},
		{"a server without ping", "protocol.ping", func(s *mcpscript.Server) { s.Drop("ping") }},
		{"a notification answered with 200", "protocol.notification-status", func(s *mcpscript.Server) {
			s.On("notifications/initialized", func(http.ResponseWriter, *http.Request, mcpscript.Message) bool { return true })
		}},
		{"a GET that is neither", "protocol.get-stream", func(s *mcpscript.Server) {
			s.All = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					w.WriteHeader(500)
				}
				return r.Method == http.MethodGet
			}
		}},
		{"any Origin taken", "protocol.origin", func(s *mcpscript.Server) {
			s.All = func(_ http.ResponseWriter, r *http.Request) bool { r.Header.Del("Origin"); return false }
		}},
		{"a list that is not declared", "protocol.undeclared-prompts", func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`)
		}},
		{"a request to a client that can do nothing", "protocol.undeclared-request", func(s *mcpscript.Server) {
			s.On("tools/list", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message) bool {
				stream(w, `{"jsonrpc":"2.0","id":"s1","method":"roots/list"}`, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[]}}`, m.ID))
				return true
			})
		}},
		{"a resource made up", "protocol.unknown-resource", func(s *mcpscript.Server) { s.Set("resources/read", `{"contents":[]}`) }},
		{"a resource refused otherwise", "protocol.resource-code", func(s *mcpscript.Server) {}},
		{"any Host taken", "protocol.host", func(s *mcpscript.Server) {}},
		{"a subscription that is declared and refused", "subscriptions.subscribe", func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}`)
		}},
		{"a subscription that cannot be ended", "subscriptions.unsubscribe", func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}`).Set("resources/subscribe", `{}`)
		}},
		{"changes told of on no stream", "subscriptions.no-stream", func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}`)
		}},
		{"a challenge where nothing was refused", "auth.challenge-on-success", func(s *mcpscript.Server) {
			s.All = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("WWW-Authenticate", "Bearer")
				return false
			}
		}},
		{"a list that is declared and fails", "resources.failed", func(s *mcpscript.Server) { s.Drop("resources/list") }},
		{"only an old revision", "era.old", func(s *mcpscript.Server) {
			s.Set("initialize", `{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`)
		}},
	} {
		t.Run(c.name+" is found", func(t *testing.T) {
			s := mcpscript.New(t)
			c.server(s)
			r := examine(t, s.URL, loopback)
			f, ok := findings(r)[c.finding]
			if !ok {
				t.Fatalf("%s is missing in %+v", c.finding, r.Findings)
			}
			if f.What == "" || f.Why == "" || f.Fix == "" {
				t.Errorf("a finding says what, why and how to mend: %+v", f)
			}
		})
	}
	t.Run("a modern server that believes anything is found out", func(t *testing.T) {
		s := mcpscript.New(t).Set("server/discover", `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"prompts":{}}}`).
			Drop("initialize").Set("prompts/get", `{"messages":[]}`).Set("logging/setLevel", `{}`)
		r := examine(t, s.URL, loopback)
		f := findings(r)
		for _, id := range []string{"protocol.method-header", "protocol.no-method-header", "protocol.version-header", "protocol.unknown-version", "protocol.name-header", "protocol.no-meta",
			"protocol.removed-method", "protocol.result-type", "protocol.cache-hints", "protocol.method-not-found-status", "subscriptions.missing", "protocol.undeclared-resources"} {
			if _, ok := f[id]; !ok {
				t.Errorf("%s is missing", id)
			}
		}
		testkit.Equal(t, f["protocol.removed-method"].Subjects, []string{"ping", "logging/setLevel"})
	})
	t.Run("an old server that lets what it does not know hang is well all the same", func(t *testing.T) {
		s := mcpscript.New(t).On("server/discover", func(w http.ResponseWriter, r *http.Request, _ mcpscript.Message) bool { return mcpscript.Hang(w, r) })
		testkit.Equal(t, examine(t, s.URL, loopback).Status, report.Ready)
	})
	t.Run("no tool is ever called", func(t *testing.T) {
		s := mcpscript.New(t)
		examine(t, s.URL, loopback)
		testkit.Equal(t, s.Count("tools/call"), 0)
	})
}

// stream answers with events.
func stream(w http.ResponseWriter, messages ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, m := range messages {
		fmt.Fprintf(w, "data: %s\n\n", m)
	}
}

// A server that is well gives nothing to mend.
func TestNothingToMend(t *testing.T) {
	s := mcpscript.New(t)
	s.All = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Host != strings.TrimPrefix(s.URL, "http://") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	s.OnBody("resources/read", func(w http.ResponseWriter, _ *http.Request, m mcpscript.Message, params json.RawMessage) bool {
		if strings.Contains(string(params), `"a://b"`) {
			mcpscript.Respond(w, m.ID, `{"contents":[{"uri":"a://b","text":"B"}]}`)
		} else {
			mcpscript.Fail(w, 200, m.ID, -32002, "none")
		}
		return true
	}).Set("prompts/get", `{"messages":[]}`)
	testkit.Equal(t, examine(t, s.URL, loopback).Findings, []report.Finding{})
}

func TestUnreachableIsAFinding(t *testing.T) {
	f, ok := findings(examine(t, dead, loopback))["connection.failed"]
	if !ok || f.What == "" || f.Why == "" || f.Fix == "" || f.Severity != report.SevError {
		t.Errorf("%+v", f)
	}
}
