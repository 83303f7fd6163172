package platform_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream"
)

func (h *house) events(t *testing.T) int64 {
	t.Helper()
	return testkit.Must(db.Value[int64](t.Context(), h.Store, `SELECT COUNT(*) FROM events WHERE organization_id = $1`, h.owner.Organization.ID))(t)
}

// Every operation that changes something about workspaces leaves an event in
// the trail, and each answers with its status.
func TestOperatingLeavesEvents(t *testing.T) {
	h := onSQLite(t)
	as := h.owner.Token
	ws := h.as(as, "POST", "/workspaces", map[string]any{"name": "W"}).want(201).data("workspace", "id").(string)
	child := h.as(as, "POST", "/workspaces", map[string]any{"name": "C", "parentId": ws}).want(201).data("workspace", "id").(string)
	h.Settle()
	bundle := h.as(as, "GET", "/workspaces/"+child+"/bundle", nil).want(200).data("bundle")
	for _, c := range []struct {
		method, path string
		body         any
		status       int
		headers      []string
	}{
		{"POST", "/workspaces", map[string]any{"name": "X", "runtime": "external"}, 201, nil},
		{"PATCH", "/workspaces/" + ws, map[string]any{"role": "r"}, 200, nil},
		{"POST", "/workspaces/" + ws + "/pause", map[string]any{"reason": "x"}, 200, nil},
		{"POST", "/workspaces/" + ws + "/resume", nil, 200, nil},
		{"POST", "/workspaces/" + ws + "/restart", nil, 200, nil},
		{"PUT", "/organizations/me/secrets/A", map[string]any{"value": "v"}, 200, nil},
		{"DELETE", "/organizations/me/secrets/A", nil, 200, nil},
		{"PUT", "/workspaces/" + ws + "/secrets/A", map[string]any{"value": "v"}, 200, nil},
		{"DELETE", "/workspaces/" + ws + "/secrets/A", nil, 200, nil},
		{"PATCH", "/workspaces/" + ws + "/budget", map[string]any{"budgetLimits": map[string]any{"daily": 5}}, 200, nil},
		{"PUT", "/workspaces/" + ws + "/model-billing", map[string]any{"mode": "byok"}, 200, nil},
		{"PUT", "/organizations/me/model-billing", map[string]any{"mode": nil}, 200, nil},
		{"POST", "/templates", map[string]any{"name": "T", "files": map[string]any{"a": "b"}}, 201, nil},
		{"DELETE", "/templates/t", nil, 204, nil},
		{"POST", "/organizations/me/import", map[string]any{"dir": "starter", "dryRun": true}, 200, nil},
		{"POST", "/organizations/me/import", map[string]any{"dir": "starter"}, 201, nil},
		{"GET", "/workspaces/" + ws + "/bundle", nil, 200, nil},
		{"POST", "/bundles", map[string]any{"bundle": bundle, "dryRun": true}, 200, nil},
		{"POST", "/bundles", map[string]any{"bundle": bundle}, 201, nil},
		{"PUT", "/organizations/me/plugins/allowlist", map[string]any{"plugins": []string{}, "enabledBy": "x"}, 200, nil},
		{"PUT", "/approval-policy", map[string]any{"gates": []string{}}, 200, nil},
		{"DELETE", "/workspaces/" + child, nil, 200, []string{"X-Confirm-Name: C"}},
	} {
		before := h.events(t)
		h.as(as, c.method, c.path, c.body, c.headers...).want(c.status)
		if h.events(t) == before {
			t.Errorf("%s %s left no event", c.method, c.path)
		}
	}
	t.Run("and the trail is exported whole, or by workspace", func(t *testing.T) {
		a := h.as(as, "GET", "/logs/audit/export.json", nil).want(200)
		testkit.Equal(t, int64(len(a.data("events").([]any))), h.events(t))
		for _, e := range h.as(as, "GET", "/logs/audit?workspaceId="+ws+"&limit=100", nil).want(200).data("events").([]any) {
			testkit.Equal(t, e.(map[string]any)["workspaceId"], any(ws))
		}
	})
}

func TestWorkspaceRefusals(t *testing.T) {
	h := onSQLite(t)
	as := h.owner.Token
	ws := h.as(as, "POST", "/workspaces", map[string]any{"name": "W"}).want(201).data("workspace", "id").(string)
	h.as(as, "POST", "/workspaces", map[string]any{"name": "C", "parentId": ws}).want(201).data()
	one := "/workspaces/" + ws
	h.as(as, "POST", "/workspaces", map[string]any{"name": "W", "runtime": "kubernetes"}).refused(422, "FEATURE_NOT_SUPPORTED")
	h.as(as, "POST", "/workspaces", map[string]any{"name": "W", "tier": 5}).refused(400, "VALIDATION_ERROR")
	a := h.as(as, "DELETE", one, nil).refused(400, "VALIDATION_ERROR")
	testkit.Equal(t, []any{a.Body.Error.Details["reason"], a.Body.Error.Details["childCount"]}, []any{"destructive_action_requires_confirmation", 1.0})
	h.as(as, "DELETE", one, nil, "X-Confirm-Name: w").refused(400, "VALIDATION_ERROR")
	a = h.as(as, "DELETE", one, nil, "X-Confirm-Name: W").refused(409, "CONFLICT")
	testkit.Equal(t, a.Body.Error.Details["reason"], any("confirmation_required"))
	h.as(as, "DELETE", one+"?confirm=true", nil, "X-Confirm-Name: W").want(200)
	h.as(as, "GET", one, nil).refused(410, "GONE")
	testkit.Equal(t, h.as(as, "GET", one+"?includeRemoved=true", nil).want(200).data("workspace", "status"), any("removed"))
	h.as(as, "PUT", "/workspaces/default/model-billing", `{}`).refused(400, "VALIDATION_ERROR")
	h.as(as, "PUT", "/workspaces/default/model-billing", map[string]any{"mode": ""}).refused(400, "VALIDATION_ERROR")
	h.as(as, "PATCH", "/workspaces/default/budget", `{}`).refused(400, "VALIDATION_ERROR")
	h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"budgetLimit": -1}).refused(400, "VALIDATION_ERROR")
	h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"budgetLimit": 5, "budgetLimits": map[string]any{"hourly": 7}}).want(200)
	b := h.as(as, "GET", "/workspaces/default/budget", nil).want(200)
	testkit.Equal(t, []any{b.data("budgetLimit"), b.data("periods", "hourly", "limit")}, []any{nil, 7.0}) // budgetLimits wins
	var wg sync.WaitGroup                                                                                 // twenty people change a period each, at the same time
	for i := range 20 {
		wg.Go(func() {
			period := []string{"hourly", "daily", "weekly", "monthly"}[i%4]
			h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"merge": true, "budgetLimits": map[string]any{period: 100 + i%4}}).want(200)
		})
	}
	wg.Wait()
	h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"merge": true, "budgetLimits": map[string]any{"weekly": nil}}).want(200)
	b = h.as(as, "GET", "/workspaces/default/budget", nil).want(200)
	testkit.Equal(t, []any{b.data("periods", "hourly", "limit"), b.data("periods", "daily", "limit"), b.data("periods", "weekly", "limit"), b.data("budgetLimit")}, []any{100.0, 101.0, nil, 103.0})
	recipe := map[string]any{"name": "R", "required_env": []any{"A", []string{"B", "C"}}, "workspaces": []any{map[string]any{"name": "N", "required_env": []string{"D"}}}}
	a = h.as(as, "POST", "/organizations/me/import", map[string]any{"template": recipe}).refused(412, "PRECONDITION_FAILED")
	testkit.Equal(t, fmt.Sprint(a.Body.Error.Details["missing_env"], a.Body.Error.Details["missing_workspace_env"]), "[A B or C] map[N:[D]]")
	testkit.Must(db.Exec(t.Context(), h.Store, `UPDATE plans SET services_limit = 2`))(t)
	recipe = map[string]any{"name": "R", "workspaces": []any{map[string]any{"name": "Good"}, map[string]any{"name": "Bad", "servers": []any{map[string]any{"slug": "a", "url": "http://127.0.0.1:8089/"},
		map[string]any{"slug": "a-b", "url": "http://127.0.0.1:8089/"}, map[string]any{"slug": "nope", "service": "nobody"}}}}}
	a = h.as(as, "POST", "/organizations/me/import", map[string]any{"template": recipe})
	a.want(207)
	testkit.Equal(t, a.data("state"), any("partly"))
}

// What a workspace may spend and whether it takes calls holds on the way of a
// call, whichever door it came through.
func TestCallsOfAWorkspace(t *testing.T) {
	h := onSQLite(t)
	as := h.owner.Token
	call := func() *answer {
		return h.as(as, "POST", "/mcp/execute/tool", map[string]any{"serviceId": h.demo, "toolName": "echo", "parameters": map[string]any{"text": "x"}})
	}
	call().want(200)
	t.Run("over its budget is 402, with the periods", func(t *testing.T) {
		h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"budgetLimits": map[string]any{"hourly": 2, "weekly": 0}}).want(200)
		a := call().refused(402, "PAYMENT_REQUIRED")
		testkit.Equal(t, fmt.Sprint(a.Body.Error.Details["exceeded_periods"]), "[weekly]")
		h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"budgetLimits": map[string]any{"hourly": 2}}).want(200)
		call().want(200)
		a = call().refused(402, "PAYMENT_REQUIRED")
		testkit.Equal(t, fmt.Sprint(a.Body.Error.Details["exceeded_periods"]), "[hourly]")
		testkit.Equal(t, h.as(as, "GET", "/workspaces/default/budget", nil).want(200).data("periods", "hourly", "spend"), any(2.0))
		h.as(as, "PATCH", "/workspaces/default/budget", map[string]any{"budgetLimit": nil}).want(200)
		call().want(200)
	})
	t.Run("paused is 409, and costs nothing", func(t *testing.T) {
		balance := func() any { return h.as(as, "GET", "/credits", nil).want(200).data("account", "balance") }
		have := balance()
		h.as(as, "POST", "/workspaces/default/pause", `{}`).want(200)
		if a := call().refused(409, "CONFLICT"); !strings.Contains(a.Body.Error.Message, "paused") {
			t.Errorf("%s", a.Raw)
		}
		testkit.Equal(t, balance(), have)
		h.as(as, "POST", "/workspaces/default/resume", nil).want(200)
		call().want(200)
	})
	t.Run("a service off the allowlist is 403", func(t *testing.T) {
		other := testkit.Must(h.Catalog.GetServer(t.Context(), &access.Principal{Kind: access.Session, Organization: h.owner.Organization.ID, Role: access.Owner, Scopes: access.Every}, h.Demo(h.owner.Organization, "other").ID))(t)
		h.as(as, "PUT", "/organizations/me/plugins/allowlist", map[string]any{"plugins": []string{other.Service.ID}, "enabledBy": "x"}).want(200)
		call().refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(as, "PUT", "/organizations/me/plugins/allowlist", map[string]any{"plugins": []string{}, "enabledBy": "x"}).want(200)
		call().want(200)
	})
}

// waiting is an MCP server whose one tool answers when it is let go.
func waiting(started chan<- struct{}, release <-chan struct{}) http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "waiting", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, struct{}, error) {
		started <- struct{}{}
		<-release
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "done"}}}, struct{}{}, nil
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true})
}

// A restart and a purge let what is in flight end.
func TestRestartLosesNothing(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: upstream.Builtins{"waiting": waiting(started, release)}})
	as := h.owner.Token
	service := h.Builtin(h.owner.Organization, "waiting", "waiting").Service.ID
	answers := make(chan *answer)
	go func() {
		answers <- h.as(as, "POST", "/mcp/execute/tool", map[string]any{"serviceId": service, "toolName": "wait", "parameters": map[string]any{}})
	}()
	<-started
	h.as(as, "POST", "/workspaces/default/restart", nil).want(200)
	h.Settle()
	if n := h.as(as, "GET", "/workspaces/default", nil).want(200).data("workspace", "activeTasks"); n != 1.0 {
		t.Errorf("%v calls are said to run", n)
	}
	close(release)
	(<-answers).want(200)
	go func() { <-started }()
	h.as(as, "POST", "/mcp/execute/tool", map[string]any{"serviceId": service, "toolName": "wait", "parameters": map[string]any{}}).want(200)
}
