package platform_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/demo"
	"headgate/internal/id"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

func TestServices(t *testing.T) {
	h := onSQLite(t)
	_, operator := h.Key(nil, access.OperatorKey, "")
	for _, slug := range []string{"alpha", "beta", "gamma"} {
		h.as(operator, "POST", "/mcp/services", map[string]any{"slug": slug, "name": strings.ToUpper(slug), "description": "the " + slug, "url": "http://127.0.0.1:8089/mcp"}).want(201)
	}
	t.Run("the catalog has what is on offer and one's own, by page and filter", func(t *testing.T) {
		a := h.as(h.owner.Token, "GET", "/mcp/services?limit=2&page=2", nil).want(200).has("id name description isConfigured version", "services")
		testkit.Equal(t, a.meta("pagination"), any(map[string]any{"total": 4.0, "page": 2.0, "limit": 2.0, "pages": 2.0}))
		testkit.Equal(t, h.as(h.owner.Token, "GET", "/mcp/services?filter=THE+BETA", nil).want(200).meta("pagination", "total"), any(1.0))
		testkit.Equal(t, h.as(h.owner.Token, "GET", "/mcp/services?filter=%25", nil).want(200).meta("pagination", "total"), any(0.0))
	})
	t.Run("its buyers neither see its address nor change it", func(t *testing.T) {
		beta := h.as(h.owner.Token, "GET", "/mcp/services?filter=beta", nil).want(200).text("services", "id")
		a := h.as(h.owner.Token, "GET", "/mcp/services/"+beta, nil).want(200)
		if strings.Contains(a.Raw, "8089") {
			t.Error(a.Raw)
		}
		h.as(h.owner.Token, "PATCH", "/mcp/services/"+beta, map[string]any{"name": "mine"}).refused(404, "RESOURCE_NOT_FOUND")
		h.as(h.owner.Token, "DELETE", "/mcp/services/"+beta, nil).refused(404, "RESOURCE_NOT_FOUND")
		h.as(operator, "PATCH", "/mcp/services/"+beta, map[string]any{"name": "Better"}).want(200)
	})
	t.Run("a service of one's own is changed and removed", func(t *testing.T) {
		made := h.as(h.owner.Token, "POST", "/mcp/services", map[string]any{"slug": "own", "url": "http://127.0.0.1:8089/mcp", "headers": map[string]any{"X-Token": "canary"}}).want(201)
		own := made.text("service", "id")
		testkit.Equal(t, made.Header.Get("Location"), "/v1/mcp/services/"+own)
		if strings.Contains(made.Raw, "canary") {
			t.Error(made.Raw)
		}
		a := h.as(h.owner.Token, "PATCH", "/mcp/services/"+id.UUID(own), map[string]any{"headers": map[string]any{"X-Token": nil}, "timeoutMs": 1500, "era": "modern"}).want(200)
		testkit.Equal(t, a.data("service", "timeoutMs"), any(1500.0))
		h.as(h.owner.Token, "POST", "/mcp/services", map[string]any{"slug": "own", "url": "http://127.0.0.1:8089/mcp"}).refused(409, "CONFLICT")
		h.as(h.Tenant("other").Token, "GET", "/mcp/services/"+own, nil).refused(404, "RESOURCE_NOT_FOUND")
		h.as(h.owner.Token, "DELETE", "/mcp/services/"+own, nil).want(204)
		h.as(h.owner.Token, "GET", "/mcp/services/"+own, nil).refused(404, "RESOURCE_NOT_FOUND")
	})
	t.Run("prices are the seller's, with a history", func(t *testing.T) {
		p := "/mcp/services/" + h.demo + "/prices"
		h.as(h.owner.Token, "PUT", p, map[string]any{"price": 3, "readPrice": 1, "tools": map[string]any{"echo": 7}}).want(200)
		a := h.as(h.owner.Token, "GET", p, nil).want(200)
		testkit.Equal(t, a.data("prices"), any(map[string]any{"price": 3.0, "readPrice": 1.0, "chargeRejected": true, "tools": map[string]any{"echo": 7.0}}))
		h.as(h.owner.Token, "GET", p+"?at=2020-01-01", nil).want(200)
		for _, bad := range []string{`{"price":-1}`, `{"price":1e309}`, `{"price":1.5}`, `{"price":"3"}`, `{"price":9223372036854775807}`} {
			h.as(h.owner.Token, "PUT", p, bad).refused(400, "VALIDATION_ERROR")
		}
		customer := h.Customer(h.owner, "Customer")
		_, buyer := h.Key(customer, access.OrganizationKey, "")
		theirs := h.Demo(customer, "demo").Service.ID
		h.as(buyer, "PUT", "/mcp/services/"+theirs+"/prices", map[string]any{"price": 0}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
}

func TestServers(t *testing.T) {
	h := onSQLite(t)
	real := httptest.NewServer(demo.Handler("1", h.Now))
	defer real.Close()
	made := h.as(h.owner.Token, "POST", "/mcp/servers", map[string]any{"slug": "mine", "url": real.URL, "headers": map[string]any{"Authorization": "Bearer canary"}}).want(201)
	if strings.Contains(made.Raw, "canary") {
		t.Error(made.Raw)
	}
	path := "/mcp/servers/" + made.text("server", "id")
	t.Run("it is tested, and then has a health", func(t *testing.T) {
		if strings.Contains(made.Raw, `"health"`) {
			t.Errorf("health before any exchange: %s", made.Raw)
		}
		a := h.as(h.owner.Token, "POST", path+"/test", nil).want(200)
		testkit.Equal(t, a.data("test", "tools"), any([]any{"add", "echo", "now"}))
		g := h.as(h.owner.Token, "GET", path, nil).want(200).has("id slug name serviceId workspaceId url headerNames era enabled timeoutMs health mcpPath", "server")
		testkit.Equal(t, g.data("server", "health", "status"), any("up"))
		testkit.Equal(t, g.data("server", "mcpPath"), any("/mcp/mine"))
	})
	t.Run("its lists are shown, beside those of others", func(t *testing.T) {
		one := h.as(h.owner.Token, "GET", "/mcp/tools?serverId=mine", nil).want(200).has("serverId server serviceId name price definition", "tools")
		if n := len(one.data("tools").([]any)); n != 3 {
			t.Errorf("%d tools", n)
		}
		all := h.as(h.owner.Token, "GET", "/mcp/tools", nil).want(200)
		if n := len(all.data("tools").([]any)); n != 6 {
			t.Errorf("%d tools", n)
		}
		h.as(h.owner.Token, "GET", "/mcp/prompts?serverId="+made.text("server", "id"), nil).want(200).has("name definition", "prompts")
		h.as(h.owner.Token, "GET", "/mcp/resources", nil).want(200).has("name", "resources").has("name", "templates")
		h.as(h.owner.Token, "GET", "/mcp/tools?serverId=none", nil).refused(404, "RESOURCE_NOT_FOUND")
	})
	t.Run("calls go through its service", func(t *testing.T) {
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(made.text("server", "serviceId"), "echo", map[string]any{"text": "x"})).want(200)
	})
	t.Run("a dead one says so, in the list of all without costing the others", func(t *testing.T) {
		h.as(h.owner.Token, "PATCH", path, map[string]any{"url": "http://127.0.0.1:8089/mcp", "headers": map[string]any{"Authorization": "Bearer canary"}, "timeoutMs": 2000, "toolTimeoutsMs": map[string]any{"echo": 500}}).want(200)
		h.as(h.owner.Token, "POST", path+"/test", nil).refused(500, "MCP_SERVICE_ERROR")
		a := h.as(h.owner.Token, "GET", "/mcp/tools", nil).want(200)
		testkit.Equal(t, a.meta("missing", "server"), any("mine"))
		if n := len(a.data("tools").([]any)); n != 3 {
			t.Errorf("%d tools", n)
		}
		testkit.Equal(t, h.as(h.owner.Token, "GET", path, nil).want(200).data("server", "health", "status"), any("failing"))
	})
	t.Run("and a call of it is in the log, with the cause, though nobody ever saw its tools", func(t *testing.T) {
		dead := h.as(h.owner.Token, "POST", "/mcp/servers", map[string]any{"slug": "dead", "url": "http://127.0.0.1:8088/mcp"}).want(201)
		a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(dead.text("server", "serviceId"), "any", nil)).refused(500, "MCP_SERVICE_ERROR")
		line := h.as(h.owner.Token, "GET", "/logs/requests/log_"+strings.TrimPrefix(a.Header.Get("X-Request-Id"), "req_"), nil).want(200)
		testkit.Equal(t, []any{line.data("log", "errorCode"), line.data("log", "creditsCharged"), line.data("log", "isBackendError")}, []any{"upstream.unreachable", 0.0, true})
	})
	t.Run("switched off it is not called", func(t *testing.T) {
		h.as(h.owner.Token, "PATCH", path, map[string]any{"enabled": false}).want(200)
		h.as(h.owner.Token, "GET", "/mcp/tools?serverId=mine", nil).refused(503, "SERVICE_UNAVAILABLE")
	})
	t.Run("private addresses, other schemes and transports are refused", func(t *testing.T) {
		for _, url := range []string{"http://169.254.169.254/latest", "http://10.0.0.1/mcp", "file:///etc/passwd", "http://user:pass@example.com/mcp", "gopher://x", "http://127.0.0.1:22/"} {
			h.as(h.owner.Token, "POST", "/mcp/servers", map[string]any{"slug": "bad", "url": url}).refused(400, "VALIDATION_ERROR")
		}
		h.as(h.owner.Token, "POST", "/mcp/servers", map[string]any{"slug": "bad", "url": "x", "transport": "stdio"}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(h.owner.Token, "POST", "/mcp/servers", map[string]any{"slug": "bad"}).refused(400, "VALIDATION_ERROR")
	})
	t.Run("removed it is gone, with its service", func(t *testing.T) {
		h.as(h.owner.Token, "DELETE", path, nil).want(204)
		h.as(h.owner.Token, "GET", path, nil).refused(404, "RESOURCE_NOT_FOUND")
		h.as(h.owner.Token, "GET", "/mcp/services/"+made.text("server", "serviceId"), nil).refused(404, "RESOURCE_NOT_FOUND")
	})
}

func TestAdmin(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	_, op := h.Key(nil, access.OperatorKey, "")
	accounts := h.as(op, "GET", "/admin/accounts?organizationId="+h.owner.Organization.ID, nil).want(200).has("id number organizationId balance tier active", "accounts")
	account := "/admin/accounts/" + accounts.text("accounts", "id")
	t.Run("a top-up needs a reason, is kept with it, and repeats with its key alone", func(t *testing.T) {
		h.as(op, "POST", account+"/top-up", map[string]any{"amount": 100}).refused(400, "VALIDATION_ERROR")
		e := h.as(op, "POST", account+"/top-up", map[string]any{"amount": 100, "reason": "goodwill"}, "Idempotency-Key: once").want(200)
		testkit.Equal(t, e.data("entry", "balanceAfter"), any(150.0))
		h.as(op, "POST", account+"/top-up", map[string]any{"amount": 100, "reason": "goodwill"}, "Idempotency-Key: once").want(200)
		testkit.Equal(t, h.as(op, "GET", account, nil).want(200).data("account", "balance"), any(150.0))
		h.as(op, "POST", account+"/top-up", map[string]any{"pack": "small", "reason": "gift"}).want(200)
		h.as(op, "POST", account+"/top-up", map[string]any{"pack": "none", "reason": "gift"}).refused(404, "RESOURCE_NOT_FOUND")
		testkit.Equal(t, h.as(op, "GET", account+"/entries", nil).want(200).data("entries", "description"), any("gift"))
	})
	t.Run("what is taken away has a reason too, and was there", func(t *testing.T) {
		h.as(op, "POST", account+"/take", map[string]any{"amount": 251, "reason": "x"}).refused(402, "PAYMENT_REQUIRED")
		testkit.Equal(t, h.as(op, "POST", account+"/take", map[string]any{"amount": 250, "reason": "typo"}).want(200).data("entry", "amount"), any(-250.0))
		h.as(op, "POST", account+"/top-up", map[string]any{"amount": 250, "reason": "back"}).want(200)
	})
	t.Run("amounts are whole, above zero and within bounds", func(t *testing.T) {
		for _, n := range []string{"-1", "0", "-0", "1.5", "1e3", "1e309", "9223372036854775807", "9223372036854775808", "1000000000000001", `"1e3"`, `"5"`, "true", "[5]", "NaN"} {
			for _, path := range []string{"/top-up", "/take"} {
				h.as(op, "POST", account+path, `{"reason":"x","amount":`+n+`}`).refused(400, "VALIDATION_ERROR")
			}
			h.as(h.owner.Token, "POST", "/users/me/api-keys", `{"name":"n","scopes":["mcp:read"],"expiresIn":`+n+`}`).refused(400, "VALIDATION_ERROR")
			h.as(op, "PATCH", account, `{"monthlyAllocation":`+strings.ReplaceAll(n, "0", "-3")+`}`).refused(400, "VALIDATION_ERROR")
		}
	})
	t.Run("an account is switched off", func(t *testing.T) {
		h.as(op, "PATCH", account, map[string]any{"active": false, "allowRawRecords": true, "tier": "gold"}).want(200)
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"})).refused(402, "PAYMENT_REQUIRED")
		h.as(op, "PATCH", account, map[string]any{"active": true}).want(200)
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"})).want(200)
	})
	t.Run("lists and sums answer", func(t *testing.T) {
		for path, member := range map[string]string{"/credit-packs": "creditPacks", "/prices": "prices", "/analytics/accounts": "totals", "/analytics/tools": "tools", "/analytics/credits": "days",
			"/plans": "plans", "/tenants": "tenants", "/organizations": "organizations"} {
			if h.as(op, "GET", "/admin"+path, nil).want(200).data(member) == nil {
				t.Errorf("%s has no %s", path, member)
			}
		}
		tools := h.as(op, "GET", "/admin/analytics/tools", nil).want(200)
		testkit.Equal(t, tools.data("tools", "calls"), any(2.0)) // one of them was refused
		testkit.Equal(t, tools.data("tools", "creditsCharged"), any(1.0))
		testkit.Equal(t, h.as(op, "GET", "/admin/accounts?email=nobody@example.com", nil).want(200).meta("pagination", "total"), any(0.0))
	})
	t.Run("the books agree", func(t *testing.T) {
		r := h.as(op, "GET", "/admin/reconciliation", nil).want(200)
		if r.data("reconciliation", "ok") != true || r.data("reconciliation", "calls") != 1.0 || r.data("reconciliation", "entries") != 1.0 {
			t.Error(r.Raw)
		}
	})
	t.Run("plans are made and given, organizations suspended and resumed", func(t *testing.T) {
		h.as(op, "PUT", "/admin/plans/tiny", map[string]any{"name": "Tiny", "users": 1, "ratePerMinute": 600, "burst": 100, "monthlyCredits": 5}).want(200)
		organization := "/admin/organizations/" + h.owner.Organization.ID
		h.as(op, "PUT", organization+"/plan", map[string]any{"plan": "tiny"}).want(200)
		testkit.Equal(t, h.as(h.owner.Token, "GET", "/organizations/me", nil).want(200).data("organization", "plan", "name"), any("Tiny"))
		h.as(op, "POST", organization+"/suspend", nil).refused(409, "CONFLICT") // a home
		customer := h.Customer(h.owner, "Customer")
		_, key := h.Key(customer, access.OrganizationKey, "")
		h.as(op, "POST", "/admin/organizations/"+customer.ID+"/suspend", nil).want(200)
		if a := h.as(key, "GET", "/plans", nil); a.Status != 401 && a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
		h.as(op, "POST", "/admin/organizations/"+customer.ID+"/resume", nil).want(200)
		h.as(key, "GET", "/plans", nil).want(200)
	})
	t.Run("operator keys call no tools and are of no organization", func(t *testing.T) {
		h.as(op, "POST", "/mcp/execute/tool", tool(h.demo, "echo", nil)).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(op, "GET", "/organizations/me", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
}
