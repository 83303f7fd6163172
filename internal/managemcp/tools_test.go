package managemcp_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/testkit"
)

// contract are the 31 tools with the arguments of the contract; those with a
// question mark are optional.
var contract = map[string]string{
	"list_workspaces": "", "get_workspace": "workspace_id", "provision_workspace": "name role? template? runtime? tier? parent_id? model?", "deprovision_workspace": "workspace_id",
	"restart_workspace": "workspace_id", "pause_workspace": "workspace_id", "resume_workspace": "workspace_id", "set_workspace_secret": "workspace_id key value",
	"list_workspace_secrets": "workspace_id", "delete_workspace_secret": "workspace_id key", "set_org_secret": "key value", "list_org_secrets": "", "delete_org_secret": "key",
	"set_workspace_budget": "workspace_id budget_limits? budget_limit?", "set_llm_billing_mode": "workspace_id mode", "list_org_templates": "", "create_org_from_template": "dir? template? mode?",
	"list_templates": "", "import_template": "name files", "mint_org_token": "name?", "list_org_tokens": "", "revoke_org_token": "id", "mint_workspace_token": "workspace_id",
	"get_org_plugin_allowlist": "org_id?", "set_org_plugin_allowlist": "org_id? plugins enabled_by", "export_bundle": "workspace_id", "import_bundle": "bundle", "list_org_events": "workspace_id?",
	"list_pending_approvals": "", "list_orgs": "", "get_org": "slug",
}

func TestContract(t *testing.T) {
	h := newHouse(t)
	tools := h.list(h.headers())
	byName := map[string]map[string]any{}
	for _, tool := range tools {
		if byName[tool.Name] != nil {
			t.Errorf("two tools are called %s", tool.Name)
		}
		var schema map[string]any
		testkit.Must0(t, json.Unmarshal(testkit.Must(json.Marshal(tool.InputSchema))(t), &schema))
		byName[tool.Name] = schema
		if tool.Description == "" || tool.Title == "" || tool.Annotations == nil || tool.OutputSchema == nil || tool.Annotations.DestructiveHint == nil {
			t.Errorf("%s lacks a text, a hint or an output schema", tool.Name)
		}
		read := strings.HasPrefix(tool.Name, "list_") || strings.HasPrefix(tool.Name, "get_") || strings.HasPrefix(tool.Name, "export_")
		if tool.Annotations != nil && (tool.Annotations.ReadOnlyHint != read || read && *tool.Annotations.DestructiveHint) {
			t.Errorf("%s: its hints are not true: %+v", tool.Name, tool.Annotations)
		}
	}
	testkit.Equal(t, len(contract), 31)
	for name, arguments := range contract {
		schema := byName[name]
		if schema == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		properties, _ := schema["properties"].(map[string]any)
		var must []string
		for _, a := range strings.Fields(arguments) {
			plain := strings.TrimSuffix(a, "?")
			if properties[plain] == nil {
				t.Errorf("%s takes no %s", name, plain)
			}
			if plain == a {
				must = append(must, a)
			}
		}
		var required []string
		for _, r := range anyList(schema["required"]) {
			required = append(required, text(r))
		}
		slices.Sort(must)
		slices.Sort(required)
		testkit.Equal(t, required, must)
		if schema["additionalProperties"] != false {
			t.Errorf("%s takes what it does not know", name)
		}
	}
	names := slices.Sorted(maps.Keys(byName))
	testkit.Golden(t, "tools.json", testkit.Must(json.MarshalIndent(map[string]any{"names": names, "tools": tools}, "", " "))(t))
}

func anyList(v any) []any { l, _ := v.([]any); return l }

// TestEachTool uses every tool of the contract and looks at its effect through
// the Platform API.
func TestEachTool(t *testing.T) {
	h := newHouse(t)
	var ws, child, leaf string
	workspace := func(id string) (int, map[string]any) {
		status, data := h.api("GET", "/workspaces/"+id, nil)
		w, _ := data["workspace"].(map[string]any)
		return status, w
	}
	t.Run("workspaces", func(t *testing.T) {
		made := h.tool("provision_workspace", map[string]any{"name": "Team", "role": "lead", "template": "assistant", "tier": 3, "model": "m-1"}).ok()
		ws = text(made["id"])
		testkit.Equal(t, []any{made["status"], made["name"]}, []any{"provisioning", "Team"})
		testkit.Equal(t, h.tool("provision_workspace", map[string]any{"name": "Team"}).ok()["name"], any("Team (2)"))
		child = text(h.tool("provision_workspace", map[string]any{"name": "Child", "parent_id": ws}).ok()["id"])
		outside := h.tool("provision_workspace", map[string]any{"name": "Outside", "runtime": "external", "parent_id": child}).ok()
		leaf = text(outside["id"])
		connection, _ := outside["connection"].(map[string]any)
		if !strings.HasPrefix(text(connection["key"]), "wk_") || connection["mcp_path"] != "/mcp/w/outside" {
			t.Errorf("connection %v", connection)
		}
		h.Settle()
		_, w := workspace(ws)
		testkit.Equal(t, []any{w["status"], w["tier"], w["role"], w["model"], w["template"]}, []any{"online", 3.0, "lead", "m-1", "assistant"})
		list := h.tool("list_workspaces", map[string]any{}).ok()
		testkit.Equal(t, list["count"], any(json.Number("5")))
		got := h.tool("get_workspace", map[string]any{"workspace_id": "team"}).ok()
		testkit.Equal(t, []any{got["id"], got["parent_id"], got["max_concurrent_tasks"]}, []any{ws, "", json.Number("128")})
	})
	t.Run("their life", func(t *testing.T) {
		one := map[string]any{"workspace_id": ws}
		paused := h.tool("pause_workspace", one).ok()
		testkit.Equal(t, []any{paused["status"], paused["paused_count"]}, []any{"paused", json.Number("3")})
		testkit.Equal(t, h.tool("pause_workspace", one).failed("HTTP 404"), 404)
		testkit.Equal(t, h.tool("resume_workspace", map[string]any{"workspace_id": child}).failed("HTTP 409"), 409)
		testkit.Equal(t, h.tool("restart_workspace", map[string]any{"workspace_id": child}).failed("HTTP 409"), 409)
		resumed := h.tool("resume_workspace", one).ok()
		testkit.Equal(t, []any{resumed["status"], resumed["resumed_count"]}, []any{"provisioning", json.Number("3")})
		testkit.Equal(t, h.tool("resume_workspace", one).failed("HTTP 404"), 404)
		h.Settle()
		testkit.Equal(t, h.tool("restart_workspace", one).ok()["status"], any("provisioning"))
		testkit.Equal(t, h.tool("restart_workspace", map[string]any{"workspace_id": leaf}).ok()["status"], any("noop"))
		h.Settle()
	})
	t.Run("secrets", func(t *testing.T) {
		saved := h.tool("set_org_secret", map[string]any{"key": "TOKEN", "value": "hunter2"}).ok()
		testkit.Equal(t, saved, map[string]any{"status": "saved", "key": "TOKEN", "scope": "organization"})
		testkit.Equal(t, h.tool("set_workspace_secret", map[string]any{"workspace_id": ws, "key": "TOKEN", "value": "hunter3"}).ok()["scope"], any("workspace"))
		h.tool("set_org_secret", map[string]any{"key": "OTHER", "value": "hunter2"}).ok()
		list := h.tool("list_workspace_secrets", map[string]any{"workspace_id": ws}).ok()
		var seen []string
		for _, s := range anyList(list["secrets"]) {
			row := s.(map[string]any)
			seen = append(seen, text(row["key"])+":"+text(row["scope"]))
			if row["has_value"] != true || row["value"] != nil {
				t.Errorf("row %v", row)
			}
		}
		testkit.Equal(t, seen, []string{"OTHER:organization", "TOKEN:workspace"})
		testkit.Equal(t, len(anyList(h.tool("list_org_secrets", map[string]any{}).ok()["secrets"])), 2)
		testkit.Equal(t, h.tool("delete_workspace_secret", map[string]any{"workspace_id": ws, "key": "TOKEN"}).ok()["status"], any("deleted"))
		testkit.Equal(t, h.tool("delete_workspace_secret", map[string]any{"workspace_id": ws, "key": "TOKEN"}).failed("HTTP 404"), 404)
		h.tool("delete_org_secret", map[string]any{"key": "OTHER"}).ok()
		_, data := h.api("GET", "/workspaces/"+ws+"/secrets", nil)
		testkit.Equal(t, len(anyList(data["secrets"])), 1)
		testkit.Equal(t, h.tool("set_workspace_secret", map[string]any{"workspace_id": ws, "key": "OPENAI_API_KEY", "value": "x"}).failed("HTTP 400"), 400)
	})
	t.Run("budgets and billing", func(t *testing.T) {
		set := h.tool("set_workspace_budget", map[string]any{"workspace_id": ws, "budget_limits": map[string]any{"hourly": 100, "monthly": nil}}).ok()
		hourly := set["periods"].(map[string]any)["hourly"].(map[string]any)
		testkit.Equal(t, []any{hourly["limit"], hourly["remaining"], set["budget_limit"]}, []any{json.Number("100"), json.Number("100"), nil})
		set = h.tool("set_workspace_budget", map[string]any{"workspace_id": ws, "budget_limit": 500}).ok()
		testkit.Equal(t, []any{set["periods"].(map[string]any)["hourly"].(map[string]any)["limit"], set["budget_limit"]}, []any{nil, json.Number("500")})
		h.tool("set_workspace_budget", map[string]any{"workspace_id": ws, "budget_limit": nil}).ok()
		testkit.Equal(t, h.tool("set_workspace_budget", map[string]any{"workspace_id": ws}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("set_workspace_budget", map[string]any{"workspace_id": ws, "budget_limits": map[string]any{"yearly": 1}}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("get_workspace_budget", map[string]any{"workspace_id": ws}).ok()["budget_limit"], any(nil))

		mode := h.tool("set_llm_billing_mode", map[string]any{"workspace_id": ws, "mode": "byok"}).ok()
		testkit.Equal(t, []any{mode["resolved_mode"], mode["workspace_override"], mode["org_default"], mode["source"]}, []any{"byok", "byok", nil, "workspace_override"})
		h.tool("set_workspace_secret", map[string]any{"workspace_id": ws, "key": "OPENAI_API_KEY", "value": "x"}).ok()
		testkit.Equal(t, h.tool("set_llm_billing_mode", map[string]any{"workspace_id": ws, "mode": nil}).ok()["source"], any("platform_default"))
		h.tool("set_llm_billing_mode", map[string]any{"workspace_id": ws}).failed("INVALID_ARGUMENTS")
		h.tool("set_llm_billing_mode", map[string]any{"workspace_id": ws, "mode": "cheap"}).failed("INVALID_ARGUMENTS")
		testkit.Equal(t, h.tool("get_llm_billing_mode", map[string]any{"workspace_id": ws}).ok()["resolved_mode"], any("platform_managed"))
	})
	t.Run("templates, organizations and bundles", func(t *testing.T) {
		testkit.Equal(t, h.tool("import_template", map[string]any{"name": "Mine", "files": map[string]any{"template.yaml": "required_env: [NEEDED]", "skills/x/SKILL.md": "y"}}).ok(),
			map[string]any{"status": "imported", "id": "mine", "name": "Mine", "kind": "workspace"})
		testkit.Equal(t, h.tool("import_template", map[string]any{"name": "Mine", "files": map[string]any{"a": "b"}}).failed("HTTP 409"), 409)
		testkit.Equal(t, h.tool("import_template", map[string]any{"name": "Bad", "files": map[string]any{"../a": "b"}}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("list_templates", map[string]any{}).ok()["count"], any(json.Number("3")))
		testkit.Equal(t, h.tool("list_org_templates", map[string]any{}).ok()["count"], any(json.Number("1")))
		made := h.tool("create_org_from_template", map[string]any{"dir": "starter"}).ok()
		testkit.Equal(t, []any{made["org"], made["count"], made["state"]}, []any{"Starter team", json.Number("3"), "done"})
		testkit.Equal(t, h.tool("create_org_from_template", map[string]any{"template": map[string]any{"name": "N", "workspaces": []any{map[string]any{"name": "Needy", "template": "mine"}}}}).failed("HTTP 412"), 412)
		testkit.Equal(t, h.tool("create_org_from_template", map[string]any{"dir": "nobody"}).failed("HTTP 404"), 404)
		testkit.Equal(t, h.tool("create_org_from_template", map[string]any{}).failed("HTTP 400"), 400)
		again := h.tool("create_org_from_template", map[string]any{"template": map[string]any{"name": "Starter", "workspaces": []any{map[string]any{"name": "Team lead"}}}, "mode": "reconcile"}).ok()
		testkit.Equal(t, again["reconcile_removed_count"], any(json.Number("2")))
		testkit.Equal(t, text(h.tool("get_import", map[string]any{"import_id": again["import_id"]}).ok()["state"]), "done")

		bundle := h.tool("export_bundle", map[string]any{"workspace_id": ws}).ok()
		testkit.Equal(t, []any{bundle["schema"], bundle["name"], len(anyList(bundle["sub_workspaces"]))}, []any{"headgate.bundle/1", "Team", 1})
		plan := h.tool("import_bundle", map[string]any{"bundle": bundle, "dry_run": true}).ok()
		testkit.Equal(t, plan["status"], any("planned"))
		imported := h.tool("import_bundle", map[string]any{"bundle": bundle, "plan_id": plan["import_id"]}).ok()
		status, w := workspace(text(imported["workspace_id"]))
		testkit.Equal(t, []any{status, w["name"], len(anyList(imported["children"]))}, []any{200, "Team (3)", 1})
		testkit.Equal(t, h.tool("import_bundle", map[string]any{"bundle": map[string]any{"schema": "headgate.bundle/1"}}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("export_bundle", map[string]any{"workspace_id": "nobody"}).failed("HTTP 404"), 404)
		if recipe := h.tool("export_org", map[string]any{}).ok(); len(anyList(recipe["workspaces"])) == 0 {
			t.Errorf("recipe %v", recipe)
		}
	})
	t.Run("keys", func(t *testing.T) {
		minted := h.tool("mint_org_token", map[string]any{"name": "robot"}).ok()
		if !strings.HasPrefix(text(minted["auth_token"]), "ok_") || !strings.Contains(text(minted["warning"]), "everything in the organization") {
			t.Errorf("minted %v", minted)
		}
		testkit.Equal(t, minted["prefix"], any(text(minted["auth_token"])[:8]))
		h.tool("list_workspaces", map[string]any{}, map[string]string{"Authorization": "Bearer " + text(minted["auth_token"])}).ok()
		list := h.tool("list_org_tokens", map[string]any{}).ok()
		newest := anyList(list["tokens"])[0].(map[string]any)
		testkit.Equal(t, []any{list["count"], newest["id"], newest["prefix"], newest["name"], newest["org_id"]}, []any{json.Number("2"), minted["id"], minted["prefix"], "robot", h.owner.Organization.ID})
		for _, member := range []string{"created_by", "created_at", "last_used_at"} {
			if _, ok := newest[member]; !ok {
				t.Errorf("a key has no %s: %v", member, newest)
			}
		}
		testkit.Equal(t, h.tool("revoke_org_token", map[string]any{"id": minted["id"]}).ok(), map[string]any{"revoked": minted["id"]})
		status, _, _ := h.post(map[string]string{"Authorization": "Bearer " + text(minted["auth_token"]), "X-Headgate-Org-Id": h.owner.Organization.ID}, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		testkit.Equal(t, status, 401)
		testkit.Equal(t, h.tool("revoke_org_token", map[string]any{"id": minted["id"]}).failed("HTTP 404"), 404)
		testkit.Equal(t, h.tool("revoke_org_token", map[string]any{"id": "nobody"}).failed("HTTP 404"), 404)
		own := h.tool("mint_workspace_token", map[string]any{"workspace_id": ws}).ok()
		if !strings.HasPrefix(text(own["auth_token"]), "wk_") || own["workspace_id"] != ws || !strings.Contains(text(own["message"]), "won't be shown again") {
			t.Errorf("minted %v", own)
		}
		for range 49 {
			h.tool("mint_workspace_token", map[string]any{"workspace_id": ws}).ok()
		}
		testkit.Equal(t, h.tool("mint_workspace_token", map[string]any{"workspace_id": ws}).failed("RATE_LIMITED"), 429)
		testkit.Equal(t, h.tool("mint_workspace_token", map[string]any{"workspace_id": "nobody"}).failed("HTTP 404"), 404)
	})
	t.Run("plugins", func(t *testing.T) {
		offered := testkit.Must(h.Catalog.CreateService(t.Context(), &access.Principal{Kind: access.OperatorKey, Scopes: access.Every}, catalog.ServiceInput{Slug: "notes", URL: "http://127.0.0.1:8089/mcp",
			ConfigSchema: json.RawMessage(`{"type":"object","required":["token"],"properties":{"token":{"type":"string","writeOnly":true}}}`)}))(t)
		found := anyList(h.tool("list_available_plugins", map[string]any{"filter": "NOTES"}).ok()["services"])
		testkit.Equal(t, []any{len(found), found[0].(map[string]any)["id"], found[0].(map[string]any)["is_configured"]}, []any{1, offered.ID, false})
		made := h.tool("install_plugin", map[string]any{"workspace_id": ws, "plugin_id": "notes", "slug": "pad"}).ok()
		testkit.Equal(t, []any{made["workspace_id"], made["slug"], made["service_id"], made["mcp_path"]}, []any{ws, "pad", offered.ID, "/mcp/w/team/pad"})
		testkit.Equal(t, h.tool("install_plugin", map[string]any{"workspace_id": ws, "plugin_id": "notes", "slug": "pad"}).failed("HTTP 409"), 409)
		testkit.Equal(t, h.tool("install_plugin", map[string]any{"workspace_id": ws, "plugin_id": "nobody", "slug": "x"}).failed("HTTP 404"), 404)
		h.tool("install_plugin", map[string]any{"workspace_id": ws, "slug": "x"}).failed("INVALID_ARGUMENTS")
		plugin := h.tool("get_plugin", map[string]any{"plugin_id": offered.ID}).ok()
		if schema, _ := plugin["config_schema"].(map[string]any); schema["required"] == nil {
			t.Errorf("plugin %v", plugin)
		}
		testkit.Equal(t, h.tool("configure_plugin", map[string]any{"plugin_id": offered.ID, "config": map[string]any{"tokem": "cAnArY"}}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("configure_plugin", map[string]any{"plugin_id": offered.ID, "config": map[string]any{"token": "{{secret.TOKEN}}"}}).ok()["is_configured"], any(true))
		installed := anyList(h.tool("list_installed_plugins", map[string]any{"workspace_id": ws}).ok()["servers"])
		testkit.Equal(t, []any{installed[len(installed)-1].(map[string]any)["id"], installed[len(installed)-1].(map[string]any)["is_configured"]}, []any{made["id"], true})
		testkit.Equal(t, h.tool("uninstall_plugin", map[string]any{"server_id": made["id"]}).ok(), map[string]any{"status": "uninstalled", "id": made["id"]})
		testkit.Equal(t, h.tool("uninstall_plugin", map[string]any{"server_id": made["id"]}).failed("HTTP 404"), 404)
	})
	t.Run("allowlist", func(t *testing.T) {
		testkit.Equal(t, h.tool("get_org_plugin_allowlist", map[string]any{}).ok()["allow_all"], any(true))
		h.tool("set_org_plugin_allowlist", map[string]any{"plugins": []string{}}).failed("INVALID_ARGUMENTS")
		demo := h.Demo(h.owner.Organization, "mine")
		set := h.tool("set_org_plugin_allowlist", map[string]any{"plugins": []string{demo.Service.ID}, "enabled_by": "Ada", "org_id": h.owner.Organization.ID}).ok()
		testkit.Equal(t, set, map[string]any{"org_id": h.owner.Organization.ID, "allow_all": false, "plugins": []any{"mine"}})
		row := anyList(h.tool("get_org_plugin_allowlist", map[string]any{}).ok()["plugins"])[0].(map[string]any)
		testkit.Equal(t, []any{row["plugin_name"], row["enabled_by"]}, []any{"mine", "Ada"})
		testkit.Equal(t, h.tool("set_org_plugin_allowlist", map[string]any{"plugins": []string{"nobody"}, "enabled_by": "Ada"}).failed("HTTP 400"), 400)
		testkit.Equal(t, h.tool("get_org_plugin_allowlist", map[string]any{"org_id": h.Tenant("stranger").Organization.ID}).failed("HTTP 404"), 404)
		status, _ := h.api("POST", "/mcp/servers", map[string]any{"slug": "other", "url": "http://127.0.0.1:8089/mcp"})
		testkit.Equal(t, status, 403)
		h.tool("set_org_plugin_allowlist", map[string]any{"plugins": []string{}, "enabled_by": "Ada"}).ok()
	})
	t.Run("events, approvals, members, usage", func(t *testing.T) {
		all := anyList(h.tool("list_org_events", map[string]any{}).ok()["events"])
		if len(all) < 50 || len(all) > 100 {
			t.Errorf("%d events", len(all))
		}
		for _, e := range anyList(h.tool("list_org_events", map[string]any{"workspace_id": ws}).ok()["events"]) {
			row := e.(map[string]any)
			if _, ok := row["payload"].(map[string]any); row["workspace_id"] != ws || text(row["event_type"]) == "" || !ok || text(row["created_at"]) == "" || row["id"] == nil {
				t.Errorf("event %v", e)
			}
		}
		testkit.Equal(t, len(anyList(h.tool("list_pending_approvals", map[string]any{}).ok()["approvals"])), 0)
		testkit.Equal(t, len(anyList(h.tool("list_members", map[string]any{}).ok()["users"])), 1)
		h.tool("get_usage", map[string]any{}).ok()
	})
	t.Run("the operator tier", func(t *testing.T) {
		h.tool("list_orgs", map[string]any{}).failed("CP_TIER_NOT_CONFIGURED")
		h.tool("get_org", map[string]any{"slug": "owner"}).failed("CP_TIER_NOT_CONFIGURED")
		as := map[string]string{"X-Headgate-Operator-Key": h.operator}
		if n := len(anyList(h.tool("list_orgs", map[string]any{}, as).ok()["organizations"])); n < 2 {
			t.Errorf("%d organizations", n)
		}
		testkit.Equal(t, h.tool("get_org", map[string]any{"slug": h.owner.Organization.Slug}, as).ok()["id"], any(h.owner.Organization.ID))
		testkit.Equal(t, h.tool("get_org", map[string]any{"slug": "nobody"}, as).failed("HTTP 404"), 404)
		h.tool("list_orgs", map[string]any{}, map[string]string{"X-Headgate-Operator-Key": h.key}).failed("AUTH_ERROR")
	})
	t.Run("deprovisioning", func(t *testing.T) {
		testkit.Equal(t, h.tool("deprovision_workspace", map[string]any{"workspace_id": ws, "dry_run": true}).ok()["child_count"], any(json.Number("2")))
		held := h.tool("deprovision_workspace", map[string]any{"workspace_id": ws})
		testkit.Equal(t, held.failed("HTTP 409"), 409)
		testkit.Equal(t, held.Data["detail"].(map[string]any)["details"], any(map[string]any{"reason": "confirmation_required", "child_count": json.Number("2"), "active_tasks": json.Number("0"), "schedule_count": json.Number("0")}))
		gone := h.tool("deprovision_workspace", map[string]any{"workspace_id": leaf}).ok()
		testkit.Equal(t, []any{gone["status"], gone["cascade_deleted"]}, []any{"removed", json.Number("0")})
		gone = h.tool("deprovision_workspace", map[string]any{"workspace_id": ws, "confirm": true, "purge": true}).ok()
		testkit.Equal(t, []any{gone["status"], gone["cascade_deleted"]}, []any{"purged", json.Number("1")})
		status, _ := workspace(ws)
		testkit.Equal(t, status, 410)
		testkit.Equal(t, h.tool("get_workspace", map[string]any{"workspace_id": ws}).failed("HTTP 410"), 410)
		testkit.Equal(t, h.tool("deprovision_workspace", map[string]any{"workspace_id": ws}).failed("HTTP 410"), 410)
		testkit.Equal(t, h.tool("deprovision_workspace", map[string]any{"workspace_id": "default"}).failed("HTTP 409"), 409)
	})
	t.Run("every tool has answered, and its answer fits its output schema", func(t *testing.T) {
		person := map[string]string{"Authorization": "Bearer " + h.owner.Token}
		h.api("PUT", "/approval-policy", map[string]any{"gates": []string{"secrets"}})
		waits := h.tool("set_org_secret", map[string]any{"key": "GATED", "value": "x"}).ok()["approval"].(map[string]any)
		h.tool("decide_approval", map[string]any{"approval_id": waits["id"], "decision": "reject"}, person).ok()
		for _, tool := range h.list(h.headers()) {
			if !h.held[tool.Name] {
				t.Errorf("%s was never seen to answer", tool.Name)
			}
		}
	})
}
