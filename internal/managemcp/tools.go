package managemcp

import (
	"context"
	"net/http"
)

// arg is a tool's argument: its name, and the parameter or body member of the
// operation that takes it, when that is not the name in camelCase.
type arg struct {
	name string
	to   string
}

func plain(names ...string) []arg {
	args := make([]arg, len(names))
	for i, n := range names {
		args[i] = arg{name: n}
	}
	return args
}

// kind is what a tool does to the world, as its hints say.
type kind uint8

const (
	reads     kind = iota
	adds           // makes something new each time
	changes        // repeated, it changes nothing more
	restarts       // repeated, it does the same again
	destroys       // what it takes away does not come back
	discloses      // makes a credential
)

// spec is one tool: an operation of the Platform API under its own name.
type spec struct {
	name, title, about string
	op                 string
	args               []arg
	out                string            // the member of data that is the answer; "" all of it
	renamed            map[string]string // members of the answer, and of the rows of its lists (list.member), under the contract's names
	told               map[string]any    // JSON Schema of members that finish adds or words anew
	finish             func(c *invocation, out map[string]any)
	kind               kind
	operator           bool                                          // needs the operator's key
	needs              string                                        // an argument that only the tool requires
	fixed              map[string]any                                // what a tool always says
	before             func(ctx context.Context, c *invocation) bool // false: c has its failure
}

var (
	workspaceID = arg{"workspace_id", "workspaceId"}
	serverID    = arg{"server_id", "serverId"}
	pluginID    = arg{"plugin_id", "serviceId"}
	token       = map[string]string{"key": "auth_token"}
	events      = map[string]string{"events.action": "event_type", "events.details": "payload"}
	text        = map[string]any{"type": "string"}
	number      = map[string]any{"type": "integer"}
)

// management are the tools that operate an organization. The first 31 are
// those of the contract, with exactly its names and arguments; dry_run, plan_id
// and confirm may be added to some.
var management = []spec{
	{name: "list_workspaces", title: "List workspaces", about: "Every workspace of the organization, with its status, tier, budget and load.", op: "listWorkspaces"},
	{name: "get_workspace", title: "Get workspace", about: "One workspace, by id or slug.", op: "getWorkspace", args: []arg{workspaceID}, out: "workspace"},
	{name: "provision_workspace", title: "Provision workspace", about: "Make a workspace. It is provisioning at first, and online or failed (with the reason) in a moment. A name that is taken gets \" (2)\". runtime is builtin or external; an external one is answered with a connection whose key is shown once.",
		op: "createWorkspace", args: append(plain("name", "role", "template", "runtime", "tier", "model"), arg{"parent_id", "parentId"}), out: "workspace", kind: adds},
	{name: "deprovision_workspace", title: "Deprovision workspace", about: "Remove a workspace for good. The confirmation by name is supplied by this tool. Workspaces below it need confirm: true. dry_run only says what would go; erase_data wipes its secrets and files, purge its servers too.",
		op: "removeWorkspace", args: append([]arg{workspaceID}, plain("confirm", "dry_run", "erase_data", "purge")...), kind: destroys, before: confirmName},
	{name: "restart_workspace", title: "Restart workspace", about: "Make a workspace's sessions and processes anew. Calls in flight are not lost.", op: "restartWorkspace", args: []arg{workspaceID}, kind: restarts},
	{name: "pause_workspace", title: "Pause workspace", about: "Stop a workspace, and those below it, from taking calls. 404 when it is paused already.", op: "pauseWorkspace", args: []arg{workspaceID}, kind: changes},
	{name: "resume_workspace", title: "Resume workspace", about: "Let a paused workspace, and what was paused with it, take calls again. 409 while a workspace above it is paused.", op: "resumeWorkspace", args: []arg{workspaceID}, kind: changes},
	{name: "set_workspace_secret", title: "Set workspace secret", about: "Set a secret of one workspace. Exactly the servers that use it get new connections. A model vendor's key is refused while billing is platform_managed.",
		op: "setWorkspaceSecret", args: []arg{workspaceID, {"key", "secretKey"}, {"value", ""}}, kind: changes},
	{name: "list_workspace_secrets", title: "List workspace secrets", about: "The secrets a workspace sees, its organization's included; its own win. Never a value.", op: "listWorkspaceSecrets", args: []arg{workspaceID}},
	{name: "delete_workspace_secret", title: "Delete workspace secret", about: "Delete a secret of one workspace.", op: "deleteWorkspaceSecret", args: []arg{workspaceID, {"key", "secretKey"}}, kind: destroys},
	{name: "set_org_secret", title: "Set organization secret", about: "Set a secret that every workspace sees which has none of that name.", op: "setOrganizationSecret", args: []arg{{"key", "secretKey"}, {"value", ""}}, kind: changes},
	{name: "list_org_secrets", title: "List organization secrets", about: "The organization's secrets. Never a value.", op: "listOrganizationSecrets"},
	{name: "delete_org_secret", title: "Delete organization secret", about: "Delete a secret of the organization.", op: "deleteOrganizationSecret", args: []arg{{"key", "secretKey"}}, kind: destroys},
	{name: "set_workspace_budget", title: "Set workspace budget", about: "Replace a workspace's budget: budget_limits is the whole map (hourly, daily, weekly, monthly) in cents; 0 blocks everything, null or left out is unlimited. budget_limit alone is the month's. Calls that would go over are refused with 402.",
		op: "setBudget", args: append([]arg{workspaceID}, plain("budget_limits", "budget_limit")...), kind: changes},
	{name: "set_llm_billing_mode", title: "Set model billing mode", about: "Who pays for a workspace's models: platform_managed, byok, disabled, or null for the organization's default. The answer names the resolved mode and its source.",
		op: "setModelBilling", args: []arg{workspaceID, {"mode", ""}}, kind: changes},
	{name: "list_org_templates", title: "List organization templates", about: "Recipes for several workspaces.", op: "listOrganizationTemplates"},
	{name: "create_org_from_template", title: "Create from organization template", about: "Make the workspaces of a template (dir) or of a recipe (template, with a name). Required secrets that are missing are listed (412) and nothing is made. mode reconcile also removes what an earlier import of it made and it does not name any more.",
		op: "importOrganization", args: plain("dir", "template", "mode", "dry_run", "plan_id"), kind: destroys},
	{name: "list_templates", title: "List templates", about: "Recipes for one workspace.", op: "listTemplates"},
	{name: "import_template", title: "Import template", about: "Keep files (path to content, at most 200) as a template.", op: "importTemplate", args: plain("name", "files"), kind: adds},
	{name: "mint_org_token", title: "Mint organization key", about: "Make an organization key, shown once. It is root of the organization: it can do everything in it, including minting and revoking organization keys. At most ten an hour and 100 live ones.",
		op: "createOrganizationKey", args: append(plain("name"), arg{"expires_in", "expiresIn"}), fixed: map[string]any{"kind": "organization"}, out: "apiKey", renamed: token, told: map[string]any{"prefix": text, "warning": text}, finish: tellKey("warning"), kind: discloses, before: nameKey},
	{name: "list_org_tokens", title: "List organization keys", about: "The organization's keys that are not revoked, newest first.", op: "listOrganizationKeys", fixed: map[string]any{"kind": "organization", "limit": 100},
		renamed: map[string]string{"keys": "tokens", "keys.organizationId": "org_id", "keys.lastUsed": "last_used_at"}, told: map[string]any{"count": number}, finish: tellKeys},
	{name: "revoke_org_token", title: "Revoke organization key", about: "End an organization key, at once.", op: "revokeOrganizationKey", args: []arg{{"id", "keyId"}}, told: map[string]any{"revoked": text}, finish: tellRevoked, kind: destroys},
	{name: "mint_workspace_token", title: "Mint workspace key", about: "Make a key of one workspace, shown once. At most 50 live ones (RATE_LIMITED).", op: "createOrganizationKey", args: []arg{{"workspace_id", "workspaceId"}}, needs: "workspace_id", fixed: map[string]any{"kind": "workspace", "name": "management"}, out: "apiKey", renamed: token,
		told: map[string]any{"prefix": text, "message": text, "workspace_id": text}, finish: tellKey("message"), kind: discloses},
	{name: "get_org_plugin_allowlist", title: "Get plugin allowlist", about: "Which services workspaces may have. An empty list allows all (allow_all).", op: "getAllowlist", args: []arg{{"org_id", "organizationId"}}, fixed: map[string]any{"organizationId": "me"}},
	{name: "set_org_plugin_allowlist", title: "Set plugin allowlist", about: "Replace which services workspaces may have, in one step. Enforced when one is installed and at every call. enabled_by says who answers for it.",
		op: "setAllowlist", args: append([]arg{{"org_id", "organizationId"}}, plain("plugins", "enabled_by")...), fixed: map[string]any{"organizationId": "me"},
		told: map[string]any{"plugins": map[string]any{"type": "array", "items": text}}, finish: tellPlugins, kind: changes},
	{name: "export_bundle", title: "Export bundle", about: "A workspace and those below it as a bundle, without secrets, its digests signed.", op: "exportBundle", args: []arg{workspaceID}, out: "bundle"},
	{name: "import_bundle", title: "Import bundle", about: "Make the workspaces of a bundle, with new ids, all or none.", op: "importBundle", args: plain("bundle", "parent_id", "dry_run", "plan_id"), kind: adds},
	{name: "list_org_events", title: "List events", about: "The newest hundred events of the audit trail, of one workspace or all.", op: "listAuditEvents", args: []arg{workspaceID}, fixed: map[string]any{"limit": 100}, renamed: events},
	{name: "list_pending_approvals", title: "List pending approvals", about: "Operations that wait for a person. Reading changes nothing.", op: "listApprovals", fixed: map[string]any{"pending": true, "limit": 50}},
	{name: "list_orgs", title: "List all organizations", about: "Every organization of the installation. Needs the operator's key.", op: "adminListOrganizations", fixed: map[string]any{"limit": 100}, args: plain("page"), operator: true},
	{name: "get_org", title: "Get an organization", about: "One organization of the installation, by slug. Needs the operator's key.", op: "adminGetOrganization", args: []arg{{"slug", "organizationId"}}, out: "organization", operator: true},

	{name: "get_llm_billing_mode", title: "Get model billing mode", about: "Who pays for a workspace's models, and where that is said.", op: "getModelBilling", args: []arg{workspaceID}},
	{name: "get_workspace_budget", title: "Get workspace budget", about: "A workspace's budget and what it has spent.", op: "getBudget", args: []arg{workspaceID}},
	{name: "decide_approval", title: "Decide approval", about: "Agree to an operation that waits, or refuse it. A person decides: it works only where the connection carries the token of a person's session; with any key it answers AUTH_ERROR, so then ask a person, and show them approval_id, action and target.", op: "decideApproval", args: []arg{{"approval_id", "approvalId"}, {"decision", ""}, {"note", ""}}, out: "approval", kind: changes},
	{name: "list_members", title: "List members", about: "The people of the organization.", op: "listMembers", args: plain("page"), fixed: map[string]any{"limit": 100}},
	{name: "get_usage", title: "Get usage", about: "Calls and credits by service and day or month.", op: "getUsage", args: plain("by", "start_date", "end_date")},
	{name: "list_available_plugins", title: "List available plugins", about: "The services that workspaces can have, by id: what they are, what a call costs, whether they are configured. filter is a part of a name or description. One that is private belongs to the server it came with: install_plugin takes the others.", op: "listServices", args: plain("filter", "page"), fixed: map[string]any{"limit": 100}},
	{name: "get_plugin", title: "Get plugin", about: "One service: its config_schema (what configure_plugin takes) and its configuration, without secrets.", op: "getService", args: []arg{pluginID}, out: "service"},
	{name: "configure_plugin", title: "Configure plugin", about: "Fill in a service's config_schema for the whole organization. A field may refer to a secret as {{secret.KEY}}: set it first with set_org_secret, so that no value passes through here. Secrets left out keep their value.", op: "configureService", args: []arg{pluginID, {"config", ""}}, out: "service", kind: changes},
	{name: "list_installed_plugins", title: "List installed plugins", about: "The servers of a workspace, with their health, and the mcp_path where agents find each.", op: "listServers", args: []arg{workspaceID}},
	{name: "install_plugin", title: "Install plugin", about: "Give a workspace a server of a service (plugin_id, from list_available_plugins; its slug does too) under a slug of its own, which its tools' names begin with. One that is_configured is false needs configure_plugin before its tools can be called. A service off the allowlist is refused (AUTH_ERROR).",
		op: "createServer", args: []arg{workspaceID, pluginID, {"slug", ""}, {"name", ""}}, needs: "plugin_id", out: "server", kind: adds},
	{name: "uninstall_plugin", title: "Uninstall plugin", about: "Take a server away from its workspace, for good.", op: "deleteServer", args: []arg{serverID}, told: map[string]any{"status": text, "id": text}, finish: tellUninstalled, kind: destroys},
	{name: "get_import", title: "Get import", about: "How far an import has come, after a crash too.", op: "getImport", args: []arg{{"import_id", "importId"}}},
	{name: "export_org", title: "Export organization", about: "The organization's workspaces as a recipe for create_org_from_template, without secrets.", op: "exportOrganization", out: "template"},
}

// ownWorkspace are the tools of one workspace that acts on itself.
var ownWorkspace = []spec{
	{name: "get_workspace", title: "Get this workspace", about: "The workspace this key belongs to.", op: "getSelf", out: "workspace"},
	{name: "get_workspace_budget", title: "Get this workspace's budget", about: "Its budget and what it has spent. It cannot change it.", op: "getOwnBudget"},
	{name: "get_llm_billing_mode", title: "Get model billing mode", about: "Who pays for this workspace's models.", op: "getOwnModelBilling"},
	{name: "list_workspace_secrets", title: "List secrets", about: "The secrets this workspace sees. Never a value.", op: "listOwnSecrets"},
	{name: "list_events", title: "List events", about: "What was changed about this workspace.", op: "listOwnEvents", fixed: map[string]any{"limit": 100}, renamed: events},
	{name: "restart_workspace", title: "Restart this workspace", about: "Make its sessions and processes anew.", op: "restartSelf", kind: restarts},
}

// confirmName looks up the name that removing a workspace must repeat.
func confirmName(ctx context.Context, c *invocation) bool {
	if c.given["dry_run"] == true {
		return true
	}
	var found struct {
		Data struct {
			Workspace struct{ Name string }
		}
	}
	path, ok := segment(c.given["workspace_id"])
	if !ok {
		c.invalid("workspace_id", "is no id or slug")
		return false
	}
	if !c.fetch(ctx, http.MethodGet, "/workspaces/"+path, &found) {
		return false
	}
	c.header.Set("X-Confirm-Name", found.Data.Workspace.Name)
	return true
}

// nameKey gives a key that has no name one.
func nameKey(_ context.Context, c *invocation) bool {
	if name, _ := c.given["name"].(string); name == "" {
		c.given["name"] = "management"
	}
	return true
}

// shownOfKey is how much of a key this door shows.
const shownOfKey = 8

// tellKey words what was said beside a new key, and whose it is.
func tellKey(word string) func(*invocation, map[string]any) {
	return func(c *invocation, out map[string]any) {
		out[word] = c.said
		if key, _ := out["auth_token"].(string); len(key) > shownOfKey {
			out["prefix"] = key[:shownOfKey]
		}
		if ws, ok := c.given["workspace_id"]; ok {
			out["workspace_id"] = ws
		}
	}
}

func tellKeys(_ *invocation, out map[string]any) {
	rows, _ := out["tokens"].([]any)
	out["count"] = len(rows)
	for _, r := range rows {
		row, _ := r.(map[string]any)
		if prefix, _ := row["prefix"].(string); len(prefix) > shownOfKey {
			row["prefix"] = prefix[:shownOfKey]
		}
	}
}

func tellRevoked(c *invocation, out map[string]any) { out["revoked"] = c.given["id"] }

func tellPlugins(_ *invocation, out map[string]any) {
	rows, _ := out["plugins"].([]any)
	names := make([]any, len(rows))
	for i, r := range rows {
		row, _ := r.(map[string]any)
		names[i] = row["plugin_name"]
	}
	out["plugins"] = names
}

func tellUninstalled(c *invocation, out map[string]any) {
	clear(out) // the operation answers nothing
	out["status"], out["id"] = "uninstalled", c.given["server_id"]
}
