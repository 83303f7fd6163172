package platform_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/rest"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/workspace"
)

// known are values that exist when an operation begins.
func (e *estate) known(op rest.Op) map[string][]string {
	home := e.owner.Organization
	// Keys and workspaces that inputs made would fill what an owner may have.
	for _, w := range testkit.Must(e.Workspaces.List(e.t.Context(), home.ID))(e.t) {
		if !w.Default && w.Parent == "" {
			testkit.Must(e.Workspaces.Remove(e.t.Context(), world.Headgate(home), home.ID, w.ID, workspace.Removal{Name: w.Name, Tree: true}))(e.t)
		}
	}
	testkit.Must(db.Exec(e.t.Context(), e.Store, `UPDATE keys SET revoked_at = 1 WHERE name <> 'test' AND revoked_at IS NULL`))(e.t)
	testkit.Must(e.Catalog.SetAllowlist(e.t.Context(), world.Headgate(home), nil, "x"))(e.t)
	server := e.Demo(home, e.next("h"))
	objects := e.objects()
	own := func(name string) []string { return []string{objects[name]("owner", resttest.Own, true)} }
	inPath := func(parameter, name string) []string {
		if !strings.Contains(op.Path, "{"+parameter+"}") {
			return nil
		}
		return own(name)
	}
	k := map[string][]string{
		"serviceId": {server.Service.ID}, "serverId": {server.ID, server.Slug}, "workspaceId": {server.Workspace, "default"}, "organizationId": {e.customer.ID, home.ID},
		"userId": own("member"), "keyId": inPath("keyId", "organization key"), "logId": inPath("logId", "log"), "accountId": inPath("accountId", "credit account"),
		"sessionId": inPath("sessionId", "session"), "invitationId": inPath("invitationId", "invitation"),
		"planSlug": {"hostile"}, "toolName": {"echo", "add", "now"}, "resourceName": {"about", "greeting"}, "promptName": {"introduce"},
		"email": {e.owner.Email, e.next("e") + "@example.com", e.next("e") + "@example.com"}, "password": {world.Password}, "currentPassword": {world.Password}, "newPassword": {world.Password},
		"url": {"http://127.0.0.1:8089/mcp", "https://example.com/mcp"}, "slug": {e.next("a"), e.next("b"), e.next("c")}, "plan": {"free", "operator"},
		"secretKey": {e.next("A"), e.next("B")}, "templateId": {"none"}, "importId": inPath("importId", "import"), "approvalId": inPath("approvalId", "approval"), "parentId": {"default"},
		"template": {"blank", "assistant"}, "dir": {"starter"}, "runtime": {"builtin", "external"}, "mode": {"byok", "merge"}, "plugins": {server.Service.ID}, "budgetLimits": {"hourly", "daily"},
		"startDate": {"2026-01-01"}, "endDate": {"2026-12-31"}, "refreshToken": {e.Start(e.owner.User, home.ID).Refresh},
	}
	switch op.ID {
	case "rotateMyKey", "revokeMyKey":
		k["keyId"] = own("my key")
	case "updateService", "deleteService", "setPrices":
		k["serviceId"] = own("custom")
	case "adminSetPlan":
		k["organizationId"] = []string{e.customer.ID} // home keeps its plan without limits
	case "updateServer":
		k["serverId"] = own("remote server")
	case "removeWorkspace", "pauseWorkspace", "updateWorkspace":
		k["workspaceId"] = own("other workspace")
	case "resumeWorkspace":
		k["workspaceId"] = own("paused workspace")
	case "setAllowlist":
		k["organizationId"] = []string{"me"}
	}
	return k
}

// TestHostile gives every operation inputs that nobody sends by mistake.
// HEADGATE_HOSTILE=10000 is the long run.
func TestHostile(t *testing.T) {
	t.Parallel()
	newEstate(t, testkit.SQLite(t)).hostile().Run(t)
}

// A06 and A15, for every operation.
func TestStrict(t *testing.T) {
	t.Parallel()
	h := newEstate(t, testkit.SQLite(t)).hostile()
	t.Run("fields", h.Fields)
	t.Run("paths", h.Paths)
	t.Run("shapes", h.Shapes)
}

func (e *estate) hostile() resttest.Hostile {
	return resttest.Hostile{
		Door: e.door, Known: e.known,
		Tolerate: func(status int, code string) bool {
			return code == "MCP_SERVICE_ERROR" || status == 503 && code == "SERVICE_UNAVAILABLE"
		},
		Credential: func(op rest.Op) string {
			if op.Permission == access.Operate {
				return e.keys["operator"]
			}
			if len(op.Audience) == 1 && op.Audience[0] == access.WorkspaceKey {
				return e.keys["workspace"]
			}
			return e.Start(e.owner.User, e.owner.Organization.ID).Token
		},
	}
}
