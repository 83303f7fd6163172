package managemcp_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/template"
	"headgate/internal/testkit"
)

const listTools = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestOrganizationHeader(t *testing.T) {
	h := newHouse(t)
	h.Tenant("another")
	with := func(headers map[string]string) (int, string) {
		headers["Authorization"] = "Bearer " + h.key
		status, body, _ := h.post(headers, listTools)
		return status, body
	}
	t.Run("missing it is 400, where there are several organizations", func(t *testing.T) {
		status, body := with(map[string]string{})
		if status != 400 || !strings.Contains(body, `"TENANT_ORG_HEADER_REQUIRED"`) {
			t.Errorf("%d %s", status, body)
		}
		h.single = true
		if status, body = with(map[string]string{}); status != 200 {
			t.Errorf("%d %s", status, body)
		}
		h.single = false
	})
	t.Run("a wrong one is a bare 404, whatever it names", func(t *testing.T) {
		other := h.Tenant("third").Organization
		for _, headers := range []map[string]string{{"X-Headgate-Org-Id": other.ID}, {"X-Headgate-Org-Id": id.New("org")}, {"X-Headgate-Org-Id": "x"}, {"X-Headgate-Org-Slug": other.Slug},
			{"X-Headgate-Org-Id": h.owner.Organization.ID, "X-Headgate-Org-Slug": other.Slug}, {"Host": other.Slug + ".headgate.test"}, {"X-Headgate-Org-Id": h.owner.Organization.ID, "Host": other.Slug + ".headgate.test"}} {
			if status, body := with(headers); status != 404 || body != "" {
				t.Errorf("%v: %d %q", headers, status, body)
			}
		}
	})
	t.Run("id in both forms, slug and host select it", func(t *testing.T) {
		own := h.owner.Organization
		for _, headers := range []map[string]string{{"X-Headgate-Org-Id": own.ID}, {"X-Headgate-Org-Id": id.UUID(own.ID)}, {"X-Headgate-Org-Slug": own.Slug}, {"Host": own.Slug + ".headgate.test"}} {
			if status, body := with(headers); status != 200 {
				t.Errorf("%v: %d %s", headers, status, body)
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	h := newHouse(t)
	h.single = true
	_, personal := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
	for name, c := range map[string]struct {
		headers map[string]string
		status  int
	}{
		"none":       {map[string]string{}, 401},
		"junk":       {map[string]string{"Authorization": "Bearer ok_junk"}, 401},
		"no session": {map[string]string{"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."}, 401},
		"otherwise":  {map[string]string{"X-API-Key": h.owner.Token}, 403},
		"a personal": {map[string]string{"Authorization": "Bearer " + personal}, 403},
		"operator's": {map[string]string{"Authorization": "Bearer " + h.operator}, 403},
		"two":        {map[string]string{"Authorization": "Bearer " + h.key, "X-API-Key": h.operator}, 400},
	} {
		status, body, header := h.post(c.headers, listTools)
		if status != c.status || !strings.Contains(body, `"error"`) || strings.Contains(body, "junk") {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if status == 401 && header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", name)
		}
	}
	t.Run("a person's session operates its organization, and no other", func(t *testing.T) {
		h.single = false
		defer func() { h.single = true }()
		as := map[string]string{"Authorization": "Bearer " + h.owner.Token}
		if status, body, _ := h.post(as, listTools); status != 400 || !strings.Contains(body, "TENANT_ORG_HEADER_REQUIRED") {
			t.Errorf("%d %s", status, body)
		}
		as["X-Headgate-Org-Id"] = h.Tenant("elsewhere").Organization.ID
		if status, body, _ := h.post(as, listTools); status != 404 || body != "" {
			t.Errorf("%d %q", status, body)
		}
		testkit.Equal(t, h.tool("get_workspace", map[string]any{"workspace_id": "default"}, map[string]string{"Authorization": "Bearer " + h.owner.Token}).ok()["default"], any(true))
	})
	t.Run("a path below is nothing", func(t *testing.T) {
		resp := testkit.Must(http.Get(h.server.URL + "/manage/mcp/x"))(t)
		resp.Body.Close()
		testkit.Equal(t, resp.StatusCode, 404)
	})
}

// revisions are those of the legacy era; an unknown one is answered with the newest.
var revisions = map[string]string{"2024-11-05": "2024-11-05", "2025-03-26": "2025-03-26", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25", "1999-01-01": "2025-11-25"}

func TestEras(t *testing.T) {
	h := newHouse(t)
	type reply struct {
		Result map[string]any
		Error  *struct {
			Code    int
			Message string
		}
	}
	read := func(body string) (r reply) {
		t.Helper()
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("no JSON-RPC: %s", body)
		}
		return r
	}
	honest := map[string]any{"tools": map[string]any{}, "prompts": map[string]any{}, "resources": map[string]any{}}
	legacy := func(body string) (int, reply) {
		t.Helper()
		headers := h.headers()
		headers["Mcp-Protocol-Version"] = "2025-11-25"
		status, text, _ := h.post(headers, body)
		return status, read(text)
	}
	modern := func(method, name, params string) (int, reply) {
		t.Helper()
		headers := h.headers()
		headers["Mcp-Protocol-Version"], headers["Mcp-Method"] = "2026-07-28", method
		if name != "" {
			headers["Mcp-Name"] = name
		}
		status, text, _ := h.post(headers, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
		return status, read(text)
	}
	t.Run("initialize agrees on a revision and promises no more than there is", func(t *testing.T) {
		for asked, got := range revisions {
			status, text, header := h.post(h.headers(), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+asked+`","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
			r := read(text)
			testkit.Equal(t, []any{status, r.Result["protocolVersion"], r.Result["capabilities"], header.Get("Mcp-Session-Id")}, []any{200, got, any(honest), ""})
		}
		status, _, _ := h.post(h.headers(), `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		testkit.Equal(t, status, 202)
		_, r := legacy(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		testkit.Equal(t, r.Result, map[string]any{})
	})
	t.Run("discover tells the same", func(t *testing.T) {
		status, r := modern("server/discover", "", "")
		testkit.Equal(t, []any{status, r.Result["capabilities"], r.Result["cacheScope"], r.Result["resultType"]}, []any{200, any(honest), "private", "complete"})
	})
	t.Run("both eras list and answer the same, and nothing goes into a shared cache", func(t *testing.T) {
		for method, member := range map[string]string{"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"} {
			_, old := legacy(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"}`)
			_, new := modern(method, "", "")
			testkit.Equal(t, new.Result[member], old.Result[member])
			testkit.Equal(t, []any{new.Result["cacheScope"], old.Result["nextCursor"], new.Result["nextCursor"]}, []any{"private", nil, nil})
			status, _ := legacy(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{"cursor":"cAnArY"}}`)
			testkit.Equal(t, status, 200)
			_, r := modern(method, "", `"cursor":"cAnArY",`)
			testkit.Equal(t, r.Error.Code, -32602)
		}
		_, old := legacy(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_templates","arguments":{}}}`)
		_, new := modern("tools/call", "list_templates", `"name":"list_templates","arguments":{},`)
		testkit.Equal(t, new.Result["structuredContent"], old.Result["structuredContent"])
		_, r := modern("resources/read", "headgate://events", `"uri":"headgate://events",`)
		testkit.Equal(t, r.Result["cacheScope"], any("private"))
	})
	t.Run("what is no method, tool, prompt or message is refused in JSON-RPC, and not repeated", func(t *testing.T) {
		for body, code := range map[string]int{
			`{"jsonrpc":"2.0","id":1,"method":"nothing/cAnArY"}`:                                              -32601,
			`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"nobody","arguments":{}}}`:        -32602,
			`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"onboard_team","arguments":{}}}`: -32602,
			`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"nobody"}}`:                      -32602,
			`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"headgate://nobody"}}`:         -32602,
			`{"cAnArY`: -32700, `[]`: -32600, `"cAnArY"`: -32600, ``: -32700,
		} {
			headers := h.headers()
			headers["Mcp-Protocol-Version"] = "2025-11-25"
			status, text, _ := h.post(headers, body)
			var r reply
			_ = json.Unmarshal([]byte(text), &r)
			if r.Error == nil || r.Error.Code != code || strings.Contains(r.Error.Message, "cAnArY") || status >= 500 {
				t.Errorf("%s: %d %s", body, status, text)
			}
		}
		status, text, _ := h.post(h.headers(), `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"`+strings.Repeat("x", 7<<20)+`"}}`)
		testkit.Equal(t, []any{status, read(text).Error.Code}, []any{413, -32600})
	})
}

func TestArguments(t *testing.T) {
	h := newHouse(t)
	queries := h.Store.Queries()
	for _, c := range []struct{ tool, arguments string }{
		{"get_workspace", `{}`}, {"get_workspace", `{"workspace_id":7}`}, {"get_workspace", `{"workspace_id":"a","cAnArY":1}`}, {"get_workspace", `{"workspaceId":"a"}`},
		{"get_workspace", `[]`}, {"get_workspace", `"cAnArY"`}, {"provision_workspace", `{"name":"x","tier":9}`}, {"provision_workspace", `{"name":""}`},
		{"set_workspace_secret", `{"workspace_id":"default","key":"A"}`}, {"set_workspace_budget", `{"workspace_id":"default","budget_limit":-1}`},
		{"set_workspace_budget", `{"workspace_id":"default","budget_limit":"cAnArY"}`}, {"import_template", `{"name":"x","files":{"a":7}}`}, {"get_workspace", `{"workspace_id":""}`}, {"get_workspace", `{"workspace_id":".."}`},
		{"get_import", `{"import_id":"."}`}, {"set_llm_billing_mode", `{"workspace_id":"default"}`}, {"set_llm_billing_mode", `{"workspace_id":"default","mode":""}`}, {"set_org_plugin_allowlist", `{"plugins":"all","enabled_by":"x"}`},
	} {
		a := h.tool(c.tool, json.RawMessage(c.arguments))
		a.failed("INVALID_ARGUMENTS")
		if text := string(testkit.Must(json.Marshal(a.Data))(t)); strings.Contains(text, "cAnArY") || a.Data["status"] != nil {
			t.Errorf("%s %s: %s", c.tool, c.arguments, text)
		}
	}
	t.Run("they say what would fit", func(t *testing.T) {
		for arguments, want := range map[string]string{
			`{"name":"x","tier":9}`:                       `tier must be at most 4`,
			`{"tier":1}`:                                  `name is required`,
			`{"name":7}`:                                  `name must be of type string`,
			`{"name":"x","colour":"cAnArY"}`:              ` has an argument that is not known; the tool takes: model, name, parent_id, role, runtime, template, tier`,
			`{"name":"` + strings.Repeat("x", 101) + `"}`: `name must have at most 100 characters`,
		} {
			a := h.tool("provision_workspace", json.RawMessage(arguments))
			a.failed("INVALID_ARGUMENTS")
			field := anyList(a.Data["detail"].(map[string]any)["fields"])[0].(map[string]any)
			testkit.Equal(t, text(field["field"])+" "+text(field["message"]), want)
		}
		a := h.tool("set_llm_billing_mode", json.RawMessage(`{"workspace_id":"default","mode":"cAnArY"}`))
		a.failed("INVALID_ARGUMENTS")
		if text := string(testkit.Must(json.Marshal(a.Data))(t)); !strings.Contains(text, `platform_managed`) {
			t.Error(text)
		}
	})
	// Nothing was called: what the door itself asks is in memory by now.
	if n := h.Store.Queries() - queries; n > 14 {
		t.Errorf("%d queries", n)
	}
	t.Run("what is in a path stays in its segment", func(t *testing.T) {
		testkit.Must(db.Exec(t.Context(), h.Store, `DELETE FROM secrets`))(t)
		for _, ref := range []string{"../organizations/me", "default/secrets", "default?confirm=true", "default%2Fsecrets", "..%2f..", "a;b", "\u202e", strings.Repeat("x", 64)} {
			if status := h.tool("get_workspace", map[string]any{"workspace_id": ref}).failed("HTTP 404"); status != 404 {
				t.Errorf("%q: %d", ref, status)
			}
		}
		h.tool("set_org_secret", map[string]any{"key": "a/../b", "value": "x"}).failed("HTTP 400")
	})
}

func TestApprovals(t *testing.T) {
	h := newHouse(t)
	status, _ := h.api("PUT", "/approval-policy", map[string]any{"gates": []string{"secrets", "keys", "destructive", "plans"}})
	testkit.Equal(t, status, 200)
	ask := func(name string, arguments map[string]any) map[string]any {
		t.Helper()
		a, _ := h.tool(name, arguments).ok()["approval"].(map[string]any)
		return a
	}
	decide := func(a map[string]any, decision string) int {
		t.Helper()
		status, _ := h.api("POST", "/approvals/"+text(a["id"])+"/decide", map[string]any{"decision": decision})
		return status
	}
	secret := map[string]any{"key": "TOKEN", "value": "hunter2"}
	t.Run("a gated operation waits, and happens once when a person agrees", func(t *testing.T) {
		a := ask("set_org_secret", secret)
		testkit.Equal(t, []any{a["status"], a["action"], a["target"]}, []any{"pending", "setOrganizationSecret", "TOKEN"})
		testkit.Equal(t, ask("set_org_secret", secret)["id"], a["id"])
		testkit.Equal(t, len(anyList(h.tool("list_org_secrets", map[string]any{}).ok()["secrets"])), 0)
		pending := anyList(h.tool("list_pending_approvals", map[string]any{}).ok()["approvals"])
		testkit.Equal(t, len(pending), 1)
		testkit.Equal(t, h.tool("decide_approval", map[string]any{"approval_id": a["id"], "decision": "approve"}).failed("AUTH_ERROR"), 403)
		testkit.Equal(t, decide(a, "approve"), 200)
		if b := ask("set_org_secret", map[string]any{"key": "TOKEN", "value": "other"}); b["id"] == a["id"] {
			t.Error("the approval of one value passed another")
		}
		testkit.Equal(t, h.tool("set_org_secret", secret).ok()["status"], any("saved"))
		if ask("set_org_secret", secret)["status"] != "pending" {
			t.Error("an approval was used twice")
		}
	})
	t.Run("refused, it is told so", func(t *testing.T) {
		a := ask("mint_org_token", map[string]any{"name": "x"})
		testkit.Equal(t, decide(a, "reject"), 200)
		testkit.Equal(t, h.tool("mint_org_token", map[string]any{"name": "x"}).failed("AUTH_ERROR"), 403)
	})
	t.Run("a person decides through the same tools", func(t *testing.T) {
		person := map[string]string{"Authorization": "Bearer " + h.owner.Token}
		a := ask("set_org_secret", map[string]any{"key": "MORE", "value": "x"})
		testkit.Equal(t, h.tool("decide_approval", map[string]any{"approval_id": a["id"], "decision": "approve", "note": "fine"}, person).ok()["status"], any("approved"))
		testkit.Equal(t, h.tool("decide_approval", map[string]any{"approval_id": a["id"], "decision": "reject"}, person).failed("HTTP 409"), 409)
		testkit.Equal(t, h.tool("set_org_secret", map[string]any{"key": "MORE", "value": "x"}).ok()["status"], any("saved"))
		testkit.Equal(t, h.tool("delete_org_secret", map[string]any{"key": "MORE"}, person).ok()["status"], any("deleted")) // a person is not held back
	})
	t.Run("removing waits with its own workspace, looking ahead does not", func(t *testing.T) {
		ws := text(h.tool("provision_workspace", map[string]any{"name": "Gone"}).ok()["id"])
		h.tool("deprovision_workspace", map[string]any{"workspace_id": ws, "dry_run": true}).ok()
		a := ask("deprovision_workspace", map[string]any{"workspace_id": ws})
		testkit.Equal(t, []any{a["workspace_id"], a["workspace_name"]}, []any{ws, "Gone"})
		testkit.Equal(t, decide(a, "approve"), 200)
		testkit.Equal(t, h.tool("deprovision_workspace", map[string]any{"workspace_id": ws}).ok()["status"], any("removed"))
	})
	t.Run("so does taking away a server", func(t *testing.T) {
		made := h.tool("install_plugin", map[string]any{"workspace_id": "default", "plugin_id": testkit.Must(h.Catalog.CreateService(t.Context(), &access.Principal{Kind: access.OperatorKey, Scopes: access.Every},
			catalog.ServiceInput{Slug: "pad", URL: "http://127.0.0.1:8089/mcp"}))(t).ID, "slug": "pad"}).ok()
		a := ask("uninstall_plugin", map[string]any{"server_id": made["id"]})
		testkit.Equal(t, []any{a["action"], a["target"], a["gate"]}, []any{"deleteServer", made["id"], "destructive"})
		testkit.Equal(t, decide(a, "approve"), 200)
		testkit.Equal(t, h.tool("uninstall_plugin", map[string]any{"server_id": made["id"]}).ok()["status"], any("uninstalled"))
	})
	t.Run("imports are planned first where the policy says so", func(t *testing.T) {
		testkit.Equal(t, h.tool("create_org_from_template", map[string]any{"dir": "starter"}).failed("HTTP 412"), 412)
		plan := h.tool("create_org_from_template", map[string]any{"dir": "starter", "dry_run": true}).ok()
		testkit.Equal(t, h.tool("create_org_from_template", map[string]any{"dir": "starter", "plan_id": plan["import_id"]}).ok()["state"], any("done"))
	})
	t.Run("an external workspace's key waits too", func(t *testing.T) {
		testkit.Equal(t, ask("provision_workspace", map[string]any{"name": "Out", "runtime": "external"})["gate"], any("keys"))
		testkit.Equal(t, h.tool("provision_workspace", map[string]any{"name": "Out", "runtime": "kubernetes"}).failed("HTTP 422"), 422)
	})
	t.Run("so does every tool that would put a secret elsewhere, and it happens once", func(t *testing.T) {
		operator := &access.Principal{Kind: access.OperatorKey, Scopes: access.Every}
		plugin := testkit.Must(h.Catalog.CreateService(t.Context(), operator, catalog.ServiceInput{Slug: "vaulted", URL: "http://127.0.0.1:8089/mcp",
			ConfigSchema: json.RawMessage(`{"type":"object","properties":{"region":{"type":"string"},"token":{"type":"string","writeOnly":true}}}`)}))(t).ID
		status, _ := h.api("POST", "/templates", map[string]any{"name": "Keeper", "files": map[string]any{"template.yaml": "name: Keeper\nservers:\n  - slug: k\n    url: http://127.0.0.1:8089/mcp\n    headers: {X-Key: hunter2}\n"}})
		testkit.Equal(t, status, 201)
		server := map[string]any{"slug": "s", "url": "http://127.0.0.1:8089/mcp", "headers": map[string]any{"X-Key": "hunter2"}}
		recipe := map[string]any{"name": "Recipe", "workspaces": []any{map[string]any{"name": "Cooked", "servers": []any{server}}}}
		plan := func(name string, arguments map[string]any) any {
			t.Helper()
			arguments["dry_run"] = true
			id := h.tool(name, arguments).ok()["import_id"]
			delete(arguments, "dry_run")
			return id
		}
		for _, c := range []struct {
			tool, gate string
			arguments  map[string]any
			done       string // a member of the answer, and its value
			as         any
		}{
			{"configure_plugin", "secrets", map[string]any{"plugin_id": plugin, "config": map[string]any{"token": "hunter2"}}, "is_configured", true},
			{"provision_workspace", "secrets", map[string]any{"name": "Kept", "template": "keeper"}, "name", "Kept"},
			{"create_org_from_template", "secrets", map[string]any{"template": recipe}, "state", "done"},
			{"import_bundle", "secrets", map[string]any{"bundle": map[string]any{"schema": template.Schema, "name": "Carried", "servers": []any{server}}}, "name", "Carried"},
		} {
			if c.tool == "create_org_from_template" || c.tool == "import_bundle" {
				c.arguments["plan_id"] = plan(c.tool, c.arguments)
			}
			a := ask(c.tool, c.arguments)
			testkit.Equal(t, []any{c.tool, a["status"], a["gate"]}, []any{c.tool, "pending", c.gate})
			testkit.Equal(t, ask(c.tool, c.arguments)["id"], a["id"])
			testkit.Equal(t, decide(a, "approve"), 200)
			testkit.Equal(t, h.tool(c.tool, c.arguments).ok()[c.done], c.as)
		}
		if ask("configure_plugin", map[string]any{"plugin_id": plugin, "config": map[string]any{"token": "hunter2"}})["status"] != "pending" {
			t.Error("an approval was used twice")
		}
		testkit.Equal(t, h.tool("configure_plugin", map[string]any{"plugin_id": plugin, "config": map[string]any{"region": "eu"}}).ok()["is_configured"], any(true))
		testkit.Equal(t, h.tool("configure_plugin", map[string]any{"plugin_id": plugin, "config": map[string]any{"token": 7}}).failed("HTTP 400"), 400)
		for _, q := range []string{`SELECT COUNT(*) FROM approvals WHERE action || target || reason LIKE '%hunter%'`, `SELECT COUNT(*) FROM events WHERE details LIKE '%hunter%'`} {
			testkit.Equal(t, testkit.Must(db.Value[int64](t.Context(), h.Store, q))(t), int64(0))
		}
	})
	t.Run("a person is not held back", func(t *testing.T) {
		status, _ := h.api("PUT", "/organizations/me/secrets/MINE", map[string]any{"value": "x"})
		testkit.Equal(t, status, 200)
	})
}

func TestOwnWorkspace(t *testing.T) {
	h := newHouse(t)
	made := h.tool("provision_workspace", map[string]any{"name": "Self"}).ok()
	h.Settle()
	other := text(h.tool("provision_workspace", map[string]any{"name": "Other"}).ok()["id"])
	key := text(h.tool("mint_workspace_token", map[string]any{"workspace_id": made["id"]}).ok()["auth_token"])
	as := map[string]string{"Authorization": "Bearer " + key, "X-Headgate-Org-Id": ""}
	var names []string
	for _, tool := range h.list(map[string]string{"Authorization": "Bearer " + key}) {
		names = append(names, tool.Name)
	}
	testkit.Equal(t, names, []string{"get_llm_billing_mode", "get_workspace", "get_workspace_budget", "list_events", "list_workspace_secrets", "restart_workspace"})
	clear(schemas)
	defer clear(schemas)
	call := func(name string) map[string]any { // held to its output schema
		t.Helper()
		return h.tool(name, map[string]any{}, as).ok()
	}
	testkit.Equal(t, call("get_workspace")["name"], any("Self"))
	testkit.Equal(t, call("restart_workspace")["id"], made["id"])
	for _, name := range []string{"get_llm_billing_mode", "get_workspace_budget", "list_workspace_secrets", "list_events"} {
		call(name)
	}
	t.Run("its key opens nothing else of the Platform API", func(t *testing.T) {
		for _, path := range []string{"/v1/workspaces", "/v1/workspaces/" + other, "/v1/organizations/me", "/v1/selfish", "/v1/self/../workspaces"} {
			r := testkit.Must(http.NewRequest(http.MethodGet, h.server.URL+path, nil))(t)
			r.Header.Set("Authorization", "Bearer "+key)
			resp := testkit.Must(h.server.Client().Do(r))(t)
			resp.Body.Close()
			if resp.StatusCode != 403 && resp.StatusCode != 404 {
				t.Errorf("%s: %d", path, resp.StatusCode)
			}
		}
	})
}

func TestPromptsAndResources(t *testing.T) {
	h := newHouse(t)
	status, body, _ := h.post(h.headers(), `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"onboard_team","arguments":{"team":"Search"}}}`)
	if status != 200 || !strings.Contains(body, `Onboard the team \"Search\"`) {
		t.Errorf("%d %s", status, body)
	}
	for _, uri := range []string{"events", "usage", "workspaces", "approvals"} {
		status, body, _ = h.post(h.headers(), `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"headgate://`+uri+`"}}`)
		if status != 200 || !strings.Contains(body, "application/json") || strings.Contains(body, `\"error\"`) {
			t.Errorf("%s: %d %s", uri, status, body)
		}
	}
}
