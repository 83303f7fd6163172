package platform_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream"
)

// TestDocumentedFaults provokes what the walks of all operations cannot: the
// refusals that need a server, a plan or a clash of their own.
func TestDocumentedFaults(t *testing.T) {
	closed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: upstream.Builtins{"closed": closed, "broken": builtins()["broken"]}})
	owner := h.owner.Token
	uses := func(service, server string) map[string]*answer {
		all := map[string]*answer{
			"executeTool":     h.as(owner, "POST", "/mcp/execute/tool", tool(service, "x", nil)),
			"executeResource": h.as(owner, "POST", "/mcp/execute/resource", map[string]any{"serviceId": service, "resourceName": "x"}),
			"executePrompt":   h.as(owner, "POST", "/mcp/execute/prompt", map[string]any{"serviceId": service, "promptName": "x"}),
			"testServer":      h.as(owner, "POST", "/mcp/servers/"+server+"/test", nil),
		}
		for op, noun := range map[string]string{"listTools": "tools", "listPrompts": "prompts", "listResources": "resources"} {
			all[op] = h.as(owner, "GET", "/mcp/"+noun+"?serverId="+server, nil)
		}
		return all
	}
	every := func(t *testing.T, all map[string]*answer, status int, code string) {
		t.Helper()
		for op, a := range all {
			if a.Status != status || a.Body.Error == nil || a.Body.Error.Code != code || len(a.Body.Error.Message) < 20 {
				t.Errorf("%s: %d %s", op, a.Status, a.Raw)
			}
		}
	}
	t.Run("a server that wants a person's consent is 401 with a word of its own", func(t *testing.T) {
		s := h.Builtin(h.owner.Organization, "closed", "closed")
		every(t, uses(s.Service.ID, s.ID), 401, "MCP_SERVICE_OAUTH_REQUIRED")
	})
	t.Run("a service that is not configured is 400 with a word of its own, whatever is asked of it", func(t *testing.T) {
		s := h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "hub", "url": "http://127.0.0.1:8089/mcp", "headers": map[string]any{"Authorization": "Bearer {{config.token}}"},
			"configSchema": map[string]any{"type": "object", "required": []string{"token"}, "properties": map[string]any{"token": map[string]any{"type": "string", "writeOnly": true}}}}).want(201)
		every(t, uses(s.text("server", "serviceId"), s.text("server", "id")), 400, "MCP_SERVICE_UNCONFIGURED")
	})
	t.Run("a server that fails is 500 for its lists too", func(t *testing.T) {
		s := h.Builtin(h.owner.Organization, "broken", "broken")
		all := uses(s.Service.ID, s.ID)
		delete(all, "executeTool") // elsewhere, with what it costs
		for op, a := range all {
			if a.Status != 500 && a.Status != 503 || a.Body.Error == nil || a.Body.Error.Code != "MCP_SERVICE_ERROR" && a.Body.Error.Code != "SERVICE_UNAVAILABLE" {
				t.Errorf("%s: %d %s", op, a.Status, a.Raw)
			}
		}
	})
	t.Run("a read that costs more than there is is 402", func(t *testing.T) {
		h.as(owner, "PUT", "/mcp/services/"+h.demo+"/prices", map[string]any{"readPrice": 1000}).want(200)
		h.as(owner, "POST", "/mcp/execute/resource", map[string]any{"serviceId": h.demo, "resourceName": "about"}).refused(402, "PAYMENT_REQUIRED")
		h.as(owner, "POST", "/mcp/execute/prompt", map[string]any{"serviceId": h.demo, "promptName": "introduce"}).refused(402, "PAYMENT_REQUIRED")
		h.as(owner, "PUT", "/mcp/services/"+h.demo+"/prices", map[string]any{"readPrice": 0}).want(200)
	})
	t.Run("a slug that is taken is 409", func(t *testing.T) {
		first := h.as(owner, "POST", "/mcp/services", map[string]any{"slug": "one", "url": "http://127.0.0.1:8089/mcp"}).want(201).text("service", "id")
		h.as(owner, "POST", "/mcp/services", map[string]any{"slug": "two", "url": "http://127.0.0.1:8089/mcp"}).want(201)
		h.as(owner, "PATCH", "/mcp/services/"+first, map[string]any{"slug": "two"}).refused(409, "CONFLICT")
		server := h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "three", "url": "http://127.0.0.1:8089/mcp"}).want(201).text("server", "id")
		h.as(owner, "PATCH", "/mcp/servers/"+server, map[string]any{"slug": "hub"}).refused(409, "CONFLICT")
	})
	t.Run("who is in already does not join again", func(t *testing.T) {
		guest := h.Tenant("guest")
		h.as(owner, "POST", "/organizations/me/invitations", map[string]any{"email": guest.Email, "role": "viewer"}).want(201)
		link := h.Link(guest.Email)
		h.Join(h.owner.Organization, guest.User, access.Viewer)
		h.as(guest.Token, "POST", "/users/me/invitations/accept", map[string]any{"token": link}).refused(409, "CONFLICT")
	})
	t.Run("who belongs nowhere any more can neither sign in nor refresh", func(t *testing.T) {
		alone := h.Member(h.owner.Organization, "alone", access.Viewer)
		in := h.as("", "POST", "/auth/login", map[string]any{"email": alone.Email, "password": world.Password}).want(200)
		h.as(owner, "DELETE", "/organizations/me/users/"+alone.ID, nil).want(204)
		h.as("", "POST", "/auth/login", map[string]any{"email": alone.Email, "password": world.Password}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as("", "POST", "/auth/refresh", map[string]any{"refreshToken": in.text("refreshToken")}).refused(401, "AUTH_TOKEN_INVALID")
	})
	t.Run("a plan that is full takes nobody in, and says how full it is", func(t *testing.T) {
		late, out := h.Tenant("late"), h.Member(h.owner.Organization, "out", access.Viewer)
		invite := func(email string) string {
			h.as(owner, "POST", "/organizations/me/invitations", map[string]any{"email": email, "role": "viewer"}).want(201)
			return h.Link(email)
		}
		link, fresh := invite(late.Email), invite("fresh@example.com")
		h.as(owner, "PATCH", "/organizations/me/users/"+out.ID, map[string]any{"isActive": false}).want(200)
		h.Plan(h.owner.Organization, tenancy.Plan{Users: 1, Services: 0, RequestsPerDay: tenancy.Unlimited, RatePerMinute: 6000, Burst: 1000})
		for op, a := range map[string]*answer{
			"acceptInvitation": h.as(late.Token, "POST", "/users/me/invitations/accept", map[string]any{"token": link}),
			"register":         h.as("", "POST", "/auth/register", map[string]any{"email": "fresh@example.com", "password": world.Password, "firstName": "F", "lastName": "L", "invitation": fresh}),
			"updateMember":     h.as(owner, "PATCH", "/organizations/me/users/"+out.ID, map[string]any{"isActive": true}),
			"createServer":     h.as(owner, "POST", "/mcp/servers", map[string]any{"slug": "more", "url": "http://127.0.0.1:8089/mcp"}),
		} {
			d := a.refused(402, "PAYMENT_REQUIRED").Body.Error.Details
			for _, name := range strings.Fields("feature limit used reset") {
				if _, told := d[name]; !told {
					t.Errorf("%s: no %s in %v", op, name, d)
				}
			}
		}
	})
}
