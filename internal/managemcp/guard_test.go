package managemcp_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
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
		"a session":  {map[string]string{"Authorization": "Bearer " + h.owner.Token}, 403},
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
	t.Run("a path below is nothing", func(t *testing.T) {
		resp := testkit.Must(http.Get(h.server.URL + "/manage/mcp/x"))(t)
		resp.Body.Close()
		testkit.Equal(t, resp.StatusCode, 404)
	})
}

func TestEras(t *testing.T) {
	h := newHouse(t)
	t.Run("legacy", func(t *testing.T) {
		status, body, _ := h.post(h.headers(), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`)
		if status != 200 || !strings.Contains(body, `"protocolVersion":"2025-11-25"`) || !strings.Contains(body, "headgate-management") {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("modern", func(t *testing.T) {
		headers := h.headers()
		headers["Mcp-Protocol-Version"], headers["Mcp-Method"], headers["Mcp-Name"] = "2026-07-28", "tools/call", "list_templates"
		status, body, _ := h.post(headers, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_templates","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
		if status != 200 || !strings.Contains(body, `"assistant"`) {
			t.Errorf("%d %s", status, body)
		}
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
	// Nothing was called: what the door itself asks is in memory by now.
	if n := h.Store.Queries() - queries; n > 8 {
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
	t.Run("removing waits with its own workspace, looking ahead does not", func(t *testing.T) {
		ws := text(h.tool("provision_workspace", map[string]any{"name": "Gone"}).ok()["id"])
		h.tool("deprovision_workspace", map[string]any{"workspace_id": ws, "dry_run": true}).ok()
		a := ask("deprovision_workspace", map[string]any{"workspace_id": ws})
		testkit.Equal(t, []any{a["workspace_id"], a["workspace_name"]}, []any{ws, "Gone"})
		testkit.Equal(t, decide(a, "approve"), 200)
		testkit.Equal(t, h.tool("deprovision_workspace", map[string]any{"workspace_id": ws}).ok()["status"], any("removed"))
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
	call := func(name string) map[string]any {
		t.Helper()
		text := testkit.Must(json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": name, "arguments": map[string]any{}}}))(t)
		_, body, _ := h.post(as, string(text))
		var reply struct {
			Result struct {
				IsError           bool
				StructuredContent map[string]any
			}
		}
		testkit.Must0(t, json.Unmarshal([]byte(body), &reply))
		if reply.Result.IsError {
			t.Fatalf("%s: %s", name, body)
		}
		return reply.Result.StructuredContent
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
