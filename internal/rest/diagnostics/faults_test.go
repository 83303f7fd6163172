package diagnostics_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/rest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
	"headgate/internal/testkit/world"
)

// servers are those that fail, each in its way, and one that does not.
type servers struct{ dead, slow, sleepy, protected, bare, asking, unset string }

// failing registers them.
func (h *house) failing() (s servers) {
	hello := `{"result":{"protocolVersion":"2025-11-25","capabilities":%s,"serverInfo":{"name":"h","version":"1"}}}`
	begins := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		_ = json.Unmarshal(text, &m)
		switch {
		case m.Method == "initialize":
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s`, m.ID, fmt.Sprintf(hello, `{"tools":{},"prompts":{},"resources":{}}`)[1:])
		case strings.HasSuffix(m.Method, "/list"), strings.HasSuffix(m.Method, "/call"), strings.HasSuffix(m.Method, "/get"), strings.HasSuffix(m.Method, "/read"):
			<-r.Context().Done()
		case m.ID != nil:
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	h.t.Cleanup(func() { begins.CloseClientConnections(); begins.Close() })
	gone := httptest.NewServer(nil)
	gone.Close()
	h.now = h.now.Add(time.Hour)
	register := func(name, url string, more map[string]any) string {
		body := map[string]any{"name": name, "enabled": true, "transportType": "http", "url": url}
		for k, v := range more {
			body[k] = v
		}
		h.rest()
		return h.as(h.key, "POST", "/api/v1/projects/"+h.project+"/servers", body).want(201).text("id")
	}
	s.dead = register("gone", gone.URL, nil)
	s.slow = register("begins", begins.URL, map[string]any{"timeout": 300})
	s.sleepy = register("again", begins.URL, map[string]any{"timeout": 300}) // one that fails too often is left alone
	s.protected = register("closed", oauthserver.New(h.t).Protect(demo.Handler("1", time.Now)).URL, nil)
	s.bare = register("bare", scripted(h.t, map[string]string{"initialize": fmt.Sprintf(hello, `{}`), "ping": `{"result":{}}`}), nil)
	ask := `{"error":{"code":-32042,"message":"sign in first"}}`
	s.asking = register("asking", scripted(h.t, map[string]string{"initialize": fmt.Sprintf(hello, `{"tools":{},"prompts":{},"resources":{}}`), "ping": `{"result":{}}`,
		"tools/list": `{"result":{"tools":[{"name":"x","inputSchema":{"type":"object"}}]}}`, "prompts/list": `{"result":{"prompts":[{"name":"x"}]}}`,
		"resources/list": `{"result":{"resources":[]}}`, "resources/templates/list": `{"result":{"resourceTemplates":[]}}`, "tools/call": ask, "prompts/get": ask, "resources/read": ask}), nil)
	s.unset = register("unset", gone.URL, map[string]any{"headers": map[string]string{"X-Token": "{{secret.NOT_THERE}}"}})
	return s
}

// TestDocumentedFaults provokes what the walks of all operations cannot: what
// takes a server, a limit or a state of its own.
func TestDocumentedFaults(t *testing.T) {
	h := onSQLite(t)
	s := h.failing()
	lists := []string{"/tools", "/prompts", "/resources"}
	uses := map[string]map[string]any{"/tools/call": {"toolName": "x"}, "/prompts/get": {"promptName": "x"}, "/resources/read": {"uri": "a://b"}}
	person := func() string { return h.Start(h.owner.User, h.owner.Organization.ID).Token }
	every := func(t *testing.T, server string, status int, code string) {
		t.Helper()
		for _, op := range append([]string{"/validate", "/export"}, lists...) {
			if server == s.slow && op == "/validate" {
				continue // it has begun, which is all that is asked
			}
			h.rest()
			h.as(h.key, "POST", h.on(server, op), nil).refused(status, code)
		}
		if server == s.slow {
			server = s.sleepy
		}
		for op, body := range uses {
			h.rest()
			h.as(h.key, "POST", h.on(server, op), body).refused(status, code)
		}
	}
	t.Run("a dead server is 502", func(t *testing.T) { every(t, s.dead, 502, "SERVER_UNREACHABLE") })
	t.Run("a slow server is 504", func(t *testing.T) { every(t, s.slow, 504, "TIMEOUT") })
	t.Run("a protected server is 401 of its own kind", func(t *testing.T) { every(t, s.protected, 401, "OAUTH_REQUIRED") })
	t.Run("a server without its secret is 400", func(t *testing.T) { every(t, s.unset, 400, "VALIDATION_ERROR") })
	t.Run("what a server does not offer is 422", func(t *testing.T) {
		for _, op := range lists {
			h.rest()
			h.as(h.key, "POST", h.on(s.bare, op), nil).refused(422, "FEATURE_NOT_SUPPORTED")
		}
	})
	t.Run("a server that asks back is 422", func(t *testing.T) {
		for op, body := range uses {
			h.rest()
			h.as(h.key, "POST", h.on(s.asking, op), body).refused(422, "FEATURE_NOT_SUPPORTED")
		}
	})
	t.Run("on the Platform API in its words", func(t *testing.T) {
		for _, op := range []string{"/validate", "/export"} {
			for server, want := range map[string]struct {
				status int
				code   string
			}{s.dead: {500, "MCP_SERVICE_ERROR"}, s.protected: {401, "MCP_SERVICE_OAUTH_REQUIRED"}, s.unset: {400, "MCP_SERVICE_UNCONFIGURED"}} {
				a := h.as(person(), "POST", "/v1/mcp/servers/"+server+op, nil)
				if a.Status != want.status || a.text("error", "code") != want.code {
					t.Errorf("%s: %d %s, want %v", op, a.Status, a.Raw, want)
				}
			}
		}
		if a := h.as(person(), "GET", "/v1/mcp/reports?serverId=no-id-at-all", nil); a.Status != 404 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
	t.Run("where a server of this program lives cannot be changed", func(t *testing.T) {
		h.rest()
		h.as(h.key, "PATCH", h.on(h.demo, ""), map[string]any{"url": "https://example.com/mcp"}).refused(422, "FEATURE_NOT_SUPPORTED")
	})
	t.Run("a name that is taken is 409", func(t *testing.T) {
		h.rest()
		h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "First"}).want(201)
		other := h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "Second"}).want(201).text("id")
		h.as(h.key, "PATCH", "/api/v1/projects/"+other, map[string]any{"name": "First"}).refused(409, "CONFLICT")
	})
	t.Run("a paused project takes no calls", func(t *testing.T) {
		by := world.Headgate(h.owner.Organization)
		testkit.Must(h.Workspaces.Pause(t.Context(), by, h.owner.Organization.ID, h.project, ""))(t)
		for op, body := range uses {
			h.rest()
			h.as(h.key, "POST", h.on(h.demo, op), body).refused(409, "CONFLICT")
		}
		testkit.Must(h.Workspaces.Resume(t.Context(), by, h.owner.Organization.ID, h.project))(t)
	})
	t.Run("an organization with all the projects and schedules that it may have gets no more", func(t *testing.T) {
		h.Crowd(h.owner.Organization, 1000)
		h.rest()
		h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "One more"}).refused(409, "CONFLICT")
		testkit.Must(db.Exec(t.Context(), h.Store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
			INSERT INTO diagnosis_schedules (server_id, organization_id, workspace_id, cron, enabled, created_by, created_at, updated_at)
			SELECT 'srv_' || i, $1, $2, '0 5 * * *', false, $3, 0, 0 FROM n`, h.owner.Organization.ID, h.project, h.owner.ID))(t)
		if a := h.as(person(), "PUT", "/v1/mcp/servers/"+s.dead+"/schedule", map[string]any{"cron": "0 5 * * *"}); a.Status != 409 || a.text("error", "code") != "CONFLICT" {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
}

// Where a hundred operations wait for a person, none joins them.
func TestTooManyWait(t *testing.T) {
	h := onSQLite(t)
	home := h.owner.Organization
	server := h.register("own", "http://127.0.0.1:8089/mcp")
	tokens := map[string]any{"serverUrl": "http://127.0.0.1:8089/mcp", "tokens": map[string]any{"access_token": "at-a-token"}}
	path := "/v1/mcp/servers/" + server + "/oauth/"
	h.as(h.owner.Token, "POST", path+"import-tokens", tokens).want(200)
	testkit.Must(h.Approvals.SetPolicy(t.Context(), testkit.Must(h.Identity.Authenticate(t.Context(), h.owner.Token))(t), []approval.Gate{approval.Secrets}))(t)
	_, key := h.Key(home, access.PersonalKey, h.owner.ID)
	h.as(key, "POST", path+"import-tokens", tokens).want(202)
	testkit.Must(db.Exec(t.Context(), h.Store, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
		INSERT INTO approvals (id, organization_id, gate, action, target, hash, asked_by_kind, asked_by, asked_by_name, reason, status, created_at, expires_at)
		SELECT 'apr_' || i, $1, 'secrets', 'x', 'x', $2, 'key', 'x', 'x', '', 'pending', 0, $3 FROM n`, home.ID, []byte{0}, h.now.Add(time.Hour).UnixMilli()))(t)
	other := map[string]any{"serverUrl": "http://127.0.0.1:8089/mcp", "tokens": map[string]any{"access_token": "another"}}
	for _, a := range []*answer{h.as(key, "POST", path+"import-tokens", other), h.as(key, "DELETE", path+"tokens", nil)} {
		if a.Status != 409 || a.text("error", "code") != "CONFLICT" {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
}

// A06 and A15, for every operation.
func TestStrict(t *testing.T) {
	e := newEstate(t)
	for name, d := range map[string]*rest.Door{"the Diagnostics API": e.door, "the key routes": e.web, "the Platform API": e.platform} {
		t.Run(name, func(t *testing.T) {
			h := e.hostile(d)
			t.Run("fields", h.Fields)
			t.Run("paths", h.Paths)
			t.Run("shapes", h.Shapes)
		})
	}
}
