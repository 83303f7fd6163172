package platform_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

func (h *house) echo(credential, text string, headers ...string) *answer {
	h.t.Helper()
	return h.as(credential, "POST", "/mcp/execute/tool", tool(h.demo, "echo", map[string]any{"text": text}), headers...).want(200)
}

func TestRequestLogs(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		dev := h.Member(h.owner.Organization, "dev", access.Developer)
		for range 3 {
			h.echo(h.owner.Token, "x", "User-Agent: cli/1")
		}
		mine := h.echo(dev.Token, "y")
		h.as(dev.Token, "POST", "/mcp/execute/tool", tool(h.demo, "now", map[string]any{"zone": "Nowhere"})).refused(500, "MCP_SERVICE_ERROR")
		logs := func(credential, query string) *answer { return h.as(credential, "GET", "/logs/requests"+query, nil) }
		count := func(t *testing.T, credential, query string, want float64) *answer {
			t.Helper()
			a := logs(credential, query).want(200)
			if got := a.meta("pagination", "total"); got != any(want) {
				t.Errorf("%s: %v lines, want %v", query, got, want)
			}
			return a
		}
		t.Run("a line has what the contract names", func(t *testing.T) {
			a := count(t, h.owner.Token, "", 5).has("id serviceId serviceName operation status statusCode durationMs createdAt ipAddress userAgent", "logs")
			testkit.Equal(t, a.data("logs", "serviceName"), any("demo"))
			oldest := logs(h.owner.Token, "?page=5&limit=1").want(200)
			testkit.Equal(t, oldest.data("logs", "userAgent"), any("cli/1"))
			testkit.Equal(t, oldest.data("logs", "operation"), any("echo"))
			testkit.Equal(t, oldest.data("logs", "ipAddress"), any("192.0.2.9"))
			testkit.Equal(t, oldest.meta("pagination"), any(map[string]any{"total": 5.0, "page": 5.0, "limit": 1.0, "pages": 5.0}))
		})
		t.Run("filters select", func(t *testing.T) {
			day := time.Now().UTC().Format(time.DateOnly)
			for query, want := range map[string]float64{
				"?status=success": 4, "?status=error": 1, "?operation=echo": 4, "?serviceId=" + h.demo: 5, "?serviceId=svc_x": 0, "?userId=" + dev.ID: 2, "?door=platform": 5, "?door=gateway": 0,
				"?method=tools/call": 5, "?errorCode=tool_error": 1, "?startDate=" + day: 5, "?endDate=" + day: 5, "?endDate=2020-01-01": 0, "?startDate=2020-01-01T00:00:00Z&endDate=2020-01-02": 0,
				"?credentialId=" + h.principal(dev.Token).ID: 2,
			} {
				count(t, h.owner.Token, query, want)
			}
			for _, query := range []string{"?status=maybe", "?startDate=yesterday", "?startDate=2020-01-02&endDate=2020-01-01", "?limit=101", "?limit=0", "?page=0", "?wrong=1", "?cursor=zzz"} {
				logs(h.owner.Token, query).refused(400, "VALIDATION_ERROR")
			}
		})
		t.Run("cursors walk the whole list once", func(t *testing.T) {
			seen := map[string]bool{}
			query := "?limit=2"
			for range 10 {
				a := count(t, h.owner.Token, query, 5)
				for _, l := range a.data("logs").([]any) {
					seen[l.(map[string]any)["id"].(string)] = true
				}
				next, more := a.meta("nextCursor").(string)
				if !more {
					break
				}
				query = "?limit=2&cursor=" + next
			}
			if len(seen) != 5 {
				t.Errorf("%d lines", len(seen))
			}
		})
		t.Run("who may not see everybody's sees one's own, also by id", func(t *testing.T) {
			count(t, dev.Token, "", 2)
			count(t, dev.Token, "?userId="+h.owner.ID, 0)
			other := logs(h.owner.Token, "?userId="+h.owner.ID).want(200).data("logs", "id").(string)
			logs(dev.Token, "/"+other).refused(404, "RESOURCE_NOT_FOUND")
			logs(dev.Token, "/"+mine.meta("requestId").(string)).want(200)
			stranger := h.Tenant("stranger")
			logs(stranger.Token, "/"+other).refused(404, "RESOURCE_NOT_FOUND")
			count(t, stranger.Token, "", 0)
		})
		t.Run("what is kept of bodies is the organization's policy", func(t *testing.T) {
			h.as(h.owner.Token, "PATCH", "/organizations/me", map[string]any{"bodyPolicy": "metadata"}).want(200)
			a := h.echo(h.owner.Token, "canary")
			h.Bodies.Flush(t.Context())
			l := logs(h.owner.Token, "/"+a.meta("requestId").(string)).want(200)
			if strings.Contains(l.Raw, "canary") || l.data("log", "request", "toolName") != "echo" {
				t.Error(l.Raw)
			}
		})
	})
}

func TestExport(t *testing.T) {
	h := onSQLite(t)
	h.echo(h.owner.Token, "x", `User-Agent: =HYPERLINK("http://evil","x")`)
	h.echo(h.owner.Token, "x", "User-Agent: -2+3\t")
	t.Run("CSV holds every line and no formula", func(t *testing.T) {
		a := h.as(h.owner.Token, "GET", "/logs/requests/export.csv", nil).want(200)
		if ct := a.Header.Get("Content-Type"); ct != "text/csv; charset=utf-8" || !strings.Contains(a.Header.Get("Content-Disposition"), "requests.csv") {
			t.Errorf("%v", a.Header)
		}
		rows := testkit.Must(csv.NewReader(strings.NewReader(a.Raw)).ReadAll())(t)
		if len(rows) != 3 || rows[0][0] != "id" {
			t.Fatalf("%v", rows)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("a formula: %q", cell)
				}
			}
		}
		testkit.Equal(t, rows[2][19], `'=HYPERLINK("http://evil","x")`)
	})
	t.Run("JSON is one document in the envelope", func(t *testing.T) {
		a := h.as(h.owner.Token, "GET", "/logs/requests/export.json?limit=1", nil).want(200)
		testkit.Equal(t, string(a.Body.Meta), `{"count":1,"more":true}`)
		a.has("id serviceName operation", "logs")
	})
	t.Run("a bad period is refused before anything is sent", func(t *testing.T) {
		h.as(h.owner.Token, "GET", "/logs/requests/export.csv?startDate=x", nil).refused(400, "VALIDATION_ERROR")
	})
}

func TestStream(t *testing.T) {
	h := onSQLite(t)
	_, key := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
	server := httptest.NewServer(h.door)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	open := func(t *testing.T, query string) *bufio.Scanner {
		t.Helper()
		r := testkit.Must(http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/logs/requests/stream"+query, nil))(t)
		r.Header.Set("Authorization", "Bearer "+key)
		resp := testkit.Must(http.DefaultClient.Do(r))(t)
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		in := bufio.NewScanner(resp.Body)
		in.Scan() // the comment that says it has begun
		return in
	}
	next := func(t *testing.T, in *bufio.Scanner) map[string]any {
		t.Helper()
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				var row map[string]any
				testkit.Must0(t, json.Unmarshal([]byte(data), &row))
				return row
			}
		}
		t.Fatal("the stream has ended")
		return nil
	}
	all, errs := open(t, ""), open(t, "?status=error")
	h.echo(h.owner.Token, "x")
	t.Run("calls come as they end, narrowed by the filters", func(t *testing.T) {
		testkit.Equal(t, next(t, all)["operation"], any("echo"))
		h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(h.demo, "now", map[string]any{"zone": "Nowhere"})).refused(500, "MCP_SERVICE_ERROR")
		testkit.Equal(t, next(t, errs)["errorCode"], any("tool_error"))
	})
	t.Run("it ends when its key is revoked", func(t *testing.T) {
		h.as(h.owner.Token, "DELETE", "/users/me/api-keys/"+h.principal(key).ID, nil).want(204)
		for errs.Scan() {
		}
		if ctx.Err() != nil {
			t.Error("it went on")
		}
	})
}

func TestTrails(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: builtins()})
	dev := h.Member(h.owner.Organization, "dev", access.Developer)
	h.as(h.owner.Token, "POST", "/users/me/api-keys", map[string]any{"name": "ci", "scopes": []string{"mcp:read"}}).want(201)
	t.Run("changes are in the audit log, for those who may see it", func(t *testing.T) {
		a := h.as(h.owner.Token, "GET", "/logs/audit?action=key.create", nil).want(200).has("id action actorKind actorId targetType targetId details ipAddress requestId createdAt", "events")
		testkit.Equal(t, a.data("events", "actorName"), any(h.owner.Email))
		testkit.Equal(t, a.meta("pagination", "total"), any(1.0))
		h.as(dev.Token, "GET", "/logs/audit", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
	t.Run("failures are in the error log", func(t *testing.T) {
		service := h.Builtin(h.owner.Organization, "broken", "broken").Service.ID
		failed := h.as(h.owner.Token, "POST", "/mcp/execute/tool", tool(service, "x", nil))
		h.Errors.Flush(t.Context())
		a := h.as(h.owner.Token, "GET", "/logs/errors?requestId="+failed.Header.Get("X-Request-Id"), nil).want(200).has("id requestId code message door operation severity createdAt", "errors")
		testkit.Equal(t, a.data("errors", "operation"), any("executeTool"))
		testkit.Equal(t, a.data("errors", "severity"), any("warning"))
		h.as(dev.Token, "GET", "/logs/errors", nil).refused(403, "AUTH_INSUFFICIENT_SCOPE")
	})
}

func TestUsage(t *testing.T) {
	h := onSQLite(t)
	for range 3 {
		h.echo(h.owner.Token, "x")
	}
	now := time.Now().UTC()
	for by, period := range map[string]string{"day": now.Format(time.DateOnly), "month": now.Format("2006-01")} {
		a := h.as(h.owner.Token, "GET", "/usage?by="+by, nil).want(200)
		testkit.Equal(t, a.data("usage"), any([]any{map[string]any{"serviceId": h.demo, "serviceName": "demo", "period": period, "calls": 3.0, "credits": 3.0}}))
		testkit.Equal(t, a.data("totals"), any(map[string]any{"calls": 3.0, "credits": 3.0}))
	}
	testkit.Equal(t, h.as(h.owner.Token, "GET", "/usage", nil).want(200).data("today", "requests"), any(3.0))
	h.Plan(h.owner.Organization, tenancy.Plan{Users: 5, Services: 5, RequestsPerDay: 10, RatePerMinute: 6000, Burst: 100})
	testkit.Equal(t, h.as(h.owner.Token, "GET", "/usage", nil).want(200).data("today", "limit"), any(10.0))
	h.as(h.owner.Token, "GET", "/usage?startDate=2020-01-01&endDate=2022-01-01", nil).refused(400, "VALIDATION_ERROR")
	t.Run("the balance and its ledger say the same", func(t *testing.T) {
		a := h.as(h.owner.Token, "GET", "/credits", nil).want(200)
		testkit.Equal(t, a.data("account", "balance"), any(47.0))
		e := h.as(h.owner.Token, "GET", "/credits/entries?limit=2", nil).want(200)
		testkit.Equal(t, e.data("entries", "balanceAfter"), any(47.0))
		testkit.Equal(t, e.meta("pagination", "total"), any(4.0))
		h.as(h.owner.Token, "GET", "/logs/requests/"+e.text("entries", "logId"), nil).want(200)
	})
}
