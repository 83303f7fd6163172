package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"headgate/client"
)

// workspaceCmd are the commands on workspaces.
type workspaceCmd struct {
	List    workspaceListCmd    `cmd:"" help:"List the organization's workspaces."`
	Show    workspaceShowCmd    `cmd:"" help:"Show a workspace."`
	Add     workspaceAddCmd     `cmd:"" help:"Provision a workspace."`
	Update  workspaceUpdateCmd  `cmd:"" help:"Change a workspace: its tier, name, role, description or model."`
	Tiers   workspaceTiersCmd   `cmd:"" help:"List what the tiers allow."`
	Pause   workspacePauseCmd   `cmd:"" help:"Take no calls, there and below."`
	Resume  workspaceResumeCmd  `cmd:"" help:"Take calls again."`
	Restart workspaceRestartCmd `cmd:"" help:"Make its sessions and processes anew."`
	Remove  workspaceRemoveCmd  `cmd:"" aliases:"rm" help:"Remove a workspace, for good."`
}

// workspaceArg names the workspace that a command is about.
type workspaceArg struct {
	Workspace string `arg:"" help:"Its slug or id (headgate workspace list)."`
}

type workspaceListCmd struct{}

func (workspaceListCmd) Help() string { return "Example:\n\n    headgate workspace list" }

// Run lists workspaces.
func (workspaceListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ListWorkspaces(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		slugs := map[string]string{}
		for _, w := range data.Workspaces {
			slugs[w.ID] = w.Slug
		}
		rows := make([][]string, len(data.Workspaces))
		for i, w := range data.Workspaces {
			above := slugs[w.ParentID]
			if above == "" {
				above = "-"
			}
			rows[i] = []string{w.Slug, w.Name, w.Status, above, w.Runtime, strconv.FormatInt(w.Tier, 10), cents(&w.MonthlySpend), cents(w.BudgetLimit), w.ID}
		}
		x.table([]string{"SLUG", "NAME", "STATUS", "BELOW", "RUNTIME", "TIER", "SPENT", "A MONTH", "ID"}, rows)
	})
}

type workspaceShowCmd struct {
	workspaceArg
	Removed bool `help:"Show what is left of a removed one; give its id."`
}

func (workspaceShowCmd) Help() string {
	return "Example:\n\n    headgate workspace show research\n    headgate workspace show ws_01k… --removed"
}

// Run shows a workspace.
func (c *workspaceShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetWorkspace(ctx, c.Workspace, client.GetWorkspaceParams{IncludeRemoved: c.Removed})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		w := data.Workspace
		x.pairs([][2]string{
			{"Name", w.Name}, {"Slug", w.Slug}, {"Id", w.ID}, {"Status", w.Status}, {"Why", w.Reason}, {"Role", w.Role}, {"Description", w.Description},
			{"Below", w.ParentID}, {"Runtime", w.Runtime}, {"Tier", strconv.FormatInt(w.Tier, 10)}, {"Calls at a time", strconv.FormatInt(w.MaxConcurrentTasks, 10)},
			{"Running now", strconv.FormatInt(w.ActiveTasks, 10)}, {"Model", w.Model}, {"Instructions", short(w.Instructions, 200)}, {"Template", w.Template},
			{"Endpoint", x.baseURL() + w.MCPPath}, {"Spent this month", cents(&w.MonthlySpend)}, {"A month", cents(w.BudgetLimit)},
			{"Since", moment(w.CreatedAt)}, {"Changed", moment(w.UpdatedAt)}, {"Removed", momentOr(w.RemovedAt, "")},
		}...)
	})
}

type workspaceAddCmd struct {
	Name        string `arg:"" help:"Its name; one that is taken gets (2)."`
	Slug        string `placeholder:"SLUG" help:"Its name in addresses; left out, made of the name."`
	Role        string `placeholder:"TEXT" help:"What its agents are."`
	Description string `placeholder:"TEXT" help:"What it is for."`
	Template    string `placeholder:"ID" help:"What it is made of (headgate template list)."`
	Parent      string `placeholder:"SLUG" help:"The workspace above it."`
	Runtime     string `enum:",builtin,external" default:"" placeholder:"WHERE" help:"Where its agents run: builtin (when left out) or external, which gets a key."`
	Tier        int64  `placeholder:"N" help:"How much it may do at a time, 1 to 4; left out, 2."`
	Model       string `placeholder:"NAME" help:"The model of its agents."`
}

func (workspaceAddCmd) Help() string {
	return `It is provisioning at first, and online or failed in a moment: headgate workspace show says which, and why.

    headgate workspace add Research --template assistant
    headgate workspace add Crawler --runtime external --parent research --tier 1`
}

// Run provisions a workspace.
func (c *workspaceAddCmd) Run(ctx context.Context, x *env) error {
	body := client.CreateWorkspaceBody{Name: c.Name, Slug: optional(c.Slug), Role: optional(c.Role), Description: optional(c.Description), Template: optional(c.Template),
		ParentID: optional(c.Parent), Runtime: optional(c.Runtime), Model: optional(c.Model)}
	if c.Tier != 0 {
		body.Tier = &c.Tier
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.CreateWorkspace(ctx, body)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		w := data.Workspace
		x.say("Provisioned %s as %s; its endpoint is %s%s", w.Name, w.Slug, x.baseURL(), w.MCPPath)
		if data.Connection != nil {
			x.say("Its key, shown this once: %s", data.Connection.Key)
		}
		x.hint("See how it is: headgate workspace show %s", w.Slug)
	})
}

type workspaceUpdateCmd struct {
	workspaceArg
	Tier        int64   `placeholder:"N" help:"How much it may do at a time, 1 to 4 (headgate workspace tiers)."`
	Name        string  `placeholder:"TEXT" help:"Another name."`
	Role        *string `placeholder:"TEXT" help:"What its agents are."`
	Description *string `placeholder:"TEXT" help:"What it is for."`
	Model       *string `placeholder:"NAME" help:"The model of its agents."`
}

func (workspaceUpdateCmd) Help() string {
	return `What is not named stays.

    headgate workspace update research --tier 3
    headgate workspace update research --name 'Research and development' --role ''`
}

// Run changes a workspace.
func (c *workspaceUpdateCmd) Run(ctx context.Context, x *env) error {
	body := client.UpdateWorkspaceBody{Name: optional(c.Name), Role: c.Role, Description: c.Description, Model: c.Model}
	if c.Tier != 0 {
		body.Tier = &c.Tier
	}
	if body == (client.UpdateWorkspaceBody{}) {
		return invalid("give at least one of --tier, --name, --role, --description and --model.\nSee: headgate workspace update --help")
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.UpdateWorkspace(ctx, c.Workspace, body)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		w := data.Workspace
		x.say("%s has tier %d: %d calls at a time.", w.Name, w.Tier, w.MaxConcurrentTasks)
	})
}

type workspaceTiersCmd struct{}

func (workspaceTiersCmd) Help() string { return "Example:\n\n    headgate workspace tiers" }

// Run lists the tiers.
func (workspaceTiersCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ListWorkspaceTiers(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Tiers))
		for i, t := range data.Tiers {
			rows[i] = []string{strconv.FormatInt(t.Tier, 10), strconv.FormatInt(t.MaxConcurrentTasks, 10), (time.Duration(t.DeadlineMs) * time.Millisecond).String(),
				strconv.FormatInt(t.MemoryBytes>>20, 10) + " MiB", strconv.FormatInt(t.AgentSteps, 10)}
		}
		x.table([]string{"TIER", "CALLS AT A TIME", "DEADLINE", "MEMORY", "AGENT STEPS"}, rows)
	})
}

type workspacePauseCmd struct {
	workspaceArg
	Reason string `placeholder:"TEXT" help:"Why, for people."`
}

func (workspacePauseCmd) Help() string {
	return `Calls to it and to the workspaces below it are refused from then on, and cost nothing.

    headgate workspace pause research --reason 'over the holidays'`
}

// Run pauses a workspace.
func (c *workspacePauseCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.PauseWorkspace(ctx, c.Workspace, client.PauseBody{Reason: optional(c.Reason)})
	if err != nil {
		return err
	}
	return x.print(data, func() { x.say("Paused: %s.", workspaces(data.PausedCount)) })
}

type workspaceResumeCmd struct{ workspaceArg }

func (workspaceResumeCmd) Help() string {
	return `Those below it that were paused with it take calls again too.

    headgate workspace resume research`
}

// Run resumes a workspace.
func (c *workspaceResumeCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ResumeWorkspace(ctx, c.Workspace)
	if err != nil {
		return err
	}
	return x.print(data, func() { x.say("Resumed: %s.", workspaces(data.ResumedCount)) })
}

type workspaceRestartCmd struct{ workspaceArg }

func (workspaceRestartCmd) Help() string {
	return `Its servers get new sessions and processes; calls that are under way end with what they began with.

    headgate workspace restart research`
}

// Run restarts a workspace.
func (c *workspaceRestartCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.RestartWorkspace(ctx, c.Workspace)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		if data.Status == "noop" {
			x.say("It is external, so there is nothing to restart here: restart its agents where they run.")
			return
		}
		x.say("Restarting.")
	})
}

type workspaceRemoveCmd struct {
	workspaceArg
	Confirm   string `placeholder:"NAME" help:"Its exact name, as confirmation; asked for when left out."`
	Below     bool   `help:"The workspaces below it go too."`
	EraseData bool   `help:"Wipe its secrets, credentials, instructions and files."`
	Purge     bool   `help:"Delete its servers and all else of it; only a tombstone stays."`
	DryRun    bool   `help:"Only say what would go."`
}

func (workspaceRemoveCmd) Help() string {
	return `It is gone for good: its id answers 410 from then on. The log and the audit trail stay. Export a bundle first to be
able to make it again (headgate bundle export).

    headgate workspace remove research --dry-run
    headgate workspace remove research --confirm Research --below`
}

// Run removes a workspace, after it has said what goes.
func (c *workspaceRemoveCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	found, _, err := api.GetWorkspace(ctx, c.Workspace, client.GetWorkspaceParams{})
	if err != nil {
		return err
	}
	w := found.Workspace
	plan, _, err := api.RemoveWorkspace(ctx, w.ID, client.RemoveWorkspaceParams{DryRun: true})
	if err != nil {
		return err
	}
	if c.DryRun {
		return x.print(plan, func() {
			x.say("%s would go, with %s below it; %d calls run there now.", w.Name, workspaces(plan.ChildCount), plan.ActiveTasks)
			x.hint("Nothing was changed.")
		})
	}
	if plan.ChildCount > 0 && !c.Below {
		return wrong(exitConflict, "CONFIRMATION_REQUIRED", "there are workspaces below %s, which would go with it: %d. Nothing was removed.\nIf they may: --below", w.Name, plan.ChildCount)
	}
	if err := c.confirm(x, w.Name); err != nil {
		return err
	}
	data, _, err := api.RemoveWorkspace(ctx, w.ID, client.RemoveWorkspaceParams{XConfirmName: c.Confirm, Confirm: c.Below, EraseData: c.EraseData, Purge: c.Purge})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		done := "Removed"
		if c.Purge {
			done = "Purged"
		}
		x.say("%s: %s.", done, workspaces(int64(len(data.WorkspaceIDs))))
	})
}

// confirm holds what was typed to the workspace's name.
func (c *workspaceRemoveCmd) confirm(x *env, name string) error {
	if c.Confirm == "" && terminal(x.in) {
		_, _ = fmt.Fprint(x.err, plain("To remove "+name+" for good, type its name: "))
		typed, err := readText(bufio.NewReader(io.LimitReader(x.in, 8192)))
		if err != nil {
			return err
		}
		c.Confirm = typed
	}
	if c.Confirm == name {
		return nil
	}
	return invalid("this needs the workspace's exact name as confirmation. Nothing was removed.\nIf you mean it: --confirm '%s'", name)
}

// workspaces is a number of them.
func workspaces(n int64) string {
	if n == 1 {
		return "1 workspace"
	}
	return fmt.Sprintf("%d workspaces", n)
}

// cents is an amount, or none where there is no limit.
func cents(n *int64) string {
	if n == nil {
		return "unlimited"
	}
	return fmt.Sprintf("%d ¢", *n)
}
