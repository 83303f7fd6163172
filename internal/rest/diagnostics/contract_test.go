package diagnostics_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/demo"
	"headgate/internal/id"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

// TestContract is the eight operations against the reference server.
func TestContract(t *testing.T) {
	h := onSQLite(t)
	s := h.register("everything", testkit.Everything(t))
	post := func(op string, body any) *answer {
		h.t.Helper()
		h.rest()
		return h.as(h.key, "POST", h.on(s, op), body)
	}
	t.Run("validate", func(t *testing.T) {
		a := post("/validate", nil).want(200)
		testkit.Equal(t, []any{a.at("success"), a.at("status")}, []any{true, "connected"})
		if a.text("initInfo", "protocolVersion") != "2025-11-25" || a.at("initInfo", "serverInfo", "name") == nil || a.at("initInfo", "capabilities", "tools") == nil {
			t.Errorf("%s", a.Raw)
		}
	})
	t.Run("doctor", func(t *testing.T) {
		a := post("/doctor", "{}").want(200).has("target generatedAt status probe connection initInfo capabilities tools toolsMetadata resources resourceTemplates prompts checks error")
		testkit.Equal(t, []any{a.at("status"), a.at("connection", "status"), a.at("error")}, []any{"ready", "connected", nil})
		for _, check := range []string{"probe", "connection", "initialization", "capabilities", "tools", "resources", "resourceTemplates", "prompts"} {
			if a.at("checks", check, "status") != "ok" || a.at("checks", check, "detail") == "" {
				t.Errorf("%s: %v", check, a.at("checks", check))
			}
		}
		testkit.Equal(t, len(a.at("checks").(map[string]any)), 8)
	})
	t.Run("check-oauth", func(t *testing.T) {
		a := post("/check-oauth", nil).want(200)
		testkit.Equal(t, []any{a.at("useOAuth"), a.at("requiresAuthorization"), a.at("effectiveAuthMethod")}, []any{false, false, "none"})
		if !strings.HasPrefix(a.text("serverUrl"), "http://127.0.0.1:") {
			t.Errorf("%s", a.Raw)
		}
	})
	t.Run("tools, prompts, resources", func(t *testing.T) {
		for op, member := range map[string]string{"/tools": "inputSchema", "/prompts": "name", "/resources": "uri"} {
			a := post(op, nil).want(200)
			if _, more := a.Body["nextCursor"]; more || a.at("items", 0, member) == nil {
				t.Errorf("%s: %s", op, a.Raw)
			}
		}
	})
	t.Run("resources/read", func(t *testing.T) {
		uri := post("/resources", nil).text("items", 0, "uri")
		a := post("/resources/read", map[string]any{"uri": uri}).want(200)
		testkit.Equal(t, a.text("contents", 0, "uri"), uri)
		post("/resources/read", map[string]any{}).refused(400, "VALIDATION_ERROR")
		post("/resources/read", map[string]any{"uri": "nothing://here"}).refused(404, "NOT_FOUND")
	})
	t.Run("export", func(t *testing.T) {
		a := post("/export", nil).want(200).has("serverId exportedAt tools resources prompts")
		testkit.Equal(t, a.text("serverId"), s)
		if a.at("tools", 0, "inputSchema") == nil || a.at("resources", 0, "uri") == nil || a.at("prompts", 0, "name") == nil {
			t.Errorf("%s", a.Raw)
		}
	})
	t.Run("tools/call gives the result verbatim, an error of the tool included", func(t *testing.T) {
		a := post("/tools/call", map[string]any{"toolName": "echo", "parameters": map[string]any{"message": "hi"}}).want(200)
		testkit.Equal(t, a.text("content", 0, "text"), "Echo: hi")
		a = post("/tools/call", map[string]any{"toolName": "echo", "parameters": map[string]any{"wrong": 1}}).want(200)
		testkit.Equal(t, a.at("isError"), any(true))
	})
	t.Run("prompts/get takes texts, numbers and booleans", func(t *testing.T) {
		a := post("/prompts/get", map[string]any{"promptName": "args-prompt", "arguments": map[string]any{"city": 12, "state": true}}).want(200)
		if text := a.text("messages", 0, "content", "text"); !strings.Contains(text, "12") || !strings.Contains(text, "true") {
			t.Errorf("%s", a.Raw)
		}
		post("/prompts/get", map[string]any{"promptName": "args-prompt", "arguments": map[string]any{"city": []int{1}}}).refused(400, "VALIDATION_ERROR")
		post("/prompts/get", map[string]any{"promptName": "no-such-prompt"}).refused(404, "NOT_FOUND")
		post("/tools/call", map[string]any{"toolName": "no-such-tool"}).refused(404, "NOT_FOUND")
	})
	t.Run("a call is in the log, by the id of its request, and through this door", func(t *testing.T) {
		a := post("/tools/call", map[string]any{"toolName": "echo", "parameters": map[string]any{"message": "logged"}}).want(200)
		raw, _ := id.ParseRaw("req", a.Header.Get("X-Request-Id"))
		line := testkit.Must(activity.Call(t.Context(), h.Store, activity.CallFilter{Organization: h.owner.Organization.ID}, raw))(t)
		testkit.Equal(t, []string{line.Door, line.Name, line.User}, []string{"diagnostics", "echo", h.owner.ID})
	})
}

func TestFailures(t *testing.T) {
	h := onSQLite(t)
	post := func(server, op string, body any) *answer {
		h.t.Helper()
		h.rest()
		return h.as(h.key, "POST", h.on(server, op), body)
	}
	t.Run("a dead server is 502 everywhere, and 200 with the failure inside at the doctor's", func(t *testing.T) {
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		testkit.Must0(t, l.Close())
		s := h.register("dead", "http://"+l.Addr().String()+"/mcp")
		for _, op := range []string{"/validate", "/export", "/tools", "/prompts", "/resources"} {
			a := post(s, op, nil).refused(502, "SERVER_UNREACHABLE")
			if strings.Contains(a.Raw, "127.0.0.1") || strings.Contains(a.Raw, "refused") {
				t.Errorf("%s tells of the network: %s", op, a.Raw)
			}
		}
		post(s, "/tools/call", map[string]any{"toolName": "x"}).refused(502, "SERVER_UNREACHABLE")
		a := post(s, "/doctor", nil).want(200)
		testkit.Equal(t, []any{a.at("status"), a.at("connection", "status"), a.at("error", "code"), a.at("checks", "tools", "status")}, []any{"error", "error", "SERVER_UNREACHABLE", "skipped"})
		testkit.Equal(t, post(s, "/check-oauth", nil).want(200).at("useOAuth"), any(false))
	})
	t.Run("an export that lacks one list says which", func(t *testing.T) {
		s := h.register("listless", scripted(t, map[string]string{
			"initialize": `{"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{}},"serverInfo":{"name":"h","version":"1"}}}`,
			"tools/list": `{"result":{"tools":[]}}`, "prompts/list": `{"error":{"code":-32603,"message":"broken"}}`}))
		testkit.Equal(t, post(s, "/export", nil).refused(502, "SERVER_UNREACHABLE").text("details", "list"), "prompts")
	})
	t.Run("a slow server is 504", func(t *testing.T) {
		u := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}))
		t.Cleanup(func() { u.CloseClientConnections(); u.Close() })
		s := h.register("slow", u.URL)
		post(s, "/validate", nil).refused(504, "TIMEOUT")
		a := post(s, "/doctor", nil).want(200)
		testkit.Equal(t, []any{a.at("status"), a.at("error", "code")}, []any{"error", "TIMEOUT"})
	})
	t.Run("a server without a capability is 422, and one whose list breaks is partial", func(t *testing.T) {
		s := h.register("half", scripted(t, map[string]string{
			"initialize": `{"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"resources":{}},"serverInfo":{"name":"h","version":"1"}}}`,
			"tools/list": `{"result":{"tools":[{"name":"t","description":"T.","inputSchema":{"type":"object"}}]}}`,
			"tools/call": `{"error":{"code":-32602,"message":"bad arguments"}}`,
			"ping":       `{"result":{}}`, "resources/list": `{"error":{"code":-32603,"message":"broken"}}`}))
		testkit.Equal(t, post(s, "/prompts", nil).refused(422, "FEATURE_NOT_SUPPORTED").text("details", "capability"), "prompts")
		post(s, "/tools", nil).want(200)
		post(s, "/resources", nil).refused(502, "SERVER_UNREACHABLE")
		post(s, "/resources/read", map[string]any{"uri": "a://b"}).refused(422, "FEATURE_NOT_SUPPORTED")
		a := post(s, "/tools/call", map[string]any{"toolName": "t"}).refused(400, "VALIDATION_ERROR")
		testkit.Equal(t, []any{a.at("details", "rpcCode"), a.at("details", "rpcMessage")}, []any{float64(-32602), "bad arguments"})
		d := post(s, "/doctor", nil).want(200)
		testkit.Equal(t, []any{d.at("status"), d.at("checks", "tools", "status"), d.at("checks", "resources", "status"), d.at("checks", "prompts", "status")},
			[]any{"partial", "ok", "error", "skipped"})
	})
	t.Run("a protected server is 401 of its own kind, and names itself", func(t *testing.T) {
		at := oauthserver.New(t).Protect(demo.Handler("1", time.Now))
		s := h.register("protected", at.URL)
		for _, op := range []string{"/validate", "/tools", "/export"} {
			a := post(s, op, nil).refused(401, "OAUTH_REQUIRED")
			testkit.Equal(t, []any{a.at("details", "serverId"), a.at("details", "serverName"), a.at("details", "serverUrl")}, []any{s, "protected", at.URL})
			testkit.Equal(t, a.Header.Get("WWW-Authenticate"), "") // it is not the caller's credential that is wanting
		}
		d := post(s, "/doctor", nil).want(200)
		testkit.Equal(t, []any{d.at("status"), d.at("error", "code"), d.at("probe", "oauth", "required")}, []any{"oauth_required", "OAUTH_REQUIRED", true})
		c := post(s, "/check-oauth", nil).want(200)
		testkit.Equal(t, []any{c.at("useOAuth"), c.at("requiresAuthorization"), c.at("effectiveAuthMethod")}, []any{true, true, "oauth"})
	})
	t.Run("a server that refuses the configured credentials is 403", func(t *testing.T) {
		at := oauthserver.New(t).Protect(demo.Handler("1", time.Now))
		a := h.as(h.key, "POST", "/api/v1/projects/"+h.project+"/servers", map[string]any{"name": "refusing", "enabled": true, "transportType": "http", "url": at.URL,
			"headers": map[string]string{"Authorization": "Bearer wrong-credential"}}).want(201)
		post(a.text("id"), "/validate", nil).refused(403, "FORBIDDEN")
	})
	t.Run("a switched-off server and a paused project take no calls", func(t *testing.T) {
		s := h.register("off", scripted(t, nil))
		h.as(h.key, "PATCH", h.on(s, ""), map[string]any{"enabled": false}).want(200)
		a := post(s, "/tools/call", map[string]any{"toolName": "t"})
		if a.Status < 400 {
			t.Errorf("%s", a.Raw)
		}
	})
}

// scripted is a server that answers from a table.
func scripted(t *testing.T, table map[string]string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		_ = json.NewDecoder(r.Body).Decode(&m)
		switch body, ok := table[m.Method]; {
		case r.Method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case len(m.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		default:
			if !ok {
				body = `{"error":{"code":-32601,"message":"no such method"}}`
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s`, m.ID, body[1:])
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCursors(t *testing.T) {
	h := onSQLite(t)
	list := func(n int) string {
		var tools []string
		for i := range n {
			tools = append(tools, fmt.Sprintf(`{"name":"t%03d","inputSchema":{"type":"object"}}`, i))
		}
		return `{"result":{"tools":[` + strings.Join(tools, ",") + `]}}`
	}
	table := map[string]string{"initialize": `{"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"h","version":"1"}}}`, "tools/list": list(250)}
	s, other := h.register("long", scripted(t, table)), h.register("other", scripted(t, table))
	next := func(key, server, cursor string) *answer {
		h.rest()
		return h.as(key, "POST", h.on(server, "/tools"), map[string]any{"cursor": cursor})
	}
	t.Run("pages follow one another without a gap, and the last has no cursor", func(t *testing.T) {
		var names []string
		cursor := ""
		for range 3 {
			a := next(h.key, s, cursor).want(200)
			for _, i := range a.at("items").([]any) {
				names = append(names, i.(map[string]any)["name"].(string))
			}
			cursor, _ = a.Body["nextCursor"].(string)
		}
		testkit.Equal(t, []any{len(names), names[0], names[249], cursor}, []any{250, "t000", "t249", ""})
	})
	cursor := next(h.key, s, "").text("nextCursor")
	guest := h.Member(h.owner.Organization, "guest", access.Developer)
	theirs := h.diagnosticsKey(h.owner.Organization, guest.ID)
	again := h.diagnosticsKey(h.owner.Organization, h.owner.ID)
	t.Run("a cursor is its person's, its list's and whole", func(t *testing.T) {
		next(again, s, cursor).want(200)
		next(theirs, s, cursor).refused(400, "VALIDATION_ERROR")
		next(h.key, other, cursor).refused(400, "VALIDATION_ERROR")
		h.as(h.key, "POST", h.on(s, "/resources"), map[string]any{"cursor": cursor}).want(422)
		for _, bad := range []string{cursor[:len(cursor)-2], cursor + "A", "nonsense", "%%%"} {
			next(h.key, s, bad).refused(400, "VALIDATION_ERROR")
		}
	})
}
