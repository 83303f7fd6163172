package diagnostics_test

import (
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis/report"
	"headgate/internal/jobs"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

// inner is what a success of the Platform API is about.
func (a *answer) inner(path ...any) any { a.t.Helper(); return a.at(append([]any{"data"}, path...)...) }

func TestPlatform(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		table := map[string]string{"initialize": `{"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"h","version":"1"}}}`,
			"ping": `{"result":{}}`, "tools/list": `{"result":{"tools":[{"name":"one","description":"D.","inputSchema":{"type":"object"}}]}}`}
		url := scripted(t, table)
		server := "/v1/mcp/servers/" + h.register("s", url)
		do := func(method, path string, body any) *answer {
			t.Helper()
			return h.as(h.owner.Token, method, path, body)
		}

		any1 := do("POST", "/v1/mcp/doctor", map[string]any{"url": url, "headers": map[string]string{"X-Key": "s3cr3t-value"}}).want(200)
		testkit.Equal(t, any1.inner("report", "status"), any("ready"))
		first := do("POST", server+"/doctor", nil).want(200).inner("report", "id").(string)
		table["tools/list"] = `{"result":{"tools":[]}}`
		second := do("POST", server+"/doctor", nil).want(200).inner("report", "id").(string)
		drift := do("GET", "/v1/mcp/reports/"+second+"/drift?since="+first, nil).want(200)
		testkit.Equal(t, []any{drift.inner("drift", "changed"), drift.inner("drift", "tools", "removed", 0), drift.inner("drift", "broke", 0)}, []any{true, "one", "The tool one is gone."})

		list := do("GET", "/v1/mcp/reports?limit=2", nil).want(200)
		testkit.Equal(t, []any{list.at("meta", "pagination", "total"), list.inner("reports", 0, "id")}, []any{float64(3), second})
		mine := do("GET", "/v1/mcp/reports?kind=doctor&serverId="+strings.TrimPrefix(server, "/v1/mcp/servers/"), nil).want(200)
		testkit.Equal(t, mine.at("meta", "pagination", "total"), any(float64(2)))
		kept := do("GET", "/v1/mcp/reports/"+first, nil).want(200)
		testkit.Equal(t, kept.inner("report", "tools", 0, "name"), any("one"))
		do("GET", "/v1/mcp/reports/"+first+"/drift", nil).want(400)
		do("GET", "/v1/mcp/reports?kind=nonsense", nil).want(400)

		do("PUT", server+"/schedule", map[string]any{"cron": "*/2 * * * *"}).want(400)
		set := do("PUT", server+"/schedule", map[string]any{"cron": "0 6 * * 1-5"}).want(200)
		testkit.Equal(t, set.inner("schedule", "enabled"), any(true))
		testkit.Equal(t, len(do("GET", "/v1/mcp/schedules", nil).want(200).inner("schedules").([]any)), 1)
		off := do("PUT", server+"/schedule", map[string]any{"cron": "0 6 * * 1-5", "enabled": false}).want(200)
		testkit.Equal(t, []any{off.inner("schedule", "enabled"), off.inner("schedule", "nextAt")}, []any{false, nil})
		do("DELETE", server+"/schedule", nil).want(204)
		do("GET", server+"/schedule", nil).want(404)

		for _, bad := range []string{"file:///etc/passwd", "stdio", "http://169.254.169.254/", "http://u:p@example.com/"} {
			do("POST", "/v1/mcp/doctor", map[string]any{"url": bad}).want(400)
		}
	})
}

// What goes beyond looking takes a right of its own.
func TestDoctorBeyondLooking(t *testing.T) {
	h := onSQLite(t)
	upstream := scripted(t, map[string]string{"initialize": `{"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"h","version":"1"}}}`,
		"tools/list": `{"result":{"tools":[{"name":"one","inputSchema":{"type":"object"}}]}}`, "tools/call": `{"result":{"content":[]}}`})
	server := "/v1/mcp/servers/" + h.register("s", upstream) + "/doctor"
	further := func(a *answer, id string) any {
		for _, c := range a.inner("report", "furtherChecks").([]any) {
			if c := c.(map[string]any); c["id"] == id {
				return c["status"]
			}
		}
		return nil
	}
	call := map[string]any{"url": upstream, "call": map[string]any{"toolName": "one", "parameters": map[string]any{"a": 1}}}
	testkit.Equal(t, further(h.as(h.owner.Token, "POST", "/v1/mcp/doctor", call).want(200), "call"), any("ok"))
	testkit.Equal(t, further(h.as(h.owner.Token, "POST", server, map[string]any{"register": true}).want(200), "registration"), any("skipped"))
	plain := h.as(h.owner.Token, "POST", server, nil).want(200)
	testkit.Equal(t, []any{further(plain, "call"), further(plain, "registration")}, []any{nil, nil})
	h.as(h.owner.Token, "POST", server, map[string]any{"call": map[string]any{"toolName": "one"}}).want(400) // calls of a registered server are metered

	_, reads := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID, access.MCPRead)
	h.as(reads, "POST", server, nil).want(200)
	h.as(reads, "POST", server, map[string]any{"register": true}).want(403)
	_, administers := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID, access.MCPRead, access.MCPAdmin)
	h.as(administers, "POST", "/v1/mcp/doctor", map[string]any{"url": upstream}).want(200)
	h.as(administers, "POST", "/v1/mcp/doctor", call).want(403)
}

// A schedule's run uses its author's tokens while the author may diagnose.
func TestScheduleUsesItsAuthorsTokens(t *testing.T) {
	h := onSQLite(t)
	h.diagnosis.RunAs = diagnostics.Author(h.Tenancy)
	as := oauthserver.New(t)
	at := as.Protect(demo.Handler("1", time.Now))
	server := h.register("protected", at.URL)
	dev := h.Member(h.owner.Organization, "dev", access.Developer)
	token, _ := as.Grant(at.URL)
	h.as(dev.Token, "POST", "/v1/mcp/servers/"+server+"/oauth/import-tokens", map[string]any{"serverUrl": at.URL, "tokens": map[string]any{"access_token": token}}).want(200)
	h.as(dev.Token, "PUT", "/v1/mcp/servers/"+server+"/schedule", map[string]any{"cron": "*/30 * * * *"}).want(200)
	runner := jobs.New(h.Store, jobs.Options{Now: h.Now})
	h.diagnosis.Register(runner)
	status := func() report.Status {
		t.Helper()
		h.now = h.now.Add(31 * time.Minute)
		testkit.Must(runner.Drain(t.Context()))(t)
		owner := testkit.Must(h.Identity.Authenticate(t.Context(), h.Start(h.owner.User, h.owner.Organization.ID).Token))(t)
		list, _, err := h.diagnosis.Reports(t.Context(), owner, server, "doctor", 1, 0)
		testkit.Must0(t, err)
		return list[0].Status
	}
	testkit.Equal(t, status(), report.Ready)
	owner := testkit.Must(h.Identity.Authenticate(t.Context(), h.Start(h.owner.User, h.owner.Organization.ID).Token))(t)
	testkit.Must(h.Tenancy.SetRole(t.Context(), owner, h.owner.Organization.ID, dev.ID, access.Member))(t)
	testkit.Equal(t, status(), report.OAuthRequired) // a right that is lost is lost by the schedule too
}
