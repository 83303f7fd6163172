package diagnostics_test

import (
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

func TestImportTokens(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		as := oauthserver.New(t)
		at := as.Protect(demo.Handler("1", time.Now))
		server := h.register("protected", at.URL)
		token, refresh := as.Grant(at.URL)
		body := map[string]any{"serverUrl": at.URL, "clientInformation": map[string]any{"clientId": "client", "clientSecret": "secret"},
			"tokens": map[string]any{"access_token": token, "refresh_token": refresh, "expires_in": 3600, "token_type": "Bearer", "id_token": "x.y.z"}}
		h.as(h.key, "POST", h.on(server, "/tools"), nil).refused(401, "OAUTH_REQUIRED")
		a := h.as(h.key, "POST", h.on(server, "/oauth/import-tokens"), body).want(200)
		testkit.Equal(t, a.at("imported"), any(true))
		if a.at("expiresAt") == nil || strings.Contains(a.Raw, token) {
			t.Errorf("%s", a.Raw)
		}
		h.rest()
		h.as(h.key, "POST", h.on(server, "/validate"), nil).want(200)
		testkit.Equal(t, h.as(h.key, "POST", h.on(server, "/doctor"), nil).want(200).at("status"), any("ready"))
		testkit.Equal(t, h.as(h.key, "POST", h.on(server, "/check-oauth"), nil).want(200).at("requiresAuthorization"), any(false))
		h.as(h.key, "POST", h.on(server, "/tools/call"), map[string]any{"toolName": "now"}).want(200)

		// Another person of the same organization has none of it.
		other := h.diagnosticsKey(h.owner.Organization, h.Member(h.owner.Organization, "other", access.Developer).ID)
		h.as(other, "POST", h.on(server, "/tools"), nil).refused(401, "OAUTH_REQUIRED")
		h.as(other, "GET", h.on(server, "/oauth/tokens"), nil).refused(404, "NOT_FOUND")

		// When the access token has ended, calls go on with a renewed one.
		as.Revoke()
		h.now = h.now.Add(2 * time.Hour)
		h.as(h.key, "POST", h.on(server, "/tools/call"), map[string]any{"toolName": "now"}).want(200)
		testkit.Equal(t, as.Refreshes(), 1)
		seen := at.Seen()
		if seen[len(seen)-1] == token {
			t.Error("the old token was used")
		}
		shown := h.as(h.key, "GET", h.on(server, "/oauth/tokens"), nil).want(200)
		for _, secret := range []string{token, refresh, seen[len(seen)-1], "secret"} {
			if strings.Contains(shown.Raw, secret) {
				t.Errorf("%s is read back: %s", secret, shown.Raw)
			}
		}
		h.as(h.key, "DELETE", h.on(server, "/oauth/tokens"), nil).want(204)
		h.as(h.key, "POST", h.on(server, "/validate"), nil).refused(401, "OAUTH_REQUIRED")
	})
}

func TestImportTokensRefuses(t *testing.T) {
	h := onSQLite(t)
	server := h.register("s", "https://mcp.example.com/mcp")
	tokens := map[string]any{"access_token": "a-secret-token"}
	for name, body := range map[string]map[string]any{
		"another server's URL": {"serverUrl": "https://evil.example.com/mcp", "tokens": tokens},
		"no tokens":            {"serverUrl": "https://mcp.example.com/mcp"},
		"an unknown field":     {"serverUrl": "https://mcp.example.com/mcp", "tokens": tokens, "serverId": "x"},
		"an unknown token":     {"serverUrl": "https://mcp.example.com/mcp", "tokens": map[string]any{"access_token": "a-secret-token", "more": 1}},
		"a header in a token":  {"serverUrl": "https://mcp.example.com/mcp", "tokens": map[string]any{"access_token": "a-secret-token\r\nX: y"}},
	} {
		t.Run(name, func(t *testing.T) {
			h.rest()
			a := h.as(h.key, "POST", h.on(server, "/oauth/import-tokens"), body).refused(400, "VALIDATION_ERROR")
			if strings.Contains(a.Raw, "a-secret-token") {
				t.Errorf("the token comes back: %s", a.Raw)
			}
		})
	}
}

// This door cannot ask a person (its contract has no such answer), so what the
// organization's policy holds back is refused to keys here, and says where to ask.
func TestSecretsAreRefusedWhereTheyWait(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	const url = "http://127.0.0.1:8089/mcp"
	server := h.register("own", url)
	testkit.Must(h.Approvals.SetPolicy(t.Context(), testkit.Must(h.Identity.Authenticate(t.Context(), h.owner.Token))(t), []approval.Gate{approval.Secrets}))(t)
	with := func(name string, headers any) map[string]any {
		return map[string]any{"name": name, "enabled": true, "transportType": "http", "url": url, "headers": headers}
	}
	servers := "/api/v1/projects/" + h.project + "/servers"
	secret := map[string]any{"X-Key": "hunter2"}
	tokens := map[string]any{"serverUrl": url, "tokens": map[string]any{"access_token": "hunter2"}}
	for _, c := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"POST", servers, with("new", secret), 201},
		{"PATCH", h.on(server, ""), map[string]any{"headers": secret}, 200},
		{"PATCH", h.on(server, ""), map[string]any{"headers": map[string]any{"x-key": nil}}, 200},
		{"POST", h.on(server, "/oauth/import-tokens"), tokens, 200},
		{"DELETE", h.on(server, "/oauth/tokens"), nil, 204},
	} {
		h.rest()
		if c.method == "PATCH" && c.body.(map[string]any)["headers"].(map[string]any)["X-Key"] == nil {
			h.as(h.owner.Token, "PATCH", h.on(server, ""), map[string]any{"headers": secret}).want(200)
		}
		if a := h.as(h.key, c.method, c.path, c.body).refused(403, "FORBIDDEN"); !strings.Contains(a.Raw, "Platform API") {
			t.Errorf("%s %s does not say where to ask: %s", c.method, c.path, a.Raw)
		}
		h.as(h.owner.Token, c.method, c.path, c.body).want(c.status) // a person is not held back
	}
	h.rest()
	h.as(h.key, "POST", servers, with("plain", map[string]any{"X-Key": "{{secret.KEY}}"})).want(201)
}

func TestRemovalsAreRefusedWhereTheyWait(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		server := h.on(h.register("own", "http://127.0.0.1:8089/mcp"), "")
		project := "/api/v1/projects/" + h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "Own"}).want(201).text("id")
		person := testkit.Must(h.Identity.Authenticate(t.Context(), h.owner.Token))(t)
		testkit.Must(h.Approvals.SetPolicy(t.Context(), person, []approval.Gate{approval.Destructive}))(t)
		for _, path := range []string{server, project} {
			h.rest()
			if a := h.as(h.key, "DELETE", path, nil).refused(403, "FORBIDDEN"); !strings.Contains(a.Raw, "Platform API") {
				t.Errorf("DELETE %s does not say where to ask: %s", path, a.Raw)
			}
			h.as(h.key, "GET", path, nil).want(200)
			h.as(h.owner.Token, "DELETE", path, nil).want(200) // a person is not held back
			h.as(h.key, "DELETE", path, nil).refused(404, "NOT_FOUND")
		}
		h.rest()
		other := h.on(h.register("other", "http://127.0.0.1:8089/mcp"), "")
		h.as(h.key, "PATCH", other, map[string]any{"name": "Renamed"}).want(200)
		testkit.Must(h.Approvals.SetPolicy(t.Context(), person, []approval.Gate{approval.Keys}))(t)
		h.as(h.key, "DELETE", other, nil).want(200)
	})
}
