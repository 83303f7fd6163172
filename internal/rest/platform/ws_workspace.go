package platform

import (
	"context"
	"errors"
	"net/http"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/budget"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

// WorkspaceRow is a workspace in lists and answers.
type WorkspaceRow struct {
	ID            string    `json:"id"`
	Slug          string    `json:"slug"`
	Name          string    `json:"name"`
	Default       bool      `json:"default"`
	Status        string    `json:"status" enum:"provisioning,online,paused,failed,removed,purged"`
	Reason        string    `json:"reason" doc:"Of the status, for people."`
	Role          string    `json:"role"`
	Description   string    `json:"description"`
	ParentID      string    `json:"parentId"`
	Runtime       string    `json:"runtime" enum:"builtin,external"`
	Tier          int64     `json:"tier"`
	Model         string    `json:"model"`
	Template      string    `json:"template" doc:"What it was made of."`
	MCPPath       string    `json:"mcpPath" doc:"Its endpoint of the Gateway."`
	ActiveTasks   int64     `json:"activeTasks" doc:"Calls at this moment, on this replica."`
	MaxConcurrent int64     `json:"maxConcurrentTasks"`
	BudgetLimit   *int64    `json:"budgetLimit" doc:"Cents a month; null without a limit."`
	MonthlySpend  int64     `json:"monthlySpend" doc:"Cents."`
	CreatedAt     rest.Time `json:"createdAt"`
	UpdatedAt     rest.Time `json:"updatedAt"`
	RemovedAt     rest.Time `json:"removedAt" nullable:"true"`
}

type workspaceList struct {
	Workspaces []WorkspaceRow `json:"workspaces"`
	Count      int            `json:"count"`
}

type workspaceData struct {
	Workspace WorkspaceRow `json:"workspace"`
}

type workspaceDetail struct {
	WorkspaceRow
	Instructions string `json:"instructions" doc:"For its agents."`
}

type workspaceDetailData struct {
	Workspace workspaceDetail `json:"workspace"`
}

// workspaceConnection is how the agents of an external workspace connect.
type workspaceConnection struct {
	MCPPath string `json:"mcpPath"`
	Key     string `json:"key" doc:"Shown once."`
	KeyID   string `json:"keyId"`
}

type provisionedData struct {
	Workspace  WorkspaceRow         `json:"workspace"`
	Connection *workspaceConnection `json:"connection,omitempty" doc:"Of an external workspace, once."`
}

// ByWorkspace is the input of what is about one workspace.
type ByWorkspace struct {
	ID string `path:"workspaceId" maxLength:"64" doc:"Id or slug."`
}

type getWorkspace struct {
	ByWorkspace
	IncludeRemoved bool `query:"includeRemoved" doc:"Show what is left of a removed one instead of 410."`
}

type createWorkspace struct{ Body createWorkspaceBody }

type createWorkspaceBody struct {
	Name         string `json:"name" minLength:"1" maxLength:"100" doc:"A name that is taken gets \" (2)\"."`
	Slug         string `json:"slug,omitempty" maxLength:"32" doc:"Left out, it is made of the name."`
	Role         string `json:"role,omitempty" maxLength:"100"`
	Description  string `json:"description,omitempty" maxLength:"1000"`
	Template     string `json:"template,omitempty" maxLength:"100" doc:"See GET /templates."`
	Runtime      string `json:"runtime,omitempty" maxLength:"32" doc:"builtin or external; others are 422."`
	Tier         int64  `json:"tier,omitempty" minimum:"1" maximum:"4" doc:"See GET /workspace-tiers."`
	ParentID     string `json:"parentId,omitempty" maxLength:"64" doc:"Id or slug."`
	Model        string `json:"model,omitempty" maxLength:"200"`
	Instructions string `json:"instructions,omitempty" maxLength:"32768"`
}

type updateWorkspace struct {
	ByWorkspace
	Body updateWorkspaceBody
}

type updateWorkspaceBody struct {
	Name         *string `json:"name,omitempty" maxLength:"100"`
	Slug         *string `json:"slug,omitempty" maxLength:"32"`
	Role         *string `json:"role,omitempty" maxLength:"100"`
	Description  *string `json:"description,omitempty" maxLength:"1000"`
	ParentID     *string `json:"parentId,omitempty" maxLength:"64" doc:"Id or slug; empty makes it one of the first level."`
	Tier         *int64  `json:"tier,omitempty" minimum:"1" maximum:"4"`
	Model        *string `json:"model,omitempty" maxLength:"200"`
	Instructions *string `json:"instructions,omitempty" maxLength:"32768"`
}

type removeWorkspace struct {
	ByWorkspace
	ConfirmName string `header:"X-Confirm-Name" maxLength:"400" doc:"The workspace's exact name."`
	Confirm     bool   `query:"confirm" doc:"The workspaces below it go too."`
	EraseData   bool   `query:"eraseData" doc:"Wipe its secrets, credentials, instructions and files."`
	Purge       bool   `query:"purge" doc:"Delete its servers and all else of it; an empty tombstone stays."`
	DryRun      bool   `query:"dryRun" doc:"Only say what would be removed."`
}

type removed struct {
	Status          string   `json:"status" enum:"planned,removed,purged"`
	CascadeDeleted  int      `json:"cascadeDeleted" doc:"Workspaces below it that went too."`
	WorkspaceIDs    []string `json:"workspaceIds"`
	ActiveTasks     int64    `json:"activeTasks"`
	ChildCount      int      `json:"childCount"`
	ScheduleCount   int      `json:"scheduleCount"`
	ConfirmRequired bool     `json:"confirmRequired" doc:"There are workspaces below it."`
}

type pauseWorkspace struct {
	ByWorkspace
	Body pauseBody
}

type pauseBody struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"For people."`
}

type pausedData struct {
	ID          string `json:"id"`
	Status      string `json:"status" enum:"paused"`
	PausedCount int    `json:"pausedCount" doc:"It and those below it."`
}

type resumedData struct {
	ID           string `json:"id"`
	Status       string `json:"status" enum:"provisioning"`
	ResumedCount int    `json:"resumedCount"`
}

type restartedData struct {
	ID     string `json:"id"`
	Status string `json:"status" enum:"provisioning,noop" doc:"noop: the agents of an external workspace run elsewhere."`
}

type tierRow struct {
	Tier          int64 `json:"tier"`
	MaxConcurrent int64 `json:"maxConcurrentTasks"`
	DeadlineMs    int64 `json:"deadlineMs"`
	MemoryBytes   int64 `json:"memoryBytes" doc:"Of a stdio server."`
	AgentSteps    int64 `json:"agentSteps"`
}

type tierList struct {
	Tiers []tierRow `json:"tiers"`
}

func (a *api) workspaces() {
	tags := []string{"workspaces"}
	op := func(method, path, id, summary string, perm access.Permission, errs ...fault.Kind) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: tags, Permission: perm, Errors: errs}
	}
	one := "/workspaces/{workspaceId}"
	rest.Handle(a.door, op("GET", "/workspaces", "listWorkspaces", "Workspaces", access.WorkspacesRead), a.listWorkspaces)
	create := op("POST", "/workspaces", "createWorkspace", "Provision a workspace", access.WorkspacesAdmin, fault.NotFound, fault.Conflict, fault.Unsupported, fault.Unpaid)
	create.Status, create.Idempotent, create.Gate = http.StatusCreated, true, gateKeys // an external one comes with a key
	create.Late = gateSecrets                                                          // a template's servers may hold some
	create.Detail = "It is provisioning at first, and online or failed in a moment. An external one has a connection with a key, shown once."
	rest.Handle(a.door, create, a.createWorkspace)
	rest.Handle(a.door, op("GET", one, "getWorkspace", "A workspace", access.WorkspacesRead, fault.Gone), a.getWorkspace)
	rest.Handle(a.door, op("PATCH", one, "updateWorkspace", "Change a workspace", access.WorkspacesAdmin, fault.Conflict, fault.Gone), a.updateWorkspace)
	remove := op("DELETE", one, "removeWorkspace", "Remove a workspace", access.WorkspacesAdmin, fault.Conflict, fault.Gone)
	remove.Gate = gateDestructive
	remove.Detail = "Needs its exact name as confirmation, and confirm where there are workspaces below it. What is removed is 410 from then on."
	rest.Handle(a.door, remove, a.removeWorkspace)
	rest.Handle(a.door, op("POST", one+"/pause", "pauseWorkspace", "Stop a workspace, and those below it, from taking calls", access.WorkspacesAdmin, fault.Gone), a.pauseWorkspace)
	rest.Handle(a.door, op("POST", one+"/resume", "resumeWorkspace", "Let a paused workspace take calls again", access.WorkspacesAdmin, fault.Conflict, fault.Gone), a.resumeWorkspace)
	rest.Handle(a.door, op("POST", one+"/restart", "restartWorkspace", "Make a workspace's sessions and processes anew", access.WorkspacesAdmin, fault.Conflict, fault.Gone), a.restartWorkspace)
	rest.Handle(a.door, op("GET", "/workspace-tiers", "listWorkspaceTiers", "What the tiers of workspaces allow", access.WorkspacesRead), a.listTiers)
}

// workspaceRow makes a row of a workspace, with its budget.
func (a *api) workspaceRow(w workspace.Workspace, b budget.Budget) WorkspaceRow {
	r := WorkspaceRow{ID: w.ID, Slug: w.Slug, Name: w.Name, Default: w.Default, Status: string(w.Status), Reason: w.Reason, Role: w.Role, Description: w.Description, ParentID: w.Parent,
		Runtime: string(w.Runtime), Tier: w.Tier, Model: w.Model, Template: w.Template, MCPPath: "/mcp/w/" + w.Slug, ActiveTasks: a.Budgets.Running(w.ID),
		BudgetLimit: centsOf(b.Limits[budget.Monthly]), MonthlySpend: centsUp(b.Spent[budget.Monthly]), CreatedAt: rest.At(w.CreatedAt), UpdatedAt: rest.At(w.UpdatedAt), RemovedAt: rest.At(w.RemovedAt)}
	if w.Default {
		r.MCPPath = "/mcp"
	}
	if p, err := workspace.PresetOf(w.Tier); err == nil {
		r.MaxConcurrent = p.Calls
	}
	return r
}

// workspaceAnswer is a row as it is now.
func (a *api) workspaceAnswer(ctx context.Context, w workspace.Workspace) (WorkspaceRow, error) {
	b, err := a.Budgets.Get(ctx, w.Organization, w.ID)
	return a.workspaceRow(w, b), err
}

func (a *api) listWorkspaces(ctx context.Context, _ *rest.None) (*rest.OK[workspaceList, rest.Meta], error) {
	organization := rest.Principal(ctx).Organization
	found, err := a.Workspaces.List(ctx, organization)
	if err != nil {
		return nil, err
	}
	budgets, err := a.Budgets.All(ctx, organization)
	if err != nil {
		return nil, err
	}
	list := workspaceList{Count: len(found)}
	for _, w := range found {
		list.Workspaces = append(list.Workspaces, a.workspaceRow(w, budgets[w.ID]))
	}
	return ok(list, "")
}

func (a *api) createWorkspace(ctx context.Context, in *createWorkspace) (*rest.OK[provisionedData, rest.Meta], error) {
	by, b := rest.Principal(ctx), in.Body
	w, err := a.Templates.Provision(ctx, by, workspace.Spec{Organization: by.Organization, Name: b.Name, Slug: b.Slug, Role: b.Role, Description: b.Description, Template: b.Template,
		Runtime: workspace.Runtime(b.Runtime), Tier: b.Tier, Parent: b.ParentID, Model: b.Model, Instructions: b.Instructions})
	if err != nil {
		return nil, err
	}
	var data provisionedData
	if data.Workspace, err = a.workspaceAnswer(ctx, w); err != nil {
		return nil, err
	}
	if w.Runtime == workspace.External {
		k, value, err := a.APIKeys.Create(ctx, by, apikey.Spec{Kind: access.WorkspaceKey, Organization: w.Organization, Workspace: w.ID, Name: "connection"})
		if err != nil {
			return nil, err
		}
		data.Connection = &workspaceConnection{data.Workspace.MCPPath, value.Reveal(), k.ID}
	}
	rest.SetHeader(ctx, "Location", "/v1/workspaces/"+w.ID)
	return ok(data, "")
}

func (a *api) getWorkspace(ctx context.Context, in *getWorkspace) (*rest.OK[workspaceDetailData, rest.Meta], error) {
	organization := rest.Principal(ctx).Organization
	w, err := a.Workspaces.Get(ctx, organization, in.ID)
	if in.IncludeRemoved && errors.Is(err, workspace.ErrGone) {
		w, err = a.Workspaces.Tombstone(ctx, organization, in.ID)
		if err != nil {
			return nil, err
		}
		return ok(workspaceDetailData{workspaceDetail{WorkspaceRow: a.workspaceRow(w, budget.Budget{Limits: budget.NoLimits})}}, "")
	}
	if err != nil {
		return nil, err
	}
	row, err := a.workspaceAnswer(ctx, w)
	if err != nil {
		return nil, err
	}
	text, err := a.Workspaces.Instructions(ctx, w)
	if err != nil {
		return nil, err
	}
	return ok(workspaceDetailData{workspaceDetail{row, text}}, "")
}

func (a *api) updateWorkspace(ctx context.Context, in *updateWorkspace) (*rest.OK[workspaceData, rest.Meta], error) {
	by, b := rest.Principal(ctx), in.Body
	w, err := a.Workspaces.Update(ctx, by, by.Organization, in.ID, workspace.Change{Name: b.Name, Slug: b.Slug, Role: b.Role, Description: b.Description, Parent: b.ParentID, Tier: b.Tier,
		Model: b.Model, Instructions: b.Instructions})
	if err != nil {
		return nil, err
	}
	row, err := a.workspaceAnswer(ctx, w)
	if err != nil {
		return nil, err
	}
	return ok(workspaceData{row}, "")
}

func (a *api) removeWorkspace(ctx context.Context, in *removeWorkspace) (*rest.OK[removed, rest.Meta], error) {
	by := rest.Principal(ctx)
	w, err := a.Workspaces.Get(ctx, by.Organization, in.ID)
	if err != nil {
		return nil, err
	}
	below, err := a.Workspaces.Below(ctx, w)
	if err != nil {
		return nil, err
	}
	data := removed{Status: "planned", ActiveTasks: a.Budgets.Running(w.ID), ChildCount: len(below), ConfirmRequired: len(below) > 0}
	if in.DryRun {
		for _, each := range append([]workspace.Workspace{w}, below...) {
			data.WorkspaceIDs = append(data.WorkspaceIDs, each.ID)
		}
		data.CascadeDeleted = len(below)
		return ok(data, "")
	}
	gone, err := a.Workspaces.Remove(ctx, by, by.Organization, w.ID, workspace.Removal{Name: in.ConfirmName, Tree: in.Confirm, Erase: in.EraseData, Purge: in.Purge})
	if errors.Is(err, workspace.ErrConfirmName) || errors.Is(err, workspace.ErrConfirmTree) {
		return nil, fault.Of(err).With("activeTasks", data.ActiveTasks).With("scheduleCount", 0)
	}
	if err != nil {
		return nil, err
	}
	for _, each := range gone {
		data.WorkspaceIDs = append(data.WorkspaceIDs, each.ID)
	}
	data.Status, data.CascadeDeleted, data.ConfirmRequired = string(gone[0].Status), len(gone)-1, false
	return ok(data, "")
}

func (a *api) pauseWorkspace(ctx context.Context, in *pauseWorkspace) (*rest.OK[pausedData, rest.Meta], error) {
	by := rest.Principal(ctx)
	all, err := a.Workspaces.Pause(ctx, by, by.Organization, in.ID, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return ok(pausedData{all[0].ID, string(all[0].Status), len(all)}, "")
}

func (a *api) resumeWorkspace(ctx context.Context, in *ByWorkspace) (*rest.OK[resumedData, rest.Meta], error) {
	by := rest.Principal(ctx)
	all, err := a.Workspaces.Resume(ctx, by, by.Organization, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(resumedData{all[0].ID, string(all[0].Status), len(all)}, "")
}

func (a *api) restartWorkspace(ctx context.Context, in *ByWorkspace) (*rest.OK[restartedData, rest.Meta], error) {
	by := rest.Principal(ctx)
	return a.restart(ctx, by, by.Organization, in.ID)
}

func (a *api) restart(ctx context.Context, by *access.Principal, organization, ref string) (*rest.OK[restartedData, rest.Meta], error) {
	w, restarted, err := a.Workspaces.Restart(ctx, by, organization, ref)
	if err != nil {
		return nil, err
	}
	if !restarted {
		return ok(restartedData{w.ID, "noop"}, "")
	}
	return ok(restartedData{w.ID, string(w.Status)}, "")
}

func (a *api) listTiers(context.Context, *rest.None) (*rest.OK[tierList, rest.Meta], error) {
	var list tierList
	for _, p := range workspace.Presets() {
		list.Tiers = append(list.Tiers, tierRow{p.Tier, p.Calls, p.Deadline.Milliseconds(), p.Memory, p.Steps})
	}
	return ok(list, "")
}
