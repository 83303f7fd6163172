package platform_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/workspace"
)

// refusal is a request that must be refused.
type refusal struct {
	method, path string
	body         any
	status       int
	code         string
}

func (h *house) refuses(credential string, all []refusal) {
	h.t.Helper()
	for _, r := range all {
		a := h.as(credential, r.method, r.path, r.body)
		if a.Status != r.status || a.Body.Error == nil || a.Body.Error.Code != r.code {
			h.t.Errorf("%s %s: %d %s, want %d %s", r.method, r.path, a.Status, a.Raw, r.status, r.code)
		}
	}
}

// TestDocumentedStates provokes the refusals that are about what a workspace, an
// organization or an approval has become.
func TestDocumentedStates(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	owner, home := h.owner.Token, h.owner.Organization
	by := world.Headgate(home)
	make := func(name, parent string) workspace.Workspace {
		return testkit.Must(h.Workspaces.Provision(t.Context(), by, workspace.Spec{Organization: home.ID, Name: name, Parent: parent}))(t)
	}
	pause := func(w workspace.Workspace) {
		testkit.Must(h.Workspaces.Pause(t.Context(), by, home.ID, w.ID, ""))(t)
	}
	t.Run("a removed workspace is 410 from then on", func(t *testing.T) {
		w := make("Gone", "")
		testkit.Must(h.Workspaces.Remove(t.Context(), by, home.ID, w.ID, workspace.Removal{Name: w.Name}))(t)
		at := "/workspaces/" + w.ID
		h.refuses(owner, []refusal{
			{"GET", at, nil, 410, "GONE"}, {"PATCH", at, map[string]any{"role": "x"}, 410, "GONE"}, {"DELETE", at, nil, 410, "GONE"},
			{"POST", at + "/pause", map[string]any{}, 410, "GONE"}, {"POST", at + "/resume", nil, 410, "GONE"}, {"POST", at + "/restart", nil, 410, "GONE"},
			{"GET", at + "/secrets", nil, 410, "GONE"}, {"PUT", at + "/secrets/A", map[string]any{"value": "x"}, 410, "GONE"}, {"DELETE", at + "/secrets/A", nil, 410, "GONE"},
			{"GET", at + "/budget", nil, 410, "GONE"}, {"PATCH", at + "/budget", map[string]any{"budgetLimit": 1}, 410, "GONE"},
			{"GET", at + "/model-billing", nil, 410, "GONE"}, {"PUT", at + "/model-billing", map[string]any{"mode": nil}, 410, "GONE"}, {"GET", at + "/bundle", nil, 410, "GONE"},
			{"POST", "/organizations/me/keys", map[string]any{"name": "k", "kind": "workspace", "workspaceId": w.ID}, 410, "GONE"},
			{"GET", "/mcp/servers?workspaceId=" + w.ID, nil, 410, "GONE"}, {"GET", "/mcp/tools?workspaceId=" + w.ID, nil, 410, "GONE"},
			{"GET", "/mcp/prompts?workspaceId=" + w.ID, nil, 410, "GONE"}, {"GET", "/mcp/resources?workspaceId=" + w.ID, nil, 410, "GONE"},
			{"POST", "/mcp/servers", map[string]any{"slug": "x", "url": "http://127.0.0.1:8089/mcp", "workspaceId": w.ID}, 410, "GONE"},
			{"POST", "/mcp/execute/tool", map[string]any{"serviceId": h.demo, "toolName": "echo", "workspaceId": w.ID}, 410, "GONE"},
			{"POST", "/mcp/execute/resource", map[string]any{"serviceId": h.demo, "resourceName": "about", "workspaceId": w.ID}, 410, "GONE"},
			{"POST", "/mcp/execute/prompt", map[string]any{"serviceId": h.demo, "promptName": "introduce", "workspaceId": w.ID}, 410, "GONE"},
			{"POST", "/workspaces", map[string]any{"name": "Below", "parentId": w.ID}, 400, "VALIDATION_ERROR"},
		})
	})
	t.Run("what is paused is resumed before it is anything else", func(t *testing.T) {
		above := make("Above", "")
		below := make("Below", above.ID)
		alone := make("Alone", "")
		_, text := h.Key(home, access.WorkspaceKey, "") // of the default workspace
		pause(below)
		pause(above)
		pause(alone)
		h.refuses(owner, []refusal{
			{"POST", "/workspaces/" + below.ID + "/resume", nil, 409, "CONFLICT"}, {"POST", "/workspaces/" + alone.ID + "/restart", nil, 409, "CONFLICT"},
			{"PATCH", "/workspaces/" + alone.ID, map[string]any{"slug": above.Slug}, 409, "CONFLICT"},
		})
		w := testkit.Must(h.Workspaces.Default(t.Context(), home.ID))(t)
		pause(w)
		h.refuses(text, []refusal{{"POST", "/self/restart", nil, 409, "CONFLICT"}})
		testkit.Must(h.Workspaces.Resume(t.Context(), by, home.ID, w.ID))(t)
	})
	t.Run("what filters and bodies name must be there", func(t *testing.T) {
		bundle := func(more string) map[string]any {
			return map[string]any{"bundle": json.RawMessage(`{"schema":"headgate.bundle/1","name":"B"` + more + `}`)}
		}
		h.refuses(owner, []refusal{
			{"GET", "/logs/audit?workspaceId=nowhere", nil, 404, "RESOURCE_NOT_FOUND"}, {"GET", "/logs/audit/export.json?workspaceId=nowhere", nil, 404, "RESOURCE_NOT_FOUND"},
			{"GET", "/usage?serviceId=none", nil, 404, "RESOURCE_NOT_FOUND"}, {"GET", "/mcp/servers?workspaceId=nowhere", nil, 404, "RESOURCE_NOT_FOUND"},
			{"GET", "/mcp/tools?serverId=" + id.New("srv"), nil, 404, "RESOURCE_NOT_FOUND"}, {"GET", "/mcp/prompts?serverId=none", nil, 404, "RESOURCE_NOT_FOUND"}, {"GET", "/mcp/resources?serverId=none", nil, 404, "RESOURCE_NOT_FOUND"},
			{"POST", "/mcp/servers", map[string]any{"slug": "x", "url": "http://127.0.0.1:8089/mcp", "workspaceId": id.New("ws")}, 404, "RESOURCE_NOT_FOUND"},
			{"POST", "/workspaces", map[string]any{"name": "T", "template": "no-such-template"}, 404, "RESOURCE_NOT_FOUND"},
			{"POST", "/workspaces", map[string]any{"name": "T", "runtime": "docker"}, 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/organizations/me/import", map[string]any{"dir": "no-such-template"}, 404, "RESOURCE_NOT_FOUND"},
			{"POST", "/organizations/me/import", map[string]any{"template": map[string]any{"name": "O", "workspaces": []any{map[string]any{"name": "W", "runtime": "docker"}}}}, 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/organizations/me/import", map[string]any{"dir": "starter", "planId": id.New("imp")}, 409, "CONFLICT"},
			{"POST", "/bundles", bundle(`,"runtime":"docker"`), 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/bundles", bundle(`,"servers":[{"slug":"x","service":"no-such-service"}]`), 404, "RESOURCE_NOT_FOUND"},
			{"POST", "/templates", map[string]any{"name": "unsupported", "files": map[string]string{"template.yaml": "name: T\nruntime: docker\n"}}, 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/templates", map[string]any{"name": "lost", "files": map[string]string{"organization.yaml": "name: T\nworkspaces: [{name: W, template: no-such-template}]\n"}}, 404, "RESOURCE_NOT_FOUND"},
		})
		_, operator := h.Key(nil, access.OperatorKey, "")
		h.refuses(operator, []refusal{
			{"GET", "/admin/accounts?organizationId=none", nil, 404, "RESOURCE_NOT_FOUND"}, {"GET", "/admin/organizations?tenantId=none", nil, 404, "RESOURCE_NOT_FOUND"},
		})
	})
	t.Run("what is decided, is taken or is full stays so", func(t *testing.T) {
		_, operator := h.Key(nil, access.OperatorKey, "")
		h.as(owner, "PUT", "/approval-policy", map[string]any{"gates": []string{"secrets"}}).want(200)
		_, key := h.Key(home, access.OrganizationKey, "")
		waits := h.as(key, "PUT", "/organizations/me/secrets/ASKED", map[string]any{"value": "x"}).want(202).text("approval", "id")
		h.as(owner, "POST", "/approvals/"+waits+"/decide", map[string]any{"decision": "reject"}).want(200)
		h.refuses(owner, []refusal{{"POST", "/approvals/" + waits + "/decide", map[string]any{"decision": "approve"}, 409, "CONFLICT"}})
		h.as(owner, "PUT", "/approval-policy", map[string]any{"gates": []string{}}).want(200)
		w := testkit.Must(h.Workspaces.Default(t.Context(), home.ID))(t)
		for _, place := range []string{"", w.ID} {
			testkit.Must(db.Exec(t.Context(), h.Store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
				INSERT INTO secrets (organization_id, workspace_id, name, sealed, created_at, updated_at) SELECT $1, $2, 'S' || i, $3, 0, 0 FROM n`, home.ID, place, []byte{0}))(t)
		}
		h.refuses(owner, []refusal{
			{"PUT", "/organizations/me/secrets/ONE_MORE", map[string]any{"value": "x"}, 409, "CONFLICT"}, {"PUT", "/workspaces/" + w.ID + "/secrets/ONE_MORE", map[string]any{"value": "x"}, 409, "CONFLICT"},
		})
		h.refuses(operator, []refusal{
			{"POST", "/admin/catalog", map[string]any{"entry": "name: plain\nprogram: /usr/bin/true\n"}, 409, "CONFLICT"},
		})
		h.as(operator, "POST", "/admin/catalog/plain/enable", map[string]any{"price": 1}).want(200)
		testkit.Must(db.Exec(t.Context(), h.Store, `INSERT INTO installation (name, value, updated_at) VALUES ('catalog:changed', $1, 0)`, []byte(changed)))(t)
		h.refuses(operator, []refusal{{"POST", "/admin/catalog/changed/try", map[string]any{}, 409, "CONFLICT"}, {"POST", "/admin/catalog/changed/enable", map[string]any{}, 409, "CONFLICT"}})
		h.refuses(operator, []refusal{{"POST", "/admin/catalog/plain/enable", map[string]any{"price": 2}, 409, "CONFLICT"}})
	})
	t.Run("where a hundred operations wait for a person, none joins them", func(t *testing.T) {
		h.as(owner, "PUT", "/approval-policy", map[string]any{"gates": []string{"secrets", "keys", "destructive"}}).want(200)
		testkit.Must(db.Exec(t.Context(), h.Store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
			INSERT INTO approvals (id, organization_id, gate, action, target, hash, asked_by_kind, asked_by, asked_by_name, reason, status, created_at, expires_at)
			SELECT 'apr_' || i, $1, 'secrets', 'x', 'x', $2, 'key', 'x', 'x', '', 'pending', 0, $3 FROM n`, home.ID, []byte{0}, time.Now().Add(time.Hour).UnixMilli()))(t)
		k, key := h.Key(home, access.OrganizationKey, "")
		w := testkit.Must(h.Workspaces.Default(t.Context(), home.ID))(t)
		secret, config := map[string]any{"X-Key": "x"}, map[string]any{"config": map[string]any{"token": "x"}}
		schema := map[string]any{"type": "object", "properties": map[string]any{"token": map[string]any{"type": "string", "writeOnly": true}}}
		service := h.as(owner, "POST", "/mcp/services", map[string]any{"slug": "waits", "url": "http://127.0.0.1:8089/mcp", "configSchema": schema}).want(201).data("service", "id").(string)
		server := h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "waits", "url": "http://127.0.0.1:8089/mcp"}).want(201).data("server", "id").(string)
		h.as(owner, "POST", "/mcp/services/"+service+"/configure", config).want(200)
		testkit.Must(db.Exec(t.Context(), h.Store, `DELETE FROM secrets`))(t)
		for _, place := range []string{"/organizations/me", "/workspaces/" + w.ID} {
			h.as(owner, "PUT", place+"/secrets/A", map[string]any{"value": "x"}).want(200)
		}
		asked := []refusal{
			{"POST", "/workspaces", map[string]any{"name": "W", "runtime": "external"}, 409, "CONFLICT"}, {"DELETE", "/workspaces/" + w.ID, nil, 409, "CONFLICT"},
			{"PUT", "/organizations/me/secrets/A", map[string]any{"value": "x"}, 409, "CONFLICT"}, {"DELETE", "/organizations/me/secrets/A", nil, 409, "CONFLICT"},
			{"PUT", "/workspaces/" + w.ID + "/secrets/A", map[string]any{"value": "x"}, 409, "CONFLICT"}, {"DELETE", "/workspaces/" + w.ID + "/secrets/A", nil, 409, "CONFLICT"},
			{"POST", "/organizations/me/keys", map[string]any{"name": "k"}, 409, "CONFLICT"}, {"POST", "/organizations/me/keys/" + k.ID + "/rotate", map[string]any{}, 409, "CONFLICT"},
			{"DELETE", "/templates/x", nil, 409, "CONFLICT"}, {"POST", "/organizations/me/import", map[string]any{"dir": "starter", "mode": "reconcile"}, 409, "CONFLICT"},
			{"DELETE", "/organizations/me/users/" + h.owner.ID, nil, 409, "CONFLICT"}, {"DELETE", "/mcp/servers/demo", nil, 409, "CONFLICT"}, {"DELETE", "/mcp/services/" + h.demo, nil, 409, "CONFLICT"},
			{"POST", "/mcp/services", map[string]any{"slug": "waits-2", "url": "http://127.0.0.1:8089/mcp", "headers": secret}, 409, "CONFLICT"}, {"PATCH", "/mcp/services/" + service, map[string]any{"headers": secret}, 409, "CONFLICT"},
			{"POST", "/mcp/services/" + service + "/configure", config, 409, "CONFLICT"}, {"DELETE", "/mcp/services/" + service + "/configure", nil, 409, "CONFLICT"},
			{"POST", "/mcp/servers", map[string]any{"slug": "waits-2", "url": "http://127.0.0.1:8089/mcp", "headers": secret}, 409, "CONFLICT"}, {"PATCH", "/mcp/servers/" + server, map[string]any{"headers": secret}, 409, "CONFLICT"},
			{"POST", "/bundles", map[string]any{"bundle": map[string]any{"schema": "headgate.bundle/1", "name": "B", "servers": []any{map[string]any{"slug": "b", "url": "http://127.0.0.1:8089/mcp", "headers": secret}}}}, 409, "CONFLICT"},
		}
		h.refuses(key, asked)
		gated := 0
		for _, op := range h.door.Operations() {
			if op.MayWait() {
				gated++
			}
		}
		testkit.Equal(t, len(asked), gated)
		testkit.Must(db.Exec(t.Context(), h.Store, `DELETE FROM approvals`))(t)
		h.as(owner, "PUT", "/approval-policy", map[string]any{"gates": []string{}}).want(200)
	})
	t.Run("a server that asks back, or wants what it is not given, says so when it is tried", func(t *testing.T) {
		server := h.Demo(home, "second").ID
		h.refuses(owner, []refusal{{"PATCH", "/mcp/servers/" + server, map[string]any{"url": "https://example.com/mcp"}, 422, "FEATURE_NOT_SUPPORTED"},
			{"PATCH", "/mcp/services/" + h.demo, map[string]any{"url": "https://example.com/mcp"}, 422, "FEATURE_NOT_SUPPORTED"}})
		asking := httptest.NewServer(http.HandlerFunc(asksBack))
		t.Cleanup(asking.Close)
		s := h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "asking", "url": asking.URL}).want(201).text("server", "serviceId")
		h.refuses(owner, []refusal{
			{"POST", "/mcp/execute/tool", map[string]any{"serviceId": s, "toolName": "x"}, 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/mcp/execute/resource", map[string]any{"serviceId": s, "resourceName": "x"}, 422, "FEATURE_NOT_SUPPORTED"},
			{"POST", "/mcp/execute/prompt", map[string]any{"serviceId": s, "promptName": "x"}, 422, "FEATURE_NOT_SUPPORTED"},
		})
	})
	t.Run("a plan without room takes no workspace that comes with services", func(t *testing.T) {
		late := h.Tenant("late")
		h.Plan(late.Organization, tenancy.Plan{Users: 9, Services: 0, RequestsPerDay: tenancy.Unlimited, RatePerMinute: 6000, Burst: 1000})
		recipe := `{"schema":"headgate.bundle/1","name":"B","servers":[{"slug":"x","url":"http://127.0.0.1:8089/mcp"}]}`
		h.as(late.Token, "POST", "/templates", map[string]any{"name": "full", "files": map[string]string{"template.yaml": "name: Full\nservers: [{slug: x, url: 'http://127.0.0.1:8089/mcp'}]\n"}}).want(201)
		h.refuses(late.Token, []refusal{
			{"POST", "/workspaces", map[string]any{"name": "W", "template": "full"}, 402, "PAYMENT_REQUIRED"},
			{"POST", "/bundles", map[string]any{"bundle": json.RawMessage(recipe)}, 402, "PAYMENT_REQUIRED"},
		})
	})
	t.Run("an import is planned first where keys must, and has its secrets", func(t *testing.T) {
		h.as(owner, "PUT", "/approval-policy", map[string]any{"gates": []string{"plans"}}).want(200)
		_, key := h.Key(home, access.OrganizationKey, "")
		h.refuses(key, []refusal{{"POST", "/bundles", map[string]any{"bundle": json.RawMessage(`{"schema":"headgate.bundle/1","name":"B"}`)}, 412, "PRECONDITION_FAILED"}})
	})
	t.Run("a refresh token has an end, and is of use only where its organization is in use", func(t *testing.T) {
		now := time.Now()
		h := newHouse(t, testkit.SQLite(t), world.Options{Now: func() time.Time { return now }})
		off := h.Customer(h.owner, "Off")
		there := h.Start(h.owner.User, off.ID)
		testkit.Must(h.Tenancy.SuspendOrganization(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}, off.ID))(t)
		h.refuses("", []refusal{{"POST", "/auth/refresh", map[string]any{"refreshToken": there.Refresh}, 403, "AUTH_INSUFFICIENT_SCOPE"}})
		now = now.AddDate(0, 0, 8)
		h.refuses("", []refusal{{"POST", "/auth/refresh", map[string]any{"refreshToken": h.owner.Refresh}, 401, "AUTH_TOKEN_EXPIRED"}})
	})
}

// changed is a catalog entry whose lock file has another package than the one
// whose hash it pins.
const changed = `{"entry": {"name": "changed", "package": {"npm": "x", "version": "1.0.0", "integrity": "sha512-YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ=="}, "runtime": "node"},
	"lock": {"lockfileVersion": 3, "packages": {"node_modules/x": {"version": "1.0.0", "integrity": "sha512-YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYg==", "bin": {"x": "x.js"}}}}}`

// asksBack is an MCP server whose every use wants something of its caller.
func asksBack(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	_ = json.NewDecoder(r.Body).Decode(&m)
	answer, known := map[string]string{
		"initialize":     `"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{},"resources":{}},"serverInfo":{"name":"h","version":"1"}}`,
		"ping":           `"result":{}`,
		"tools/list":     `"result":{"tools":[{"name":"x","inputSchema":{"type":"object"}}]}`,
		"prompts/list":   `"result":{"prompts":[{"name":"x"}]}`,
		"resources/list": `"result":{"resources":[{"name":"x","uri":"a://b"}]}`, "resources/templates/list": `"result":{"resourceTemplates":[]}`,
	}[m.Method]
	switch {
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case len(m.ID) == 0:
		w.WriteHeader(http.StatusAccepted)
		return
	case !known && strings.Contains(m.Method, "discover"):
		answer = `"error":{"code":-32601,"message":"no such method"}`
	case !known:
		answer = `"error":{"code":-32042,"message":"sign in first"}`
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,` + answer + `}`))
}
