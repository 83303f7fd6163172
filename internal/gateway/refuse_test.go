package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

const echo = `"name":"echo","arguments":{"text":"hi"}`

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{})
	post := func(name, body string, status, code int, headers ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			r := h.send("POST", "/mcp/raw", body, headers...)
			if r.status != status || r.code(t) != code {
				t.Fatalf("got %d and %d, want %d and %d: %s", r.status, r.code(t), status, code, r.body)
			}
		})
	}
	m := []string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: echo"}
	with := func(headers ...string) []string { return append(m[:len(m):len(m)], headers...) }
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
	}

	// What no parser should read in two ways (security.md M02).
	for name, body := range map[string]string{
		"bad JSON":                `{"jsonrpc":"2.0","id":1,`,
		"nothing":                 ` `,
		"a number":                `1`,
		"trailing bytes":          call(echo) + `x`,
		"two messages":            call(echo) + call(echo),
		"invalid UTF-8":           call("\"name\":\"\xff\""),
		"a NUL":                   call("\"name\":\"a\x00\""),
		"a lone surrogate":        call(`"name":"\ud800"`),
		"too deep":                call(`"name":"echo","arguments":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)),
		"a duplicate key":         `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`,
		"a duplicate param":       call(`"name":"echo","name":"hang"`),
		"a duplicate by escape":   call(`"name":"echo","n\u0061me":"hang"`),
		"a wrong-case key":        call(`"Name":"echo"`),
		"a key that folds":        `{"jsonrpc":"2.0","id":1,"method":"tools/call","param` + "ſ" + `":{}}`,
		"no jsonrpc":              `{"id":1,"method":"ping"}`,
		"a null id":               `{"jsonrpc":"2.0","id":null,"method":"ping"}`,
		"a fractional id":         `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`,
		"an id of objects":        `{"jsonrpc":"2.0","id":{},"method":"ping"}`,
		"an endless id":           `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 2000) + `","method":"ping"}`,
		"a result and an error":   `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}`,
		"params that are a list":  `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`,
		"method that is a number": `{"jsonrpc":"2.0","id":1,"method":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := h.send("POST", "/mcp/raw", body, m...)
			if c := r.code(t); r.status != 400 || c != mcp.CodeParse && c != mcp.CodeInvalidRequest && c != mcp.CodeInvalidParams {
				t.Fatalf("got %d and %d: %s", r.status, c, r.body)
			}
		})
	}
	post("a batch without a session", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 400, mcp.CodeInvalidRequest)

	// What a modern message must say, in headers and body (M03).
	ok := call(echo + "," + meta)
	post("a good message", ok, 200, 0, m...)
	post("a name in base64", ok, 200, 0, with("Mcp-Name", "Mcp-Name: =?base64?ZWNobw==?=")...)
	post("no version header", ok, 400, mcp.CodeHeaderMismatch, with("MCP-Protocol-Version")...)
	post("another version header", ok, 400, mcp.CodeHeaderMismatch, with("MCP-Protocol-Version: 2025-11-25")...)
	post("a version header without a body's", call(echo), 400, mcp.CodeInvalidParams, m...)
	post("no method header", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Method")...)
	post("another method header", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Method: prompts/get")...)
	post("a method header in other letters", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Method: Tools/Call")...)
	post("no name header", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Name")...)
	post("another name header", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Name", "Mcp-Name: hang")...)
	post("a name header twice", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Name: echo")...)
	post("bad base64", ok, 400, mcp.CodeHeaderMismatch, with("Mcp-Name", "Mcp-Name: =?base64?!?=")...)
	post("no capabilities", call(echo+`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), 400, mcp.CodeInvalidParams, m...)
	future := strings.ReplaceAll(ok, "2026-07-28", "2031-01-01")
	post("a revision of the future", future, 400, mcp.CodeUnsupportedVersion, with("MCP-Protocol-Version: 2031-01-01")...)
	post("a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, 400, mcp.CodeInvalidRequest, m...)
	for _, method := range []string{"ping", "logging/setLevel", "resources/subscribe", "tools/nothing"} {
		post("a modern "+method, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+meta+`}}`, 404, mcp.CodeMethodNotFound, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: "+method)
	}
	post("news of tasks for a client that knows none", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["t"]},`+meta+`}}`, 400, mcp.CodeMissingCapability,
		"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")
	post("no name", call(meta), 400, mcp.CodeHeaderMismatch, m...)

	// What a legacy message must say.
	post("no session", call(echo), 400, mcp.CodeInvalidRequest)
	post("an unknown session", call(echo), 404, mcp.CodeInvalidRequest, "Mcp-Session-Id: nonsense")
	post("an endless session id", call(echo), 404, mcp.CodeInvalidRequest, "Mcp-Session-Id: "+strings.Repeat("A", 9000))
	post("a made-up revision", call(echo), 400, mcp.CodeInvalidRequest, "Mcp-Session-Id: x", "MCP-Protocol-Version: 1999-01-01")
	post("initialize without a revision", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, 200, mcp.CodeInvalidParams)
	s := h.initialize("/mcp/raw", "2025-11-25", `{}`)
	in := s.headers()
	post("an unknown method", `{"jsonrpc":"2.0","id":1,"method":"tools/nothing"}`, 200, mcp.CodeMethodNotFound, in...)
	post("discover in a session", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, 200, mcp.CodeMethodNotFound, in...)
	post("a call without a name", call(""), 200, mcp.CodeInvalidParams, in...)
	post("a batch in 2025-11-25", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 400, mcp.CodeInvalidRequest, in...)
	post("a bad cursor", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}`, 200, mcp.CodeInvalidParams, in...)
	post("an unknown level", `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}`, 200, mcp.CodeInvalidParams, in...)

	t.Run("and the server saw only the good ones", func(t *testing.T) {
		if up.Calls() != 2 {
			t.Fatalf("%d calls", up.Calls())
		}
		testkit.Equal(t, h.lines(), []string{"", ""})
		if h.balance() != 1_000_000-2 {
			t.Fatalf("balance %d", h.balance())
		}
	})
}

func TestTransportRefusals(t *testing.T) {
	h := newHouse(t)
	h.raw("raw", rawmcp.Options{})
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	long := func(size int) string {
		head, tail := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`, `"}}`
		return head + strings.Repeat("a", size-len(head)-len(tail)) + tail
	}
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		header                   string // of the answer, "Name: value"
	}{
		{"no credential", "POST", "/mcp", ping, []string{"Authorization"}, 401, `WWW-Authenticate: Bearer realm="headgate"`},
		{"a malformed credential", "POST", "/mcp", ping, []string{"Authorization: Bearer nonsense"}, 401, `WWW-Authenticate: Bearer error="invalid_token"`},
		{"another scheme", "POST", "/mcp", ping, []string{"Authorization: Basic YTpi"}, 401, ""},
		{"two credentials that disagree", "POST", "/mcp", ping, []string{"X-API-Key: " + h.mint(h.owner, access.Every)}, 400, ""},
		{"text", "POST", "/mcp", ping, []string{"Content-Type: text/plain"}, 415, ""},
		{"a form", "POST", "/mcp", ping, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, ""},
		{"no type", "POST", "/mcp", ping, []string{"Content-Type"}, 415, ""},
		{"a packed message", "POST", "/mcp", ping, []string{"Content-Encoding: gzip"}, 415, "Accept-Encoding: identity"},
		{"a message packed twice", "POST", "/mcp", ping, []string{"Content-Encoding: identity, br"}, 415, "Accept-Encoding: identity"},
		{"a message that says it is not packed", "POST", "/mcp", ping, []string{"Content-Encoding: Identity"}, 400, ""},   // read, and has no session
		{"JSON with a charset", "POST", "/mcp", ping, []string{"Content-Type: Application/JSON; charset=utf-8"}, 400, ""}, // read, and has no session
		{"exactly 4 MiB", "POST", "/mcp", long(4 << 20), nil, 400, ""},                                                    // read, and has no session
		{"4 MiB and a byte", "POST", "/mcp", long(4<<20 + 1), nil, 413, ""},
		{"PUT", "PUT", "/mcp", ping, nil, 405, "Allow: POST, GET, DELETE"},
		{"GET without a session", "GET", "/mcp", "", []string{"Accept: application/json"}, 405, "Allow: POST"},
		{"GET of an unknown session", "GET", "/mcp", "", []string{"Mcp-Session-Id: x", "Accept: text/event-stream"}, 404, ""},
		{"DELETE of an unknown session", "DELETE", "/mcp", "", []string{"Mcp-Session-Id: x"}, 404, ""},
		{"DELETE without a session", "DELETE", "/mcp", "", nil, 400, ""},
		{"a server that is not", "POST", "/mcp/nothing", ping, nil, 404, ""},
		{"a workspace that is not", "POST", "/mcp/w/nothing", ping, nil, 404, ""},
		{"a path too long", "POST", "/mcp/raw/x", ping, nil, 404, ""},
		{"the reserved w", "POST", "/mcp/w", ping, nil, 404, ""},
		{"the reserved t", "POST", "/mcp/t", ping, nil, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.send(c.method, c.path, c.body, c.headers...)
			if r.status != c.status {
				t.Fatalf("got %d, want %d: %.300s", r.status, c.status, r.body)
			}
			if r.header.Get("Content-Type") != "application/json" || parse(t, r.body).Error == nil {
				t.Fatalf("not a JSON-RPC error: %.300s", r.body)
			}
			if name, want, _ := strings.Cut(c.header, ": "); r.header.Get(name) != want {
				t.Fatalf("%s: %q", name, r.header.Get(name))
			}
		})
	}
	t.Run("a credential that cannot be one costs no look-up", func(t *testing.T) {
		valid := h.mint(h.owner, access.Every)
		typo := []byte(valid)
		typo[len(typo)-1] ^= 1
		for _, c := range []string{"nonsense", "mcp_sk_", "mcp_sk_short", string(typo), valid + "a", "mcp_sk_' OR '1'='1", strings.Repeat("a", 5000), "a.b.c"} {
			before := h.store.Queries()
			if r := h.send("POST", "/mcp", ping, "Authorization: Bearer "+c); r.status != 401 || h.store.Queries() != before {
				t.Errorf("%.20q: %d after %d statements", c, r.status, h.store.Queries()-before)
			}
		}
	})
	t.Run("a chunked body without end is cut at 4 MiB", func(t *testing.T) {
		r := h.request(t.Context(), "POST", "/mcp", "x")
		r.Body, r.ContentLength = endless{}, -1
		if got := h.do(r); got.status != 413 {
			t.Fatalf("got %d", got.status)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}
func (endless) Close() error { return nil }

func TestKeys(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{})
	use := func(key string) reply {
		return h.modern("/mcp/raw", "tools/call", echo, "Authorization: Bearer "+key)
	}
	t.Run("a revoked key is refused at once", func(t *testing.T) {
		k, v, err := h.apikeys.Create(t.Context(), h.owner, personal(h))
		testkit.Must0(t, err)
		if r := use(v.Reveal()); r.status != 200 {
			t.Fatalf("before: %d %s", r.status, r.body)
		}
		testkit.Must0(t, h.apikeys.Revoke(t.Context(), h.owner, k.ID))
		if r := use(v.Reveal()); r.status != 401 || r.header.Get("WWW-Authenticate") == "" {
			t.Fatalf("after: %d %s", r.status, r.body)
		}
	})
	t.Run("a key without the scope is told which it lacks", func(t *testing.T) {
		before := up.Calls()
		scopes, _ := access.ParseScopes([]string{"mcp:read"})
		r := use(h.mint(h.owner, scopes))
		if r.status != 403 || !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="mcp:write"`) || up.Calls() != before {
			t.Fatalf("%d %q %s", r.status, r.header.Get("WWW-Authenticate"), r.body)
		}
	})
	t.Run("another organization's server looks like none", func(t *testing.T) {
		_, _, _, other := h.organization(10)
		r := use(h.mint(other, access.Every))
		id := testkit.Must(h.catalog.ListServers(t.Context(), h.owner, h.workspace))(t)[0].ID
		byID := h.modern("/mcp/"+id, "tools/call", echo, "Authorization: Bearer "+h.mint(other, access.Every))
		none := h.modern("/mcp/nothing", "tools/call", echo, "Authorization: Bearer "+h.mint(other, access.Every))
		if r.status != 404 || byID.status != 404 || none.status != 404 || r.code(t) != none.code(t) {
			t.Fatalf("%d %d %d", r.status, byID.status, none.status)
		}
	})
	t.Run("an expired key is refused", func(t *testing.T) {
		spec := personal(h)
		spec.ExpiresIn = time.Minute
		_, v, err := h.apikeys.Create(t.Context(), h.owner, spec)
		testkit.Must0(t, err)
		h.ahead.Add(int64(2 * time.Minute))
		if r := use(v.Reveal()); r.status != 401 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	})
}

func personal(h *house) apikey.Spec {
	return apikey.Spec{Kind: access.PersonalKey, Organization: h.org, User: h.owner.User, Name: "test", Scopes: access.Every}
}

func TestUnpaid(t *testing.T) {
	h := newHouse(t, func(o *houseOptions) { o.credits = 3 })
	price := int64(2)
	up := h.raw("raw", rawmcp.Options{}, priced(price))
	if r := h.modern("/mcp/raw", "tools/call", echo); r.status != 200 {
		t.Fatal(r.body)
	}
	for era, r := range map[string]reply{
		"modern": h.modern("/mcp/raw", "tools/call", echo),
		"legacy": h.initialize("/mcp/raw", "2025-11-25", `{}`).call("tools/call", `{`+echo+`}`),
	} {
		t.Run(fmt.Sprintf("too few credits is a tool result that says what to do (%s), and nothing is called", era), func(t *testing.T) {
			var got struct {
				IsError    bool
				ResultType string
				Content    []struct{ Type, Text string }
			}
			decode(t, r.result(t), &got)
			if !got.IsError || len(got.Content) != 1 || !strings.Contains(got.Content[0].Text, "1") || !strings.Contains(got.Content[0].Text, "2") {
				t.Fatalf("%s", r.body)
			}
			if (got.ResultType == "complete") != (era == "modern") {
				t.Fatalf("resultType %q", got.ResultType)
			}
			if up.Calls() != 1 || h.balance() != 1 {
				t.Fatalf("%d calls, balance %d", up.Calls(), h.balance())
			}
		})
	}
}
