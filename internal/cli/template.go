package cli

import (
	"context"
	"strconv"
	"strings"

	"headgate/client"
)

// templateCmd are the commands on templates.
type templateCmd struct {
	List  templateListCmd  `cmd:"" help:"List templates of workspaces and of organizations."`
	Show  templateShowCmd  `cmd:"" help:"Show a template."`
	Apply templateApplyCmd `cmd:"" help:"Make the workspaces of an organization's template."`
}

// someTemplate is a template of either kind.
type someTemplate struct {
	id, kind     string
	workspace    *client.TemplateRow
	organization *client.OrgTemplateRow
}

const (
	ofWorkspace    = "workspace"
	ofOrganization = "organization"
)

func allTemplates(ctx context.Context, api *client.Client) (list []someTemplate, ws *client.TemplateList, orgs *client.OrgTemplateList, err error) {
	if ws, _, err = api.ListTemplates(ctx); err != nil {
		return nil, nil, nil, err
	}
	if orgs, _, err = api.ListOrganizationTemplates(ctx); err != nil {
		return nil, nil, nil, err
	}
	for i := range ws.Templates {
		list = append(list, someTemplate{id: ws.Templates[i].ID, kind: ofWorkspace, workspace: &ws.Templates[i]})
	}
	for i := range orgs.Templates {
		list = append(list, someTemplate{id: orgs.Templates[i].Dir, kind: ofOrganization, organization: &orgs.Templates[i]})
	}
	return list, ws, orgs, nil
}

// findTemplate finds one by its id.
func findTemplate(ctx context.Context, api *client.Client, name string) (*someTemplate, error) {
	list, _, _, err := allTemplates(ctx, api)
	if err != nil {
		return nil, err
	}
	var known []string
	for i, t := range list {
		if t.id == name {
			return &list[i], nil
		}
		known = append(known, t.id)
	}
	return nil, wrong(exitNotFound, "RESOURCE_NOT_FOUND", "there is no template %q; there are: %s", name, strings.Join(known, ", "))
}

type templateListCmd struct{}

func (templateListCmd) Help() string { return "Example:\n\n    headgate template list" }

// Run lists templates.
func (templateListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	list, ws, orgs, err := allTemplates(ctx, api)
	if err != nil {
		return err
	}
	return x.print(map[string]any{"templates": ws.Templates, "organizationTemplates": orgs.Templates}, func() {
		rows := make([][]string, len(list))
		for i, t := range list {
			name, about, need, builtin := "", "", []string(nil), false
			if w := t.workspace; w != nil {
				name, about, need, builtin = w.Name, w.Description, w.RequiredEnv, w.Builtin
			} else {
				name, about, need, builtin = t.organization.Name, t.organization.Description, t.organization.RequiredEnv, t.organization.Builtin
			}
			rows[i] = []string{t.id, t.kind, name, yes(builtin), strings.Join(need, ", "), short(about, 60)}
		}
		x.table([]string{"ID", "OF", "NAME", "SHIPPED", "NEEDS", "DESCRIPTION"}, rows)
	})
}

type templateShowCmd struct {
	Template string `arg:"" help:"Its id (headgate template list)."`
}

func (templateShowCmd) Help() string { return "Example:\n\n    headgate template show starter" }

// Run shows a template.
func (c *templateShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	t, err := findTemplate(ctx, api, c.Template)
	if err != nil {
		return err
	}
	if o := t.organization; o != nil {
		return x.print(map[string]any{"template": o}, func() {
			x.pairs([][2]string{{"Name", o.Name}, {"Id", o.Dir}, {"Of", t.kind}, {"Description", o.Description}, {"Workspaces", strconv.FormatInt(o.Workspaces, 10)},
				{"Needs", strings.Join(o.RequiredEnv, ", ")}, {"Likes", strings.Join(o.RecommendedEnv, ", ")}, {"Shipped", yes(o.Builtin)}}...)
			x.hint("Make it: headgate template apply %s", o.Dir)
		})
	}
	w := t.workspace
	return x.print(map[string]any{"template": w}, func() {
		tier := ""
		if w.Tier > 0 {
			tier = strconv.FormatInt(w.Tier, 10)
		}
		x.pairs([][2]string{{"Name", w.Name}, {"Id", w.ID}, {"Of", t.kind}, {"Description", w.Description}, {"Role", w.Role}, {"Runtime", w.Runtime}, {"Tier", tier}, {"Model", w.Model},
			{"Servers", strconv.FormatInt(w.ServerCount, 10)}, {"Skills", strings.Join(w.Skills, ", ")},
			{"Needs", strings.Join(w.RequiredEnv, ", ")}, {"Likes", strings.Join(w.RecommendedEnv, ", ")}, {"Shipped", yes(w.Builtin)}}...)
		x.hint("Make one: headgate workspace add NAME --template %s", w.ID)
	})
}

type templateApplyCmd struct {
	applying
	Template  string `arg:"" help:"The template, one of an organization (headgate template list)."`
	Reconcile bool   `help:"Also remove what an earlier import of it made and it does not name any more."`
}

func (templateApplyCmd) Help() string {
	return `Shows what would be made or changed, and the plan's id; --apply does it, each workspace whole or not at all. Those of
the template's names are brought to what it says. Of a template of one workspace: headgate workspace add --template

    headgate template apply starter
    headgate template apply starter --apply`
}

// Run imports an organization's template, or plans that.
func (c *templateApplyCmd) Run(ctx context.Context, x *env) error {
	if err := c.valid(); err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	t, err := findTemplate(ctx, api, c.Template)
	if err != nil {
		return err
	}
	if t.kind == ofWorkspace {
		return invalid("%s is a template of one workspace.\nMake one of it: headgate workspace add NAME --template %s", t.id, t.id)
	}
	mode := "merge"
	if c.Reconcile {
		mode = "reconcile"
	}
	body := client.ImportOrganizationBody{Dir: &t.id, Mode: &mode, PlanID: optional(c.Plan)}
	if !c.Apply {
		body.DryRun = new(true)
	}
	data, _, err := api.ImportOrganization(ctx, body)
	if err != nil {
		return err
	}
	if err := x.print(data, func() {
		rows := make([][]string, len(data.Workspaces))
		for i, s := range data.Workspaces {
			rows[i] = []string{s.Name, s.Status, s.ID, strings.TrimSpace(s.Code + " " + s.Error)}
		}
		x.table([]string{"NAME", "STATUS", "ID", "WHY"}, rows)
		if !c.Apply {
			x.planned(data.ImportID)
		}
	}); err != nil {
		return err
	}
	return unfinished(data)
}

// unfinished is the error of an import that was not done wholly (207).
func unfinished(data *client.OrgImportData) error {
	failed := 0
	for _, s := range data.Workspaces {
		if s.Status == "failed" {
			failed++
		}
	}
	switch {
	case data.State == "failed":
		return wrong(exitConflict, "IMPORT_FAILED", "nothing was made: every workspace failed, for what stands beside it.\nMend that, and give the command again.")
	case data.State == "partly" && failed > 0:
		return wrong(exitConflict, "IMPORT_PARTLY", "%d of %d workspaces failed, for what stands beside them; the others are made.\nMend that, and give the command again: those that are made stay.", failed, data.Count)
	case data.State == "partly":
		return wrong(exitConflict, "IMPORT_PARTLY", "not everything that was to go could be removed: %s.\nMend that, and give the command again.", strings.Join(data.ReconcileErrors, "; "))
	}
	return nil
}
