package platform

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/template"
)

type templateRow struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	Builtin        bool     `json:"builtin"`
	Tier           int64    `json:"tier" doc:"0: the default."`
	Runtime        string   `json:"runtime"`
	Model          string   `json:"model"`
	Role           string   `json:"role"`
	RequiredEnv    []string `json:"requiredEnv" doc:"\"A or B\" where one of several is enough."`
	RecommendedEnv []string `json:"recommendedEnv"`
	Skills         []string `json:"skills"`
	SkillCount     int      `json:"skillCount"`
	ServerCount    int      `json:"serverCount"`
}

type templateList struct {
	Templates []templateRow `json:"templates"`
	Count     int           `json:"count"`
}

type orgTemplateRow struct {
	Dir            string   `json:"dir" doc:"Its name for imports."`
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	Builtin        bool     `json:"builtin"`
	Workspaces     int      `json:"workspaces"`
	RequiredEnv    []string `json:"requiredEnv"`
	RecommendedEnv []string `json:"recommendedEnv"`
}

type orgTemplateList struct {
	Templates []orgTemplateRow `json:"templates"`
	Count     int              `json:"count"`
}

type importTemplate struct{ Body importTemplateBody }

type importTemplateBody struct {
	Name  string            `json:"name" minLength:"1" maxLength:"100"`
	Files map[string]string `json:"files" maxProperties:"1000" doc:"Paths and texts, at most 200. template.yaml describes a workspace, organization.yaml several, instructions.md says what its agents are told; the rest are its files."`
}

type importedTemplate struct {
	Status string `json:"status" enum:"imported"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Kind   string `json:"kind" enum:"workspace,organization"`
}

type byTemplate struct {
	ID string `path:"templateId" maxLength:"64"`
}

type importOrganization struct{ Body importOrganizationBody }

type importOrganizationBody struct {
	Dir      string      `json:"dir,omitempty" maxLength:"64" doc:"A template for organizations."`
	Template rest.Object `json:"template,omitempty" doc:"Or a recipe: {name, required_env, workspaces}."`
	Mode     string      `json:"mode,omitempty" enum:"merge,reconcile" doc:"Both bring workspaces of the recipe's names to what it says; reconcile also removes what an earlier import of it made and it does not name any more."`
	DryRun   bool        `json:"dryRun,omitempty" doc:"Plan only."`
	PlanID   string      `json:"planId,omitempty" maxLength:"64" doc:"Apply this plan."`
}

type stepRow struct {
	Name   string `json:"name"`
	ID     string `json:"id"`
	Status string `json:"status" enum:"waiting,created,updated,failed,skipped,removed"`
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
}

type orgImportData struct {
	Org             string    `json:"org"`
	Workspaces      []stepRow `json:"workspaces"`
	Count           int       `json:"count"`
	Mode            string    `json:"mode"`
	State           string    `json:"state" enum:"planned,running,done,partly,failed,interrupted"`
	RemovedCount    int       `json:"reconcileRemovedCount"`
	ReconcileErrors []string  `json:"reconcileErrors"`
	ImportID        string    `json:"importId" doc:"Of a plan: send it as planId."`
}

type importData struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind" enum:"organization,bundle"`
	Name      string    `json:"name"`
	State     string    `json:"state" enum:"planned,running,done,partly,failed,interrupted"`
	Steps     []stepRow `json:"steps"`
	CreatedAt rest.Time `json:"createdAt"`
	UpdatedAt rest.Time `json:"updatedAt"`
}

type byImport struct {
	ID string `path:"importId" maxLength:"64"`
}

type recipeData struct {
	Template rest.Object `json:"template"`
}

type bundleData struct {
	Bundle rest.Object `json:"bundle"`
}

type importBundle struct{ Body importBundleBody }

type importBundleBody struct {
	Bundle   rest.Object `json:"bundle" doc:"As it was exported."`
	ParentID string      `json:"parentId,omitempty" maxLength:"64" doc:"Id or slug."`
	DryRun   bool        `json:"dryRun,omitempty" doc:"Plan only."`
	PlanID   string      `json:"planId,omitempty" maxLength:"64" doc:"Apply this plan."`
}

// ImportedWorkspace is a workspace that a bundle has become.
type ImportedWorkspace struct {
	WorkspaceID string              `json:"workspaceId"`
	Name        string              `json:"name"`
	Status      string              `json:"status"`
	Children    []ImportedWorkspace `json:"children"`
}

type importedBundle struct {
	ImportedWorkspace
	ImportID   string   `json:"importId" doc:"Of a plan: send it as planId."`
	Signed     bool     `json:"signed" doc:"The bundle was signed by this installation."`
	MissingEnv []string `json:"missingEnv" doc:"Secrets it requires that the organization does not have."`
}

func (a *api) templates() {
	tags := []string{"templates"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/templates", ID: "listTemplates", Summary: "Templates of workspaces", Tags: tags, Permission: access.WorkspacesRead}, a.listTemplates)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/templates", ID: "importTemplate", Summary: "Keep files as a template", Tags: tags, Permission: access.WorkspacesAdmin, Status: http.StatusCreated, Idempotent: true,
		MaxBody: 4 << 20, Errors: []fault.Kind{fault.Conflict, fault.NotFound, fault.Unsupported, fault.Forbidden}}, a.importTemplate)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: "/templates/{templateId}", ID: "deleteTemplate", Summary: "Forget a template", Tags: tags, Gate: gateDestructive, Permission: access.WorkspacesAdmin},
		func(ctx context.Context, in *byTemplate) (*rest.None, error) {
			return nil, a.Templates.Delete(ctx, rest.Principal(ctx), in.ID)
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organization-templates", ID: "listOrganizationTemplates", Summary: "Templates of organizations", Tags: tags, Permission: access.WorkspacesRead}, a.listOrgTemplates)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/organizations/me/import", ID: "importOrganization", Summary: "Make the workspaces of a template or recipe", Tags: tags, Permission: access.WorkspacesAdmin,
		Status: http.StatusCreated, Statuses: []int{http.StatusOK, http.StatusMultiStatus}, MaxBody: 4 << 20, Gate: gateDestructive, Late: gateSecrets, Idempotent: true, Errors: []fault.Kind{fault.NotFound, fault.Conflict, fault.Precondition, fault.Unsupported},
		Detail: "412 with missing_env and missing_workspace_env when required secrets are not set; nothing is made then. Each workspace is made whole or not at all; 207 when some failed."}, a.importOrganization)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations/me/export", ID: "exportOrganization", Summary: "The organization's workspaces as a recipe, without secrets", Tags: tags, Permission: access.WorkspacesAdmin}, a.exportOrganization)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/workspaces/{workspaceId}/bundle", ID: "exportBundle", Summary: "A workspace and those below it as a bundle, without secrets", Tags: tags, Permission: access.WorkspacesAdmin,
		Errors: []fault.Kind{fault.Gone}}, a.exportBundle)
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/bundles", ID: "importBundle", Summary: "Make the workspaces of a bundle", Tags: tags, Permission: access.WorkspacesAdmin, Status: http.StatusCreated, Statuses: []int{http.StatusOK}, MaxBody: 4 << 20,
		Late: gateSecrets, Idempotent: true, Errors: []fault.Kind{fault.NotFound, fault.Conflict, fault.Precondition, fault.Unsupported, fault.Unpaid}, Detail: "All or none, with new ids."}, a.importBundle)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/imports/{importId}", ID: "getImport", Summary: "How far an import has come", Tags: tags, Permission: access.WorkspacesAdmin}, a.getImport)
}

// needWords shows needs: "A or B" where one of several is enough.
func needWords(needs []template.Need) []string {
	words := []string{}
	for _, n := range needs {
		word := ""
		for i, name := range n {
			if i > 0 {
				word += " or "
			}
			word += name
		}
		words = append(words, word)
	}
	return words
}

func (a *api) listTemplates(ctx context.Context, _ *rest.None) (*rest.OK[templateList, rest.Meta], error) {
	found, err := a.Templates.List(ctx, rest.Principal(ctx).Organization, template.ForWorkspace)
	if err != nil {
		return nil, err
	}
	list := templateList{Count: len(found)}
	for _, t := range found {
		n := t.Node
		r := templateRow{ID: t.Slug, Name: n.Name, Description: n.Description, Builtin: t.Builtin, Tier: n.Tier, Runtime: n.Runtime, Model: n.Model, Role: n.Role,
			RequiredEnv: needWords(n.RequiredEnv), RecommendedEnv: needWords(n.RecommendedEnv), SkillCount: len(n.Skills), ServerCount: len(n.Servers)}
		for _, s := range n.Skills {
			r.Skills = append(r.Skills, s.Name)
		}
		list.Templates = append(list.Templates, r)
	}
	return ok(list, "")
}

func (a *api) listOrgTemplates(ctx context.Context, _ *rest.None) (*rest.OK[orgTemplateList, rest.Meta], error) {
	found, err := a.Templates.List(ctx, rest.Principal(ctx).Organization, template.ForOrganization)
	if err != nil {
		return nil, err
	}
	list := orgTemplateList{Count: len(found)}
	for _, t := range found {
		o := t.Organization
		list.Templates = append(list.Templates, orgTemplateRow{t.Slug, o.Name, o.Description, t.Builtin, template.Count(o.Workspaces), needWords(o.RequiredEnv), needWords(o.RecommendedEnv)})
	}
	return ok(list, "")
}

func (a *api) importTemplate(ctx context.Context, in *importTemplate) (*rest.OK[importedTemplate, rest.Meta], error) {
	t, err := a.Templates.Import(ctx, rest.Principal(ctx), in.Body.Name, in.Body.Files)
	if err != nil {
		return nil, err
	}
	return ok(importedTemplate{"imported", t.Slug, in.Body.Name, string(t.Kind)}, "")
}

func steps(list []template.Step) []stepRow {
	rows := []stepRow{}
	for _, s := range list {
		rows = append(rows, stepRow{s.Name, s.Workspace, s.State, s.Code, s.Error})
	}
	return rows
}

// planned refuses an import that a key makes without a plan, where the
// organization wants plans.
func (a *api) planned(ctx context.Context, dryRun bool, plan string) error {
	by := rest.Principal(ctx)
	if dryRun || plan != "" || by.Kind == access.Session {
		return nil
	}
	gates, err := a.Approvals.Policy(ctx, by.Organization)
	if err == nil && slices.Contains(gates, approval.Plans) {
		err = template.ErrPlanNeeded
	}
	return err
}

func (a *api) importOrganization(ctx context.Context, in *importOrganization) (*rest.OK[orgImportData, rest.Meta], error) {
	b := in.Body
	if (b.Dir == "") == (len(b.Template) == 0) {
		return nil, rest.Invalid(rest.Problem{Field: "body", Message: "needs dir or template, and not both"})
	}
	if err := a.planned(ctx, b.DryRun, b.PlanID); err != nil {
		return nil, err
	}
	res, err := a.Templates.ImportOrganization(ctx, rest.Principal(ctx), template.Request{Template: b.Dir, Recipe: b.Template, Mode: template.Mode(b.Mode), DryRun: b.DryRun, Plan: b.PlanID})
	if err != nil {
		return nil, err
	}
	switch res.State {
	case template.Planned:
		rest.SetStatus(ctx, http.StatusOK)
	case template.Partly, template.FailedState:
		rest.SetStatus(ctx, http.StatusMultiStatus)
	}
	return ok(orgImportData{res.Name, steps(res.Steps), len(res.Steps), string(res.Mode), string(res.State), res.Removed, res.ReconcileErrors, res.ID}, "")
}

func (a *api) exportOrganization(ctx context.Context, _ *rest.None) (*rest.OK[recipeData, rest.Meta], error) {
	by := rest.Principal(ctx)
	o, err := a.Tenancy.Organization(ctx, by.Organization)
	if err != nil {
		return nil, err
	}
	recipe, err := a.Templates.ExportOrganization(ctx, by, o.Name)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(recipe)
	if err != nil {
		return nil, err
	}
	return ok(recipeData{text}, "")
}

func (a *api) exportBundle(ctx context.Context, in *ByWorkspace) (*rest.OK[bundleData, rest.Meta], error) {
	b, err := a.Templates.Export(ctx, rest.Principal(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return ok(bundleData{text}, "")
}

func (a *api) importBundle(ctx context.Context, in *importBundle) (*rest.OK[importedBundle, rest.Meta], error) {
	b := in.Body
	if err := a.planned(ctx, b.DryRun, b.PlanID); err != nil {
		return nil, err
	}
	res, err := a.Templates.ImportBundle(ctx, rest.Principal(ctx), b.Bundle, b.ParentID, b.DryRun, b.PlanID)
	if err != nil {
		return nil, err
	}
	if b.DryRun {
		rest.SetStatus(ctx, http.StatusOK)
	}
	return ok(importedBundle{madeOf(&res.Content, &res), res.ID, res.Signed, res.Needs}, "")
}

func madeOf(n *template.Node, res *template.Imported) ImportedWorkspace {
	w := ImportedWorkspace{Name: n.Name, Status: string(res.State)}
	if made, done := res.Made[n.Name]; done {
		w.WorkspaceID, w.Name, w.Status = made.ID, made.Name, string(made.Status)
	}
	for i := range n.SubWorkspaces {
		w.Children = append(w.Children, madeOf(&n.SubWorkspaces[i], res))
	}
	return w
}

func (a *api) getImport(ctx context.Context, in *byImport) (*rest.OK[importData, rest.Meta], error) {
	i, err := a.Templates.GetImport(ctx, rest.Principal(ctx).Organization, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(importData{i.ID, string(i.Kind), i.Name, string(i.State), steps(i.Steps), rest.At(i.CreatedAt), rest.At(i.UpdatedAt)}, "")
}
