package template_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/template"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

func TestTemplates(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		by := h.organization()
		ctx := t.Context()
		slugs := func(kind template.Kind) (list []string) {
			for _, x := range testkit.Must(h.List(ctx, by.Organization, kind))(t) {
				list = append(list, x.Slug)
			}
			return list
		}
		t.Run("some are built in", func(t *testing.T) {
			testkit.Equal(t, slugs(template.ForWorkspace), []string{"assistant", "blank"})
			testkit.Equal(t, slugs(template.ForOrganization), []string{"starter"})
		})
		files := map[string]string{
			"template.yaml":          "description: Finds bugs\ntier: 3\nmodel: m-1\nrequired_env: [TOKEN, [A, B]]\nservers:\n  - {slug: tracker, url: 'https://mcp.example.com/mcp', headers: {Authorization: 'Bearer {{secret.TOKEN}}'}}\n",
			"instructions.md":        "Find bugs.",
			"skills/triage/SKILL.md": "# Triage",
			"notes.md":               "hello",
		}
		t.Run("files become one, under a normal slug", func(t *testing.T) {
			got := testkit.Must(h.Import(ctx, by, "Bug Finder!", files))(t)
			testkit.Equal(t, []any{got.Slug, got.Kind, got.Node.SystemPrompt, got.Node.Tier, len(got.Node.Skills), got.Node.Files["notes.md"]}, []any{"bug-finder", template.ForWorkspace, "Find bugs.", int64(3), 1, "hello"})
			_, err := h.Import(ctx, by, "bug finder", files)
			testkit.Fault(t, err, "template.exists")
			_, err = h.Import(ctx, by, "Blank", files)
			testkit.Fault(t, err, "template.exists")
			testkit.Equal(t, len(testkit.Must(h.List(ctx, h.organization().Organization, template.ForWorkspace))(t)), 2)
		})
		t.Run("what cannot be is refused before anything is kept", func(t *testing.T) {
			for name, c := range map[string]struct {
				files map[string]string
				code  string
			}{
				"no files":           {nil, "template.files"},
				"a path that leaves": {map[string]string{"../x": "y"}, "template.files"},
				"our directory":      {map[string]string{".headgate/needs.json": "[]"}, "template.recipe"},
				"unknown names":      {map[string]string{"template.yaml": "nmae: x"}, "template.recipe"},
				"no YAML":            {map[string]string{"template.yaml": "{"}, "template.recipe"},
				"a bad tier":         {map[string]string{"template.yaml": "tier: 7"}, "workspace.tier"},
				"a bad need":         {map[string]string{"template.yaml": "required_env: ['A B']"}, "template.recipe"},
				"a bad period":       {map[string]string{"template.yaml": "budget_limits: {yearly: 1}"}, "budget.limits"},
				"a bad mode":         {map[string]string{"template.yaml": "llm_billing_mode: cheap"}, "template.recipe"},
				"a private URL":      {map[string]string{"template.yaml": "servers: [{slug: a, url: 'http://127.0.0.1/'}]"}, "netguard.url"},
				"a command":          {map[string]string{"template.yaml": "servers: [{slug: a, transport: stdio}]"}, "catalog.command"},
				"twice a slug":       {map[string]string{"template.yaml": "servers: [{slug: a, url: 'https://mcp.example.com/'}, {slug: a, url: 'https://mcp.example.com/'}]"}, "template.recipe"},
				"children":           {map[string]string{"template.yaml": "sub_workspaces: [{name: x}]"}, "template.recipe"},
			} {
				_, err := h.Import(ctx, by, "X", c.files)
				if err == nil || !strings.HasPrefix(code(err), strings.Split(c.code, ".")[0]+".") {
					t.Errorf("%s: %v", name, err)
				}
			}
			developer := *by
			developer.Role = access.Developer
			_, err := h.Import(ctx, &developer, "X", files)
			testkit.Fault(t, err, "access.denied")
			testkit.Equal(t, slugs(template.ForWorkspace), []string{"assistant", "blank", "bug-finder"})
		})
		t.Run("a workspace made of it fails until what it requires is there", func(t *testing.T) {
			w := testkit.Must(h.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: "Bugs", Template: "bug-finder", Model: "m-2"}))(t)
			h.settle()
			got := testkit.Must(h.workspaces.Get(ctx, by.Organization, w.ID))(t)
			testkit.Equal(t, []any{got.Status, got.Model, got.Tier, got.Template}, []any{workspace.Failed, "m-2", int64(3), "bug-finder"})
			if !strings.Contains(got.Reason, "TOKEN, A or B") {
				t.Errorf("reason %q", got.Reason)
			}
			h.secret(by, "TOKEN")
			h.secret(by, "B")
			_, _, err := h.workspaces.Restart(ctx, by, by.Organization, w.ID)
			testkit.Must0(t, err)
			h.settle()
			testkit.Equal(t, testkit.Must(h.workspaces.Get(ctx, by.Organization, w.ID))(t).Status, workspace.Online)
			testkit.Equal(t, testkit.Must(h.workspaces.Instructions(ctx, w))(t), "Find bugs.")
			servers := testkit.Must(h.catalog.ListServers(ctx, by, w.ID))(t)
			testkit.Equal(t, len(servers), 1)
		})
		t.Run("nothing is made of a template that is not there, or when a server cannot be", func(t *testing.T) {
			_, err := h.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: "No", Template: "nobody"})
			testkit.Fault(t, err, "template.not_found")
			h.room = 1
			_, err = h.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: "No", Template: "bug-finder"})
			testkit.Fault(t, err, "catalog.too_many_services")
			h.room = -1
			_, err = h.workspaces.Get(ctx, by.Organization, "no")
			testkit.Fault(t, err, "workspace.not_found")
		})
		t.Run("deleting it leaves what was made of it", func(t *testing.T) {
			testkit.Must0(t, h.Delete(ctx, by, "bug-finder"))
			testkit.Fault(t, h.Delete(ctx, by, "bug-finder"), "template.not_found")
			testkit.Must(h.workspaces.Get(ctx, by.Organization, "bugs"))(t)
		})
	})
}
