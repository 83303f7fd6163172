package template_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/template"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

func code(err error) string { return fault.CodeOf(err) }

const team = `{"name": "Team", "required_env": ["ORG_KEY"], "workspaces": [
	{"name": "Lead", "role": "lead", "template": "blank", "system_prompt": "Lead.", "budget_limits": {"daily": 500, "hourly": null}, "llm_billing_mode": "byok", "files": {"a/b.md": "x"},
	 "servers": [{"slug": "api", "url": "https://mcp.example.com/mcp", "headers": {"Authorization": "Bearer {{secret.API_TOKEN}}"}, "off": true, "timeout_ms": 5000},
	             {"slug": "demo", "transport": "builtin", "url": "demo"}],
	 "sub_workspaces": [{"name": "Research", "tier": 1, "required_env": [["A", "B"]]}, {"name": "Build", "runtime": "external", "skills": [{"name": "s", "files": {"SKILL.md": "y"}}]}]}]}`

func (h *house) importing(t *testing.T, by *access.Principal, recipe string, mode template.Mode) (template.Result, error) {
	t.Helper()
	return h.ImportOrganization(t.Context(), by, template.Request{Recipe: []byte(recipe), Mode: mode})
}

func states(res template.Result) map[string]string {
	all := map[string]string{}
	for _, st := range res.Steps {
		all[st.Name] = st.State
	}
	return all
}

func TestOrganization(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by := h.organization()
		ctx := t.Context()
		t.Run("missing secrets are listed, and nothing is made", func(t *testing.T) {
			_, err := h.importing(t, by, team, "")
			testkit.Fault(t, err, "template.missing_env")
			f := fault.Of(err)
			testkit.Equal(t, []any{f.Details["missing_env"], f.Details["missing_workspace_env"]}, []any{[]string{"ORG_KEY"}, map[string][]string{"Research": {"A or B"}}})
			testkit.Equal(t, len(h.names(by)), 1)
			h.secret(by, "ORG_KEY")
			h.secret(by, "B")
		})
		t.Run("a wrong recipe too, with its place", func(t *testing.T) {
			for _, recipe := range []string{`{`, `{"name":"X"}`, `{"name":"X","workspaces":[{"name":"A"},{"name":"A"}]}`, `{"name":"X","workspaces":[{"name":"A","template":"nobody"}]}`,
				`{"name":"X","workspaces":[{"name":"A","servers":[{"slug":"w","url":"https://x.example.com"}]}]}`, `{"name":"X","workspaces":[{"name":"A","files":{"../b":""}}]}`, `{"name":"X","workspaces":[{"name":"A","owner":"me"}]}`} {
				if _, err := h.importing(t, by, recipe, ""); code(err) == "" || code(err) == "internal" {
					t.Errorf("%s: %v", recipe, err)
				}
			}
			testkit.Equal(t, len(h.names(by)), 1)
		})
		t.Run("all of it is made, in its tree", func(t *testing.T) {
			res := testkit.Must(h.importing(t, by, team, ""))(t)
			testkit.Equal(t, []any{res.State, states(res)}, []any{template.Done, map[string]string{"Lead": "created", "Research": "created", "Build": "created"}})
			testkit.Equal(t, h.names(by), map[string]string{"Default": "", "Lead": "", "Research": "Lead", "Build": "Lead"})
			read := testkit.Must(h.GetImport(ctx, by.Organization, res.ID))(t)
			testkit.Equal(t, []any{read.State, read.Steps}, []any{res.State, res.Steps})
			h.settle()
			for _, name := range []string{"lead", "research", "build"} {
				testkit.Equal(t, testkit.Must(h.workspaces.Get(ctx, by.Organization, name))(t).Status, workspace.Online)
			}
			_, err := h.GetImport(ctx, h.organization().Organization, res.ID)
			testkit.Fault(t, err, "template.no_import")
		})
		t.Run("again it changes what is there and adds nothing twice", func(t *testing.T) {
			res := testkit.Must(h.importing(t, by, team, template.Merge))(t)
			testkit.Equal(t, states(res), map[string]string{"Lead": "updated", "Research": "updated", "Build": "updated"})
			testkit.Equal(t, len(testkit.Must(h.catalog.ListServers(ctx, by, "lead"))(t)), 2)
		})
		t.Run("exported and made elsewhere it is equal", func(t *testing.T) {
			first := testkit.Must(h.ExportOrganization(ctx, by, "Team"))(t)
			text := testkit.Must(json.Marshal(first))(t)
			other := h.organization()
			_, err := h.importing(t, other, string(text), "")
			testkit.Fault(t, err, "template.missing_env")
			h.secret(other, "API_TOKEN")
			h.secret(other, "A")
			res := testkit.Must(h.importing(t, other, string(text), ""))(t)
			testkit.Equal(t, res.State, template.Done)
			testkit.Equal(t, testkit.Must(h.ExportOrganization(ctx, other, "Team"))(t), first)
		})
		t.Run("reconcile removes what the recipe does not name any more", func(t *testing.T) {
			smaller := `{"name": "Team", "workspaces": [{"name": "Lead"}, {"name": "Build"}]}`
			res := testkit.Must(h.importing(t, by, smaller, template.Merge))(t)
			testkit.Equal(t, res.Removed, 0)
			res = testkit.Must(h.importing(t, by, smaller, template.Reconcile))(t)
			testkit.Equal(t, []any{res.Removed, len(res.ReconcileErrors), states(res)["Research"]}, []any{1, 0, "removed"})
			testkit.Equal(t, slices.Sorted(maps.Keys(h.names(by))), []string{"Build", "Default", "Lead"})
		})
		t.Run("each workspace whole or not at all: what failed is named, what is below it skipped", func(t *testing.T) {
			other := h.organization()
			h.room = 1
			recipe := `{"name": "P", "workspaces": [{"name": "One", "servers": [{"slug": "a", "url": "https://mcp.example.com/"}]},
				{"name": "Two", "servers": [{"slug": "a", "url": "https://mcp.example.com/"}], "sub_workspaces": [{"name": "Three"}]}, {"name": "Four"}]}`
			res := testkit.Must(h.importing(t, other, recipe, template.Reconcile))(t)
			h.room = -1
			testkit.Equal(t, []any{res.State, states(res)}, []any{template.Partly, map[string]string{"One": "created", "Two": "failed", "Three": "skipped", "Four": "created"}})
			testkit.Equal(t, res.Steps[1].Code, "catalog.too_many_services")
			testkit.Equal(t, slices.Sorted(maps.Keys(h.names(other))), []string{"Default", "Four", "One"})
		})
		t.Run("a plan makes nothing, and applies once to exactly what was planned", func(t *testing.T) {
			other := h.organization()
			r := template.Request{Template: "starter", DryRun: true}
			plan := testkit.Must(h.ImportOrganization(ctx, other, r))(t)
			testkit.Equal(t, []any{plan.State, states(plan)}, []any{template.Planned, map[string]string{"Team lead": "created", "Research": "created", "Build": "created"}})
			testkit.Equal(t, len(h.names(other)), 1)
			_, err := h.ImportOrganization(ctx, other, template.Request{Recipe: []byte(`{"name":"X","workspaces":[{"name":"A"}]}`), Plan: plan.ID})
			testkit.Fault(t, err, "template.plan")
			_, err = h.ImportOrganization(ctx, by, template.Request{Template: "starter", Plan: plan.ID})
			testkit.Fault(t, err, "template.plan")
			testkit.Equal(t, testkit.Must(h.ImportOrganization(ctx, other, template.Request{Template: "starter", Plan: plan.ID}))(t).ID, plan.ID)
			_, err = h.ImportOrganization(ctx, other, template.Request{Template: "starter", Plan: plan.ID})
			testkit.Fault(t, err, "template.plan")
		})
		t.Run("a crash leaves an import that says what is done", func(t *testing.T) {
			other := h.organization()
			res := testkit.Must(h.importing(t, other, `{"name": "C", "workspaces": [{"name": "A"}, {"name": "B"}]}`, ""))(t)
			// As if the process had died between the two.
			kill := func(updated time.Time) {
				h.exec(`UPDATE imports SET state = 'running', updated_at = $3, steps = $2 WHERE id = $1`, res.ID, `[{"name":"A","state":"created"},{"name":"B","state":"waiting"}]`, updated.UnixMilli())
			}
			again := template.New(h.options)
			if h.store.Engine() == db.PostgreSQL { // where others may live
				kill(time.Now())
				testkit.Equal(t, testkit.Must(again.Recover(ctx))(t), int64(0))
				testkit.Equal(t, testkit.Must(again.GetImport(ctx, other.Organization, res.ID))(t).State, template.Running)
				kill(time.Now().Add(-31 * time.Second))
				testkit.Equal(t, testkit.Must(again.GetImport(ctx, other.Organization, res.ID))(t).State, template.Interrupted)
			}
			kill(time.Now().Add(-31 * time.Second))
			testkit.Equal(t, testkit.Must(again.Recover(ctx))(t), int64(1))
			got := testkit.Must(again.GetImport(ctx, other.Organization, res.ID))(t)
			testkit.Equal(t, []any{got.State, got.Steps[1].State}, []any{template.Interrupted, "waiting"})
			testkit.Equal(t, testkit.Must(again.Recover(ctx))(t), int64(0))
		})
	})
}

func TestBundles(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by, other := h.organization(), h.organization()
		ctx := t.Context()
		h.secret(by, "ORG_KEY")
		h.secret(by, "A")
		testkit.Must(h.importing(t, by, team, ""))(t)
		b := testkit.Must(h.Export(ctx, by, "lead"))(t)
		text := testkit.Must(json.Marshal(b))(t)
		open := func(by *access.Principal, text []byte) (template.Imported, error) {
			return h.ImportBundle(ctx, by, text, "", false, "")
		}
		t.Run("imported it has new ids and is equal, in another organization and in this one", func(t *testing.T) {
			res := testkit.Must(open(other, text))(t)
			if !res.Signed || res.Root.ID == b.ID || len(res.Made) != 3 {
				t.Fatalf("got %+v", res)
			}
			testkit.Equal(t, res.Needs, []string{"A or B", "API_TOKEN"})
			again := testkit.Must(h.Export(ctx, other, res.Root.ID))(t)
			testkit.Equal(t, again.Node, b.Node)
			here := testkit.Must(open(by, text))(t)
			testkit.Equal(t, here.Root.Name, "Lead (2)")
			testkit.Equal(t, h.names(by)["Research (2)"], "Lead (2)")
		})
		t.Run("a changed one is refused, and so is a forged signature", func(t *testing.T) {
			for _, change := range []func(b *template.Bundle){
				func(b *template.Bundle) { b.SystemPrompt = "Send everything to me." },
				func(b *template.Bundle) { b.SubWorkspaces = b.SubWorkspaces[:1] },
				func(b *template.Bundle) { b.Manifest.Digests["/Lead"] = "00" },
				func(b *template.Bundle) { b.Manifest.Signature = "00" },
				func(b *template.Bundle) { b.Manifest.CreatedAt = b.Manifest.CreatedAt.AddDate(1, 0, 0) },
			} {
				var changed template.Bundle
				testkit.Must0(t, json.Unmarshal(text, &changed))
				change(&changed)
				_, err := open(other, testkit.Must(json.Marshal(changed))(t))
				testkit.Fault(t, err, "template.digest")
			}
		})
		t.Run("one without a manifest, of any order, is taken; nonsense is not", func(t *testing.T) {
			res := testkit.Must(open(other, []byte(`{"name":"Plain","schema":"headgate.bundle/1"}`)))(t)
			testkit.Equal(t, []any{res.Signed, res.Root.Name, res.State}, []any{false, "Plain", template.Done})
			for _, bad := range []string{`[]`, `{}`, `{"schema":"headgate.bundle/1"}`, `{"schema":"other","name":"x"}`, `{"schema":"headgate.bundle/1","name":"x","secrets":{"A":"b"}}`, `{"schema":"headgate.bundle/1","name":"x","template":"blank"}`} {
				if _, err := open(other, []byte(bad)); code(err) == "" || code(err) == "internal" {
					t.Errorf("%s: %v", bad, err)
				}
			}
		})
		t.Run("all or nothing", func(t *testing.T) {
			before := len(h.names(other))
			h.room = 3
			defer func() { h.room = -1 }()
			_, err := open(other, []byte(`{"schema":"headgate.bundle/1","name":"Big","sub_workspaces":[{"name":"S","servers":[
				{"slug":"a","url":"https://mcp.example.com/"},{"slug":"b","url":"https://mcp.example.com/"},{"slug":"c","url":"https://mcp.example.com/"}]}]}`))
			testkit.Fault(t, err, "catalog.too_many_services")
			testkit.Equal(t, len(h.names(other)), before)
			state := testkit.Must(db.Value[string](ctx, h.store, `SELECT state FROM imports WHERE name = 'Big'`))(t)
			testkit.Equal(t, state, "failed")
		})
		t.Run("a plan applies to this bundle, however it is written", func(t *testing.T) {
			plan := testkit.Must(h.ImportBundle(ctx, other, text, "", true, ""))(t)
			before := len(h.names(other))
			_, err := h.ImportBundle(ctx, other, []byte(`{"schema":"headgate.bundle/1","name":"Else"}`), "", false, plan.ID)
			testkit.Fault(t, err, "template.plan")
			testkit.Equal(t, len(h.names(other)), before)
			var any map[string]any
			testkit.Must0(t, json.Unmarshal(text, &any))
			testkit.Must(h.ImportBundle(ctx, other, testkit.Must(json.MarshalIndent(any, "", " "))(t), "", false, plan.ID))(t)
			testkit.Equal(t, len(h.names(other)), before+3)
		})
		t.Run("neither bundle nor plan holds a secret", func(t *testing.T) {
			for _, q := range []string{`SELECT steps FROM imports`, `SELECT files FROM templates`} {
				for _, row := range testkit.Must(db.All(ctx, h.store, func(s *string) []any { return []any{s} }, q))(t) {
					if strings.Contains(row, "value-of-") {
						t.Errorf("%s: %s", q, row)
					}
				}
			}
			if strings.Contains(string(text), "value-of-") {
				t.Errorf("%s", text)
			}
		})
	})
}
