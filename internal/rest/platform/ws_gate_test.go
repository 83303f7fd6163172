package platform_test

import (
	"fmt"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/template"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// Whichever way a key would set, replace or forget a secret, it waits for a
// person, happens once for exactly what was agreed to, and tells nobody.
func TestSecretsWait(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		brought := grants.New(grants.Options{Store: s, Keys: h.Keys, Guard: h.Guard, Ask: h.Approvals.Secret, Now: h.Now})
		diagnostics.RegisterPlatform(h.door, diagnostics.PlatformOptions{Catalog: h.Catalog, Resolver: h.Resolver, Grants: brought})
		person := h.owner.Token
		_, key := h.Key(h.owner.Organization, access.OrganizationKey, "")
		_, mine := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
		const url = "http://127.0.0.1:8089/mcp"
		schema := map[string]any{"type": "object", "properties": map[string]any{"region": map[string]any{"type": "string"}, "token": map[string]any{"type": "string", "writeOnly": true}}}
		make := func(method, path string, body map[string]any, kind string) string {
			t.Helper()
			return h.as(person, method, path, body).want(201).data(kind, "id").(string)
		}
		own := make("POST", "/mcp/servers", map[string]any{"slug": "own", "url": url, "headers": map[string]any{"X-Old": "hunter0"}}, "server")
		service := make("POST", "/mcp/services", map[string]any{"slug": "offer", "url": url, "configSchema": schema}, "service")
		node := func(name string, server map[string]any) map[string]any {
			return map[string]any{"name": name, "servers": []any{server}}
		}
		with := func(slug, value string) map[string]any {
			return map[string]any{"slug": slug, "url": url, "headers": map[string]any{"Authorization": value}}
		}
		recipe := func(name, value string) map[string]any {
			return map[string]any{"name": name, "workspaces": []any{map[string]any{"name": name + " above"}, node(name, with("r", value))}}
		}
		bundle := func(name, value string) map[string]any {
			b := node(name, with("b", value))
			b["schema"] = template.Schema
			return b
		}
		h.as(person, "POST", "/templates", map[string]any{"name": "Keeper", "files": map[string]any{"template.yaml": "name: Keeper\nservers:\n  - slug: k\n    url: " + url + "\n    headers: {X-Key: hunter2}\n"}}).want(201)
		h.as(person, "POST", "/templates", map[string]any{"name": "Plain", "files": map[string]any{"template.yaml": "name: Plain\nservers:\n  - slug: k\n    url: " + url + "\n    headers: {X-Key: '{{secret.K}}'}\n"}}).want(201)
		tokens := map[string]any{"serverUrl": url, "tokens": map[string]any{"access_token": "hunter2"}}

		type request struct {
			method, path string
			body         map[string]any
		}
		ask := func(key string, r request) *answer {
			t.Helper()
			if r.body == nil {
				return h.as(key, r.method, r.path, nil)
			}
			return h.as(key, r.method, r.path, r.body)
		}
		h.as(person, "PUT", "/approval-policy", map[string]any{"gates": []string{"secrets"}}).want(200)

		t.Run("what holds no secret does not", func(t *testing.T) {
			for _, c := range []struct {
				request
				status int
			}{
				{request{"POST", "/mcp/servers", map[string]any{"slug": "plain", "url": url}}, 201},
				{request{"POST", "/mcp/servers", with("referring", "Bearer {{secret.TOKEN}}")}, 201},
				{request{"PATCH", "/mcp/servers/" + own, map[string]any{"name": "Own"}}, 200},
				{request{"POST", "/mcp/services/" + service + "/configure", map[string]any{"config": map[string]any{"region": "eu", "token": "{{secret.TOKEN}}"}}}, 200},
				{request{"DELETE", "/mcp/services/" + service + "/configure", nil}, 204},
				{request{"POST", "/workspaces", map[string]any{"name": "P", "template": "plain"}}, 201},
				{request{"POST", "/organizations/me/import", map[string]any{"template": recipe("Free", "{{secret.TOKEN}}")}}, 201},
				{request{"POST", "/organizations/me/import", map[string]any{"template": recipe("Looked at", "hunter2"), "dryRun": true}}, 200},
				{request{"POST", "/bundles", map[string]any{"bundle": bundle("Packed", "Bearer {{secret.TOKEN}}")}}, 201},
				{request{"POST", "/bundles", map[string]any{"bundle": bundle("Looked into", "hunter2"), "dryRun": true}}, 200},
			} {
				ask(key, c.request).want(c.status)
			}
		})
		t.Run("what is wrong anyway is refused, not asked about", func(t *testing.T) {
			ask(key, request{"POST", "/mcp/services/svc_nobody/configure", map[string]any{"config": map[string]any{"token": "hunter2"}}}).refused(404, "RESOURCE_NOT_FOUND")
			ask(key, request{"POST", "/mcp/services/" + service + "/configure", map[string]any{"config": map[string]any{"token": 7}}}).refused(400, "VALIDATION_ERROR")
			ask(key, request{"DELETE", "/organizations/me/secrets/NOBODY", nil}).refused(404, "RESOURCE_NOT_FOUND")
			testkit.Equal(t, len(h.as(person, "GET", "/approvals?pending=true", nil).want(200).data("approvals").([]any)), 0)
		})
		for _, c := range []struct {
			operation, target string
			key               string
			request
			status int
		}{
			{"setOrganizationSecret", "TOKEN", key, request{"PUT", "/organizations/me/secrets/TOKEN", map[string]any{"value": "hunter2"}}, 200},
			{"setWorkspaceSecret", "TOKEN", key, request{"PUT", "/workspaces/default/secrets/TOKEN", map[string]any{"value": "hunter2"}}, 200},
			{"deleteWorkspaceSecret", "TOKEN", key, request{"DELETE", "/workspaces/default/secrets/TOKEN", nil}, 200},
			{"deleteOrganizationSecret", "TOKEN", key, request{"DELETE", "/organizations/me/secrets/TOKEN", nil}, 200},
			{"createServer", "fresh", key, request{"POST", "/mcp/servers", with("fresh", "Bearer hunter2")}, 201},
			{"createServer", "fresh-2", mine, request{"POST", "/mcp/servers", map[string]any{"slug": "fresh-2", "url": url + "?api_key=hunter2"}}, 201},
			{"updateServer", own, key, request{"PATCH", "/mcp/servers/" + own, map[string]any{"headers": map[string]any{"X-New": "hunter2"}}}, 200},
			{"updateServer", own, key, request{"PATCH", "/mcp/servers/" + own, map[string]any{"headers": map[string]any{"x-old": nil}}}, 200},
			{"createService", "offer-2", key, request{"POST", "/mcp/services", with("offer-2", "Bearer hunter2")}, 201},
			{"updateService", service, key, request{"PATCH", "/mcp/services/" + service, map[string]any{"headers": map[string]any{"X-New": "hunter2"}}}, 200},
			{"configureService", service, key, request{"POST", "/mcp/services/" + service + "/configure", map[string]any{"config": map[string]any{"region": "eu", "token": "hunter2"}}}, 200},
			{"configureService", service, key, request{"POST", "/mcp/services/" + service + "/configure", map[string]any{"config": map[string]any{"token": "{{secret.TOKEN}}"}}}, 200},
			{"configureService", service, mine, request{"POST", "/mcp/services/" + service + "/configure", map[string]any{"config": map[string]any{"token": "hunter2"}}}, 200},
			{"unconfigureService", service, mine, request{"DELETE", "/mcp/services/" + service + "/configure", nil}, 204},
			{"importServerTokens", own, mine, request{"POST", "/mcp/servers/" + own + "/oauth/import-tokens", tokens}, 200},
			{"deleteServerTokens", own, mine, request{"DELETE", "/mcp/servers/" + own + "/oauth/tokens", nil}, 204},
			{"createWorkspace", "Kept", key, request{"POST", "/workspaces", map[string]any{"name": "Kept", "template": "keeper"}}, 201},
			{"importOrganization", "", key, request{"POST", "/organizations/me/import", map[string]any{"template": recipe("Bought", "hunter2")}}, 201},
			{"importBundle", "", key, request{"POST", "/bundles", map[string]any{"bundle": bundle("Carried", "hunter2")}}, 201},
		} {
			t.Run(c.operation+" "+c.path, func(t *testing.T) {
				before, events := h.state(t), h.events(t)
				waits := ask(c.key, c.request).want(202)
				testkit.Equal(t, []any{waits.data("approval", "action"), waits.data("approval", "target"), waits.data("approval", "gate")}, []any{c.operation, c.target, "secrets"})
				testkit.Equal(t, ask(c.key, c.request).want(202).data("approval", "id"), waits.data("approval", "id"))
				testkit.Equal(t, []any{h.state(t), h.events(t)}, []any{before, events + 1}) // approval.ask alone
				h.as(person, "POST", "/approvals/"+waits.data("approval", "id").(string)+"/decide", map[string]any{"decision": "approve"}).want(200)
				ask(c.key, c.request).want(c.status)
				if h.state(t) == before {
					t.Error("agreed to and done, it has changed nothing")
				}
				testkit.Equal(t, h.as(person, "GET", "/approvals/"+waits.data("approval", "id").(string), nil).want(200).data("approval", "status"), any("used"))
				if !strings.Contains(fmt.Sprint(c.body), "hunter2") {
					return // there is no secret left to set or to forget
				}
				if again := ask(c.key, c.request); again.Status < 400 && again.Status != 202 {
					t.Errorf("an approval was used twice: %d %s", again.Status, again.Raw)
				}
			})
		}
		t.Run("one agreement covers an operation that is about more than one gate", func(t *testing.T) {
			h.as(person, "PUT", "/approval-policy", map[string]any{"gates": []string{"secrets", "destructive"}}).want(200)
			r := request{"POST", "/organizations/me/import", map[string]any{"template": recipe("Both", "hunter2"), "mode": "reconcile"}}
			waits := ask(key, r).want(202)
			testkit.Equal(t, waits.data("approval", "gate"), any("destructive"))
			h.as(person, "POST", "/approvals/"+waits.data("approval", "id").(string)+"/decide", map[string]any{"decision": "approve"}).want(200)
			ask(key, r).want(201)
		})
		t.Run("refused, it is told so, and nothing is made", func(t *testing.T) {
			before := h.state(t)
			r := request{"POST", "/mcp/servers", with("refused", "hunter2")}
			waits := ask(key, r).want(202)
			h.as(person, "POST", "/approvals/"+waits.data("approval", "id").(string)+"/decide", map[string]any{"decision": "reject"}).want(200)
			ask(key, r).refused(403, "AUTH_INSUFFICIENT_SCOPE")
			testkit.Equal(t, h.state(t), before)
		})
		t.Run("neither the approvals nor the trail hold a value", func(t *testing.T) {
			for _, q := range []string{`SELECT action || target || reason || COALESCE(note, '') FROM approvals`, `SELECT action || COALESCE(target_id, '') || details FROM events`} {
				texts := testkit.Must(db.All(t.Context(), s, func(s *string) []any { return []any{s} }, q))(t)
				if len(texts) < 20 {
					t.Errorf("%s: %d rows", q, len(texts))
				}
				for _, text := range texts {
					if strings.Contains(text, "hunter") {
						t.Errorf("%s: %s", q, text)
					}
				}
			}
		})
	})
}

// state sums up everything that holds secrets.
func (h *house) state(t *testing.T) string {
	t.Helper()
	var all []string
	for _, q := range []string{`SELECT organization_id || workspace_id || name || CAST(updated_at AS TEXT) FROM secrets`, `SELECT id || header_names || COALESCE(url, '') || CAST(revision AS TEXT) FROM services`,
		`SELECT service_id || organization_id || user_id || CAST(revision AS TEXT) FROM configurations`, `SELECT server_id || user_id FROM upstream_grants`, `SELECT id FROM servers`, `SELECT id FROM workspaces`, `SELECT id FROM imports WHERE state <> 'planned'`} {
		all = append(all, testkit.Must(db.All(t.Context(), h.Store, func(s *string) []any { return []any{s} }, q+" ORDER BY 1"))(t)...)
	}
	return strings.Join(all, "\n")
}
