package diagnostics_test

import (
	"fmt"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/testkit"
)

func TestProjects(t *testing.T) {
	h := onSQLite(t)
	made := h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "CI", "description": "For CI."}).want(201).has("id name slug description organizationId isDefault status createdAt updatedAt")
	p := "/api/v1/projects/" + made.text("id")
	testkit.Equal(t, made.text("organizationId"), h.owner.Organization.ID) // filled in with the key's own
	testkit.Equal(t, h.as(h.key, "GET", p, nil).want(200).text("name"), "CI")
	testkit.Equal(t, len(h.as(h.key, "GET", "/api/v1/projects", nil).want(200).at("items").([]any)), 2)
	h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": "Mine", "organizationId": h.owner.Organization.ID}).want(201)
	h.rest()
	testkit.Equal(t, h.as(h.key, "PATCH", p, map[string]any{"name": "CD"}).want(200).text("name"), "CD")
	h.as(h.key, "PATCH", p, map[string]any{}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "PATCH", p, map[string]any{"organizationId": "x"}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "PATCH", p, map[string]any{"status": "paused"}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "POST", "/api/v1/projects", map[string]any{"name": " "}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "DELETE", p, `{"force":true}`).refused(400, "VALIDATION_ERROR")
	testkit.Equal(t, h.as(h.key, "DELETE", p, nil).want(200).Body, map[string]any{"id": made.text("id"), "deleted": true})
	h.rest()
	h.as(h.key, "GET", p, nil).refused(404, "NOT_FOUND")
	h.as(h.key, "DELETE", "/api/v1/projects/"+h.project, nil).refused(409, "CONFLICT") // the default one stays
	member := h.diagnosticsKey(h.owner.Organization, h.Member(h.owner.Organization, "dev", access.Developer).ID)
	h.as(member, "POST", "/api/v1/projects", map[string]any{"name": "x"}).refused(403, "FORBIDDEN")
}

func TestServers(t *testing.T) {
	h := onSQLite(t)
	all := "/api/v1/projects/" + h.project + "/servers"
	body := func(name string) map[string]any {
		return map[string]any{"name": name, "enabled": false, "transportType": "http", "url": "https://mcp.example.com/mcp?key=1", "timeout": 5000,
			"headers": map[string]string{"X-Key": "s3cr3t-header-value"}}
	}
	a := h.as(h.key, "POST", all, body("My Server")).want(201).has("id projectId name slug enabled transportType url hasHeaders timeout createdAt updatedAt")
	testkit.Equal(t, []any{a.at("slug"), a.at("enabled"), a.at("hasHeaders"), a.at("timeout"), a.at("projectId")}, []any{"my-server", false, true, float64(5000), h.project})
	one := h.on(a.text("id"), "")
	h.as(h.key, "POST", all, body("My Server")).refused(409, "CONFLICT")
	testkit.Equal(t, h.as(h.key, "POST", all, body("my.server")).want(201).text("slug"), "my-server-2")
	h.rest()
	for name, change := range map[string]func(map[string]any){
		"an unknown key":        func(m map[string]any) { m["env"] = map[string]string{} },
		"a scope id":            func(m map[string]any) { m["projectId"] = h.project },
		"another scope id":      func(m map[string]any) { m["workspaceId"] = "x" },
		"no name":               func(m map[string]any) { delete(m, "name") },
		"no enabled":            func(m map[string]any) { delete(m, "enabled") },
		"no transport":          func(m map[string]any) { delete(m, "transportType") },
		"a file URL":            func(m map[string]any) { m["url"] = "file:///etc/passwd" },
		"a closed address":      func(m map[string]any) { m["url"] = "http://169.254.169.254/latest" },
		"a forbidden header":    func(m map[string]any) { m["headers"] = map[string]string{"Host": "x"} },
		"a header of two lines": func(m map[string]any) { m["headers"] = map[string]string{"X-A": "a\r\nX-B: b"} },
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			h.rest()
			b := body(fmt.Sprint("refused ", name))
			change(b)
			r := h.as(h.key, "POST", all, b).refused(400, "VALIDATION_ERROR")
			if strings.Contains(r.Raw, "s3cr3t") {
				t.Errorf("a rejected value comes back: %s", r.Raw)
			}
		})
	}
	h.rest()
	stdio := body("Local")
	stdio["transportType"] = "stdio"
	h.as(h.key, "POST", all, stdio).refused(403, "FORBIDDEN") // programs come from the operator's catalog
	testkit.Equal(t, h.as(h.key, "PATCH", one, map[string]any{"name": "Renamed", "enabled": true, "headers": map[string]any{"X-Key": nil}}).want(200).at("hasHeaders"), any(false))
	got := h.as(h.key, "GET", one, nil).want(200)
	testkit.Equal(t, []any{got.at("name"), got.at("enabled"), got.at("slug")}, []any{"Renamed", true, "my-server"})
	h.as(h.key, "PATCH", one, map[string]any{}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "PATCH", one, map[string]any{"headers": map[string]any{"X-Key": 1}}).refused(400, "VALIDATION_ERROR")
	h.as(h.key, "PATCH", one, map[string]any{"name": "my.server"}).refused(409, "CONFLICT")
	h.rest()
	list := h.as(h.key, "GET", all, nil).want(200)
	if len(list.at("items").([]any)) != 3 || strings.Contains(list.Raw, "s3cr3t") {
		t.Errorf("%s", list.Raw)
	}
	h.as(h.key, "DELETE", one, `{"x":1}`).refused(400, "VALIDATION_ERROR")
	testkit.Equal(t, h.as(h.key, "DELETE", one, nil).want(200).at("deleted"), any(true))
	h.as(h.key, "GET", one, nil).refused(404, "NOT_FOUND")
	t.Run("where a server lives that is somebody else's offer is not shown", func(t *testing.T) {
		testkit.Equal(t, h.as(h.key, "GET", h.on(h.demo, ""), nil).want(200).at("url"), nil)
	})
	t.Run("a member may call but not register, and nothing is contacted", func(t *testing.T) {
		member := h.diagnosticsKey(h.owner.Organization, h.Member(h.owner.Organization, "member", access.Member).ID)
		h.as(member, "POST", all, body("theirs")).refused(403, "FORBIDDEN")
		h.as(member, "POST", h.on(h.demo, "/doctor"), nil).refused(403, "FORBIDDEN")
		h.as(member, "POST", h.on(h.demo, "/tools/call"), map[string]any{"toolName": "now"}).want(200)
	})
}
