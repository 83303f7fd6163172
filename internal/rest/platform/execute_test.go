package platform_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

func tool(service, name string, parameters any) map[string]any {
	return map[string]any{"serviceId": service, "toolName": name, "parameters": parameters}
}

func TestExecuteTool(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{Builtins: builtins()})
		oddID := h.Builtin(h.owner.Organization, "odd", "odd").Service.ID
		brokenID := h.Builtin(h.owner.Organization, "broken", "broken").Service.ID
		balance := func() int64 { return testkit.Must(h.Credits.Of(t.Context(), h.owner.Organization.ID, ""))(t).Balance() }
		t.Run("structured content is the result; it is charged and logged under the request's id", func(t *testing.T) {
			before := balance()
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "hällo"})).want(200)
			testkit.Equal(t, a.data("result"), any(map[string]any{"text": "hällo"}))
			if took, isNumber := a.data("executionTime").(float64); !isNumber || took < 0 || took > 30 {
				t.Errorf("executionTime %v", a.data("executionTime"))
			}
			request, _ := a.meta("requestId").(string)
			testkit.Equal(t, request, a.Header.Get("X-Request-Id"))
			testkit.Equal(t, balance(), before-1)
			h.Bodies.Flush(t.Context())
			l := h.as(h.owner.Token, "GET", "/logs/requests/"+request, nil).want(200)
			testkit.Equal(t, l.data("log", "id"), any(strings.Replace(request, "req_", "log_", 1)))
			testkit.Equal(t, l.data("log", "request"), any(map[string]any{"serviceId": h.demo, "toolName": "echo", "parameters": map[string]any{"text": "hällo"}}))
			testkit.Equal(t, l.data("log", "response", "result"), any(map[string]any{"text": "hällo"}))
		})
		t.Run("without structure the result is the content", func(t *testing.T) {
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(oddID, "plain", map[string]any{"a": 1})).want(200)
			testkit.Equal(t, a.data("result"), any(map[string]any{"content": []any{map[string]any{"type": "text", "text": `{"a":1}`}}}))
		})
		t.Run("numbers beyond 2^53 survive both ways", func(t *testing.T) {
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", `{"serviceId":"`+oddID+`","toolName":"big","parameters":{"z":9007199254740995,"a":1}}`).want(200)
			if !strings.Contains(a.Raw, `"result":{"n":9007199254740993,"args":{"z":9007199254740995,"a":1}}`) {
				t.Error(a.Raw)
			}
		})
		t.Run("the service may be named as a plain uuid", func(t *testing.T) {
			h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(id.UUID(h.demo), "add", map[string]any{"a": 1, "b": 2})).want(200)
		})
		t.Run("a tool's error is 500 with its result, and charged", func(t *testing.T) {
			before := balance()
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(oddID, "fails", nil)).refused(500, "MCP_SERVICE_ERROR")
			testkit.Equal(t, a.Body.Error.Details["result"], any(map[string]any{"content": []any{map[string]any{"type": "text", "text": "it does not work"}}}))
			testkit.Equal(t, balance(), before-1)
		})
		t.Run("a JSON-RPC error is 500 with its words", func(t *testing.T) {
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(oddID, "refuses", nil)).refused(500, "MCP_SERVICE_ERROR")
			testkit.Equal(t, a.Body.Error.Details["error"], any(map[string]any{"code": float64(-32602), "message": "no such thing", "data": map[string]any{"hint": "try another"}}))
		})
		t.Run("a server that fails is 500 and costs nothing", func(t *testing.T) {
			before := balance()
			for path, body := range map[string]map[string]any{"tool": tool(brokenID, "any", nil), "resource": {"serviceId": brokenID, "resourceName": "any"}} {
				a := h.as(h.owner.Token, "POST", "/mcp/execute/"+path, body)
				if a.Status != 500 && a.Status != 503 {
					t.Errorf("%d %s", a.Status, a.Raw)
				}
				l := h.as(h.owner.Token, "GET", "/logs/requests/"+a.Header.Get("X-Request-Id"), nil).want(200)
				if l.data("log", "isBackendError") != true || l.data("log", "creditsCharged") != 0.0 || l.data("log", "operation") != "any" {
					t.Error(l.Raw)
				}
			}
			testkit.Equal(t, balance(), before)
		})
		t.Run("an unknown tool is 404 and costs nothing", func(t *testing.T) {
			before := balance()
			h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "nothing", nil)).refused(404, "RESOURCE_NOT_FOUND")
			testkit.Equal(t, balance(), before)
		})
		t.Run("another tenant's service is like none", func(t *testing.T) {
			stranger := h.Tenant("stranger")
			theirs := h.as(stranger.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"})).refused(404, "RESOURCE_NOT_FOUND")
			none := h.as(stranger.Token, "POST", "/mcp/execute/tool", tool(id.New("svc"), "echo", map[string]any{"text": "x"})).refused(404, "RESOURCE_NOT_FOUND")
			testkit.Equal(t, theirs.Raw, none.Raw)
		})
		t.Run("arguments that the schema calls secret are in no log", func(t *testing.T) {
			a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(oddID, "sign", map[string]any{"pin": "8361", "doc": "contract"})).want(200)
			h.Bodies.Flush(t.Context())
			l := h.as(h.owner.Token, "GET", "/logs/requests/"+a.meta("requestId").(string), nil).want(200)
			testkit.Equal(t, l.data("log", "request", "parameters"), any(map[string]any{"pin": "[redacted]", "doc": "contract"}))
		})
	})
}

func TestExecuteResource(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: builtins()})
	oddID := h.Builtin(h.owner.Organization, "odd", "odd").Service.ID
	read := func(service, name string, parameters any) *answer {
		return h.as(h.owner.Token, "POST", "/mcp/execute/resource", map[string]any{"serviceId": service, "resourceName": name, "parameters": parameters})
	}
	t.Run("a resource by its name", func(t *testing.T) {
		a := read(h.demo, "about", nil).want(200)
		content := a.data("result", "content").(string)
		testkit.Equal(t, a.data("result"), any(map[string]any{"content": content, "mimeType": "text/plain", "size": float64(len(content))}))
	})
	t.Run("a blob in base64, with the size of what it stands for", func(t *testing.T) {
		testkit.Equal(t, read(oddID, "blob", nil).want(200).data("result"), any(map[string]any{"content": "AAEC/w==", "mimeType": "image/png", "size": float64(4)}))
	})
	for _, c := range []struct {
		name       string
		parameters any
		want       string
	}{
		{"path", map[string]any{"a": "x y", "b": 7}, "odd://path/x%20y/7"},
		{"path", map[string]any{"a": "../..", "b": true}, "odd://path/..%2F../true"},
		{"path", map[string]any{"a": "ü/?#", "b": "{b}"}, "odd://path/%C3%BC%2F%3F%23/%7Bb%7D"},
		{"reserved", map[string]any{"path": "a/b c"}, "odd://reserved/a/b%20c"},
		{"query", map[string]any{"q": "1&2", "r": ""}, "odd://query?q=1%262&r="},
	} {
		t.Run(fmt.Sprintf("a template is filled in: %s", c.want), func(t *testing.T) {
			testkit.Equal(t, read(oddID, c.name, c.parameters).want(200).data("result", "content"), any(c.want))
		})
	}
	t.Run("what the template needs and nobody gave is 400 by name", func(t *testing.T) {
		a := read(oddID, "path", map[string]any{"a": "x"}).refused(400, "VALIDATION_ERROR")
		testkit.Equal(t, a.Body.Error.Details["fields"], any([]any{map[string]any{"field": "body.parameters.b", "message": "is needed to fill in the resource's URI"}}))
		read(oddID, "path", map[string]any{"a": []int{1}, "b": "x"}).refused(400, "VALIDATION_ERROR")
	})
	t.Run("an unknown name is 404", func(t *testing.T) { read(h.demo, "nothing", nil).refused(404, "RESOURCE_NOT_FOUND") })
	t.Run("a prompt", func(t *testing.T) {
		prompt := func(name string, parameters any) *answer {
			return h.as(h.owner.Token, "POST", "/mcp/execute/prompt", map[string]any{"serviceId": h.demo, "promptName": name, "parameters": parameters})
		}
		a := prompt("introduce", map[string]any{"audience": "children"}).want(200)
		if !strings.Contains(a.Raw, "The audience: children.") || a.data("result", "description") != "Introduce Headgate" {
			t.Error(a.Raw)
		}
		prompt("introduce", map[string]any{"audience": 7}).refused(400, "VALIDATION_ERROR")
		prompt("nothing", nil).refused(404, "RESOURCE_NOT_FOUND")
	})
}

func TestConfigure(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: builtins()})
	const secret = "ghp_canary1234567890"
	svc := h.as(h.owner.Token, "POST", "/mcp/services", map[string]any{"slug": "hub", "name": "Hub", "url": "http://127.0.0.1:8089/mcp", "headers": map[string]any{"Authorization": "Bearer {{config.token}}"},
		"capabilities": []string{"codeSearch"}, "configSchema": map[string]any{"type": "object", "required": []string{"token"},
			"properties": map[string]any{"token": map[string]any{"type": "string", "writeOnly": true}, "depth": map[string]any{"type": "integer"}}}}).want(201).text("service", "id")
	path := "/mcp/services/" + svc
	t.Run("calling what is not configured is 400, not 404", func(t *testing.T) {
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(svc, "x", nil)).refused(400, "MCP_SERVICE_UNCONFIGURED")
		testkit.Equal(t, h.as(h.owner.Token, "GET", path, nil).want(200).has("id name description isConfigured version configSchema capabilities", "service").data("service", "isConfigured"), any(false))
	})
	t.Run("a configuration that does not fit is refused and not echoed", func(t *testing.T) {
		a := h.as(h.owner.Token, "POST", path+"/configure", map[string]any{"config": map[string]any{"token": 7, "depth": secret}}).refused(400, "VALIDATION_ERROR")
		if strings.Contains(a.Raw, secret) {
			t.Error(a.Raw)
		}
	})
	t.Run("one that fits makes it active, and no read shows its secrets", func(t *testing.T) {
		a := h.as(h.owner.Token, "POST", path+"/configure", map[string]any{"config": map[string]any{"token": secret, "depth": 3}}).want(200)
		testkit.Equal(t, a.data("service"), any(map[string]any{"id": svc, "name": "Hub", "isConfigured": true, "status": "active"}))
		testkit.Equal(t, a.meta("message"), any("Service configured successfully"))
		d := h.as(h.owner.Token, "GET", path, nil).want(200)
		testkit.Equal(t, d.data("service", "isConfigured"), any(true))
		testkit.Equal(t, d.data("service", "configuration", "values"), any(map[string]any{"depth": float64(3)}))
		testkit.Equal(t, d.data("service", "configuration", "secrets"), any([]any{"token"}))
		list := h.as(h.owner.Token, "GET", "/mcp/services?filter=hub", nil).want(200).has("id name description isConfigured version", "services")
		audit := h.as(h.owner.Token, "GET", "/logs/audit", nil).want(200)
		for _, r := range []*answer{a, d, list, audit} {
			if strings.Contains(r.Raw, secret) || strings.Contains(r.Raw, "canary") {
				t.Errorf("the secret shows: %s", r.Raw)
			}
		}
	})
	t.Run("it can be forgotten", func(t *testing.T) {
		h.as(h.owner.Token, "DELETE", path+"/configure", nil).want(204)
		h.as(h.owner.Token, "DELETE", path+"/configure", nil).refused(400, "MCP_SERVICE_UNCONFIGURED")
	})
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		call := func(credential, key, text string) *answer {
			return h.as(credential, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": text}), "Idempotency-Key: "+key)
		}
		calls := func() int64 {
			return testkit.Must(activity.CountCalls(t.Context(), s, activity.CallFilter{Organization: h.owner.Organization.ID}))(t)
		}
		t.Run("a repeat gets the stored answer and makes no second call", func(t *testing.T) {
			first, again := call(h.owner.Token, "k1", "x").want(200), call(h.owner.Token, "k1", "x").want(200)
			testkit.Equal(t, first.Raw, again.Raw)
			testkit.Equal(t, again.Header.Get("Idempotent-Replayed"), "true")
			testkit.Equal(t, calls(), int64(1))
		})
		t.Run("so does one whose tool failed, which was paid for", func(t *testing.T) {
			fails := func() *answer {
				return h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "now", map[string]any{"zone": "Nowhere/AtAll"}), "Idempotency-Key: k-failed")
			}
			before := calls()
			first := fails().refused(500, "MCP_SERVICE_ERROR")
			testkit.Equal(t, fails().refused(500, "MCP_SERVICE_ERROR").Raw, first.Raw)
			testkit.Equal(t, calls()-before, int64(1))
		})
		t.Run("another body is 409", func(t *testing.T) { call(h.owner.Token, "k1", "y").refused(409, "CONFLICT") })
		t.Run("another organization's key of the same name is another key", func(t *testing.T) {
			other := h.Tenant("other")
			service := h.Demo(other.Organization, "demo").Service.ID
			h.as(other.Token, "POST", "/mcp/execute/tool", tool(service, "echo", map[string]any{"text": "z"}), "Idempotency-Key: k1").want(200)
		})
		t.Run("of many at once one calls, the others wait or are told to", func(t *testing.T) {
			before := calls()
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if a := call(h.owner.Token, "race", "x"); a.Status != 200 && a.Status != 409 {
						t.Errorf("%d %s", a.Status, a.Raw)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, calls(), before+1)
		})
		t.Run("a key that was made is told once: the repeat shows its beginning, and the store nothing", func(t *testing.T) {
			body := map[string]any{"name": "ci", "scopes": []string{"mcp:read"}}
			first := h.as(h.owner.Token, "POST", "/users/me/api-keys", body, "Idempotency-Key: k2").want(201)
			again := h.as(h.owner.Token, "POST", "/users/me/api-keys", body, "Idempotency-Key: k2").want(201)
			testkit.Equal(t, again.text("apiKey", "key"), first.text("apiKey", "key")[:12]+"…")
			testkit.Equal(t, again.text("apiKey", "id"), first.text("apiKey", "id"))
			for _, table := range []string{"idempotency", "keys", "events"} {
				for _, row := range testkit.Must(db.All(t.Context(), s, func(v *string) []any { return []any{v} }, dump[table]))(t) {
					if strings.Contains(row, first.text("apiKey", "key")) {
						t.Errorf("%s holds the key", table)
					}
				}
			}
		})
	})
}

// Whatever creates or spends takes Idempotency-Key; what is public has no
// organization to keep answers for.
func TestCreationsTakeKeys(t *testing.T) {
	for _, op := range onSQLite(t).door.Operations() {
		creates := op.Status == http.StatusCreated || strings.HasPrefix(op.ID, "execute") || strings.HasPrefix(op.ID, "rotate")
		if op.Method == "POST" && creates && !op.Public && !op.Idempotent {
			t.Errorf("%s creates or spends, and takes no Idempotency-Key", op.ID)
		}
	}
}

var dump = map[string]string{
	"idempotency": `SELECT organization_id || key || state || COALESCE(CAST(body AS TEXT), '') FROM idempotency`,
	"keys":        `SELECT id || name || prefix || last_four || scopes FROM keys`,
	"events":      `SELECT action || details FROM events`,
}

func TestLimits(t *testing.T) {
	t.Run("the plan's rate is the headers', and above it is 429", func(t *testing.T) {
		h := onSQLite(t)
		h.Plan(h.owner.Organization, tenancy.Plan{Users: tenancy.Unlimited, Services: tenancy.Unlimited, RequestsPerDay: tenancy.Unlimited, RatePerMinute: 60, Burst: 3})
		_, key := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
		for i := range 3 {
			a := h.as(key, "GET", "/plans", nil).want(200)
			testkit.Equal(t, a.Header.Get("X-RateLimit-Limit"), "60")
			testkit.Equal(t, a.Header.Get("X-RateLimit-Remaining"), fmt.Sprint(2-i))
		}
		a := h.as(key, "GET", "/plans", nil).refused(429, "RATE_LIMIT_EXCEEDED")
		if a.Header.Get("Retry-After") == "" || a.Header.Get("X-RateLimit-Remaining") != "0" || len(a.Header.Get("X-RateLimit-Reset")) != 10 {
			t.Errorf("%v", a.Header)
		}
		testkit.Equal(t, h.as(h.owner.Token, "GET", "/plans", nil).want(200).Header.Get("X-RateLimit-Remaining"), "2")                   // another credential has its own
		testkit.Equal(t, h.as(h.Start(h.owner.User, "").Token, "GET", "/plans", nil).want(200).Header.Get("X-RateLimit-Remaining"), "1") // a person's sessions share theirs
	})
	t.Run("strangers have their address's", func(t *testing.T) {
		h := onSQLite(t)
		for _, a := range []*answer{h.as("", "GET", "/users/me", nil), h.as("", "GET", "/nowhere", nil), h.as("mcp_sk_junk", "GET", "/users/me", nil)} {
			if a.Header.Get("X-RateLimit-Limit") != "300" {
				t.Errorf("%d %v", a.Status, a.Header)
			}
		}
	})
	t.Run("the plan's requests per day, services and seats are 402 with what and how much", func(t *testing.T) {
		h := onSQLite(t)
		h.Plan(h.owner.Organization, tenancy.Plan{Users: 1, Services: 1, RequestsPerDay: 1, RatePerMinute: 6000, Burst: 100})
		details := func(a *answer, feature string) {
			t.Helper()
			d := a.refused(402, "PAYMENT_REQUIRED").Body.Error.Details
			if _, told := d["reset"]; !told || d["feature"] != feature || d["limit"] != float64(1) || d["used"] != float64(1) {
				t.Errorf("%v", d)
			}
		}
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"})).want(200)
		a := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"}))
		details(a, "requests_per_day")
		if a.Body.Error.Details["reset"] == nil {
			t.Error("no reset")
		}
		details(h.as(h.owner.Token, "POST", "/mcp/services", map[string]any{"slug": "more", "url": "http://127.0.0.1:8089/mcp"}), "services")
		details(h.as(h.owner.Token, "POST", "/organizations/me/invitations", map[string]any{"email": "x@example.com", "role": "viewer"}), "users")
	})
	t.Run("too few credits are 402 with balance and price, and nothing is called", func(t *testing.T) {
		h := onSQLite(t)
		dear := int64(1000)
		h.as(h.owner.Token, "PUT", "/mcp/services/"+h.demo+"/prices", map[string]any{"tools": map[string]any{"echo": dear}}).want(200)
		d := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": "x"})).refused(402, "PAYMENT_REQUIRED").Body.Error.Details
		if d["balance"] != float64(50) || d["price"] != float64(dear) {
			t.Errorf("%v", d)
		}
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "add", map[string]any{"a": 1, "b": 2})).want(200)
	})
}
