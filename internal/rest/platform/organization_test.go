package platform_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

func TestOrganization(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		dev := h.Member(h.owner.Organization, "dev", access.Developer)
		t.Run("details are the contract's", func(t *testing.T) {
			a := h.as(dev.Token, "GET", "/organizations/me", nil).want(200).has("id name plan createdAt usersCount servicesCount", "organization").has("id name features", "organization", "plan")
			testkit.Equal(t, a.data("organization", "usersCount"), any(2.0))
			testkit.Equal(t, a.data("organization", "servicesCount"), any(1.0))
		})
		t.Run("people are listed for admins only", func(t *testing.T) {
			a := h.as(h.owner.Token, "GET", "/organizations/me/users", nil).want(200).has("id email firstName lastName role createdAt lastLoginAt", "users")
			testkit.Equal(t, a.meta("pagination"), any(map[string]any{"total": 2.0, "page": 1.0, "limit": 20.0, "pages": 1.0}))
			for _, role := range []access.Role{access.Developer, access.Viewer, access.Member} {
				who := dev
				if role != access.Developer {
					who = h.Member(h.owner.Organization, string(role), role)
				}
				h.as(who.Token, "GET", "/organizations/me/users", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			}
		})
		t.Run("roles change, people are let out and in, and an owner stays", func(t *testing.T) {
			path := "/organizations/me/users/" + id.UUID(dev.ID)
			h.as(h.owner.Token, "PATCH", path, map[string]any{"isActive": false}).want(200)
			h.as(dev.Token, "GET", "/users/me", nil).refused(401, "AUTH_TOKEN_INVALID")
			a := h.as(h.owner.Token, "PATCH", path, map[string]any{"isActive": true, "role": "admin"}).want(200)
			testkit.Equal(t, a.data("membership"), any(map[string]any{"userId": dev.ID, "role": "admin", "isActive": true}))
			dev = h.Start(dev.User, h.owner.Organization.ID)
			h.as(h.owner.Token, "PATCH", "/organizations/me/users/"+h.owner.ID, map[string]any{"role": "viewer"}).refused(409, "CONFLICT")
			h.as(h.owner.Token, "DELETE", "/organizations/me/users/"+h.owner.ID, nil).refused(409, "CONFLICT")
			h.as(dev.Token, "PATCH", "/organizations/me/users/"+h.owner.ID, map[string]any{"role": "viewer"}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			h.as(dev.Token, "PATCH", path, map[string]any{"role": "owner"}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			h.as(h.owner.Token, "PATCH", path, map[string]any{}).refused(400, "VALIDATION_ERROR")
			h.as(h.owner.Token, "PATCH", path, map[string]any{"role": "king"}).refused(400, "VALIDATION_ERROR")
		})
		t.Run("ownership is handed over in person", func(t *testing.T) {
			_, key := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
			h.as(key, "POST", "/organizations/me/transfer", map[string]any{"userId": dev.ID}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			h.as(h.owner.Token, "POST", "/organizations/me/transfer", map[string]any{"userId": id.New("user")}).refused(404, "RESOURCE_NOT_FOUND")
			h.as(h.owner.Token, "POST", "/organizations/me/transfer", map[string]any{"userId": dev.ID}).want(200)
			testkit.Equal(t, h.as(h.owner.Token, "GET", "/users/me", nil).want(200).data("user", "role"), any("admin"))
			testkit.Equal(t, h.as(dev.Token, "GET", "/users/me", nil).want(200).data("user", "role"), any("owner"))
		})
	})
}

func TestInvitations(t *testing.T) {
	h := onSQLite(t)
	guest := h.Tenant("guest")
	invite := map[string]any{"email": guest.Email, "role": "developer"}
	first := h.as(h.owner.Token, "POST", "/organizations/me/invitations", invite).want(201).text("invitation", "id")
	old := h.Link(guest.Email)
	h.as(h.owner.Token, "DELETE", "/organizations/me/invitations/"+first, nil).want(204)
	h.as(guest.Token, "POST", "/users/me/invitations/accept", map[string]any{"token": old}).refused(400, "VALIDATION_ERROR")
	h.as(h.owner.Token, "POST", "/organizations/me/invitations", invite).want(201)
	link := h.Link(guest.Email)
	if n := len(h.as(h.owner.Token, "GET", "/organizations/me/invitations", nil).want(200).data("invitations").([]any)); n != 1 {
		t.Errorf("%d open invitations", n)
	}
	t.Run("somebody else cannot use the link", func(t *testing.T) {
		h.as(h.Tenant("thief").Token, "POST", "/users/me/invitations/accept", map[string]any{"token": link}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
	t.Run("the invited one can, once", func(t *testing.T) {
		h.as(guest.Token, "POST", "/users/me/invitations/accept", map[string]any{"token": link}).want(200)
		h.as(guest.Token, "POST", "/users/me/invitations/accept", map[string]any{"token": link}).refused(400, "VALIDATION_ERROR")
		h.as(guest.Token, "POST", "/users/me/switch", map[string]any{"organizationId": h.owner.Organization.ID}).want(200)
	})
	t.Run("a developer invites nobody, and an admin no owner", func(t *testing.T) {
		dev, admin := h.Member(h.owner.Organization, "dev", access.Developer), h.Member(h.owner.Organization, "admin", access.Admin)
		h.as(dev.Token, "POST", "/organizations/me/invitations", invite).refused(403, "AUTH_INSUFFICIENT_SCOPE")
		h.as(admin.Token, "POST", "/organizations/me/invitations", map[string]any{"email": "x@example.com", "role": "owner"}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		a := h.as(h.owner.Token, "POST", "/users/me/api-keys", map[string]any{"name": "ci", "expiresIn": 3600, "scopes": []string{"mcp:read", "mcp:write"}}).want(201)
		a.has("id name key createdAt expiresAt scopes", "apiKey")
		key, keyID := a.text("apiKey", "key"), a.text("apiKey", "id")
		t.Run("a key is shown once, with the contract's words", func(t *testing.T) {
			testkit.Equal(t, a.meta("message"), any("Store this API key securely; it won't be shown again."))
			if !strings.HasPrefix(key, "mcp_sk_") || !strings.HasPrefix(keyID, "key_") {
				t.Error(a.Raw)
			}
			list := h.as(h.owner.Token, "GET", "/users/me/api-keys", nil).want(200).has("id name lastUsed createdAt expiresAt scopes", "apiKeys")
			if strings.Contains(list.Raw, key[:12]) || strings.Contains(list.Raw, key[len(key)-4:]) || string(list.Body.Meta) != "{}" {
				t.Error(list.Raw)
			}
		})
		t.Run("both ways of sending it work, its scopes bind it", func(t *testing.T) {
			h.as("", "GET", "/mcp/services", nil, "Authorization: ApiKey "+key).want(200)
			h.as("", "GET", "/mcp/services", nil, "X-API-Key: "+key).want(200)
			d := h.as(key, "GET", "/logs/requests", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			if d.Body.Error.Details["scope"] == nil {
				t.Errorf("which scope is missing? %v", d.Body.Error.Details)
			}
		})
		t.Run("in a URL it is refused, and two that disagree are", func(t *testing.T) {
			h.as("", "GET", "/mcp/services?api_key="+key, nil).refused(400, "VALIDATION_ERROR")
			h.as(h.owner.Token, "GET", "/mcp/services", nil, "X-API-Key: "+key).refused(400, "VALIDATION_ERROR")
		})
		t.Run("keys do not manage keys: valid, revoked and invented ones get the same answer and no look-up", func(t *testing.T) {
			_, dead := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
			testkit.Must0(t, h.APIKeys.Revoke(t.Context(), world.Headgate(h.owner.Organization), h.principal(dead).ID))
			for _, op := range [][2]string{{"GET", "/users/me/api-keys"}, {"POST", "/users/me/api-keys"}, {"DELETE", "/users/me/api-keys/" + keyID}, {"POST", "/users/me/api-keys/x/rotate"}, {"GET", "/organizations/me/keys"}, {"POST", "/organizations/me/keys"}} {
				before, first := s.Queries(), ""
				for _, credential := range []string{key, dead, "mcp_sk_garbage", "sk_garbage", "sk_live_garbage", "pk_test_garbage", "mcp_garbage", "wk_garbage"} {
					got := h.as(credential, op[0], op[1], nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
					if first == "" {
						first = got.Raw
					}
					if got.Raw != first {
						t.Errorf("%v: %s", op, got.Raw)
					}
				}
				if n := s.Queries() - before; n != 0 {
					t.Errorf("%v: %d queries", op, n)
				}
			}
		})
		t.Run("a key is no stronger than its maker", func(t *testing.T) {
			viewer := h.Member(h.owner.Organization, "viewer", access.Viewer)
			h.as(viewer.Token, "POST", "/users/me/api-keys", map[string]any{"name": "x", "scopes": []string{"mcp:read"}}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			dev := h.Member(h.owner.Organization, "dev", access.Developer)
			h.as(dev.Token, "POST", "/users/me/api-keys", map[string]any{"name": "x", "scopes": []string{"org:admin"}}).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			for _, bad := range []map[string]any{{"scopes": []string{"*"}}, {"scopes": []string{}}, {"expiresIn": -1}, {"expiresIn": 1e12}, {"name": ""}, {"organizationId": "org_x"}, {"userId": h.owner.ID}, {"role": "owner"}} {
				body := map[string]any{"name": "x", "scopes": []string{"mcp:read"}}
				for k, v := range bad {
					body[k] = v
				}
				h.as(dev.Token, "POST", "/users/me/api-keys", body).refused(400, "VALIDATION_ERROR")
			}
		})
		t.Run("rotation gives a successor, and grace to the old one", func(t *testing.T) {
			next := h.as(h.owner.Token, "POST", "/users/me/api-keys/"+keyID+"/rotate", map[string]any{"gracePeriod": 60}).want(201).text("apiKey", "key")
			h.as(key, "GET", "/mcp/services", nil).want(200)
			h.as(next, "GET", "/mcp/services", nil).want(200)
			h.as(h.owner.Token, "POST", "/users/me/api-keys/"+keyID+"/rotate", nil).refused(409, "CONFLICT")
		})
		t.Run("a revoked key is refused from then on", func(t *testing.T) {
			h.as(h.owner.Token, "DELETE", "/users/me/api-keys/"+keyID, nil).want(204)
			h.as(key, "GET", "/mcp/services", nil).refused(401, "AUTH_TOKEN_INVALID")
			h.as(h.Tenant("other").Token, "DELETE", "/users/me/api-keys/"+keyID, nil).refused(404, "RESOURCE_NOT_FOUND")
		})
		t.Run("an organization key may make others, and says what it is", func(t *testing.T) {
			made := h.as(h.owner.Token, "POST", "/organizations/me/keys", map[string]any{"name": "agents"}).want(201)
			if m, _ := made.meta("message").(string); !strings.Contains(m, "everything in the organization") {
				t.Error(made.Raw)
			}
			root := made.text("apiKey", "key")
			child := h.as(root, "POST", "/organizations/me/keys", map[string]any{"name": "child"}).want(201).text("apiKey", "key")
			h.as(root, "POST", "/organizations/me/keys", map[string]any{"name": "ws", "kind": "workspace"}).want(201)
			h.as(root, "GET", "/organizations/me/keys", nil).want(200).has("id kind name prefix lastFour createdBy lastUsed", "keys")
			h.as(root, "GET", "/users/me", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			h.as(root, "GET", "/admin/accounts", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			testkit.Equal(t, h.as(h.owner.Token, "DELETE", "/organizations/me/keys/"+made.text("apiKey", "id")+"?tree=true", nil).want(200).data("revoked"), any(3.0))
			h.as(child, "GET", "/mcp/services", nil).refused(401, "AUTH_TOKEN_INVALID")
		})
	})
}

func TestMassAssignment(t *testing.T) {
	h := onSQLite(t)
	t.Run("read-only and unknown fields are refused everywhere", func(t *testing.T) {
		for _, c := range []struct{ method, path, body string }{
			{"PATCH", "/users/me", `{"firstName":"A","role":"owner"}`}, {"PATCH", "/users/me", `{"email":"x@example.com"}`},
			{"PATCH", "/organizations/me", `{"planId":"plan_x"}`}, {"PATCH", "/organizations/me", `{"tenantId":"ten_x"}`}, {"PATCH", "/organizations/me", `{"Name":"x"}`},
			{"POST", "/mcp/servers", `{"slug":"x","url":"http://127.0.0.1:8089/mcp","organizationId":"org_x"}`},
			{"POST", "/mcp/execute/tool", `{"serviceId":"` + h.demo + `","toolName":"echo","parameters":{"text":"x"},"tenantId":"ten_x"}`},
			{"POST", "/auth/register", `{"email":"x@example.com","password":"` + world.Password + `","firstName":"a","lastName":"b","role":"owner"}`},
			{"PATCH", "/mcp/services/" + h.demo, `{"price":0}`}, {"PATCH", "/mcp/services/" + h.demo, `{"organizationId":null}`},
			{"PATCH", "/users/me", `{"firstName":"A","firstName":"B"}`},
		} {
			h.as(h.owner.Token, c.method, c.path, c.body).refused(400, "VALIDATION_ERROR")
		}
	})
	t.Run("a tenant named by the caller changes nothing", func(t *testing.T) {
		other := h.Tenant("other")
		plain := h.as(h.owner.Token, "GET", "/organizations/me", nil).want(200)
		named := h.as(h.owner.Token, "GET", "/organizations/me", nil, "X-Tenant-Id: "+other.Organization.Tenant).want(200)
		testkit.Equal(t, named.Raw, plain.Raw)
		h.as(h.owner.Token, "GET", "/organizations/me?tenantId="+other.Organization.Tenant, nil).refused(400, "VALIDATION_ERROR")
	})
}
