package cli

import (
	"context"
	"slices"
	"strings"

	"headgate/client"
)

// approvalCmd are the commands on approvals.
type approvalCmd struct {
	List    approvalListCmd    `cmd:"" help:"List what waits for a person, or has."`
	Show    approvalShowCmd    `cmd:"" help:"Show an approval."`
	Approve approvalApproveCmd `cmd:"" help:"Agree to an operation."`
	Deny    approvalDenyCmd    `cmd:"" help:"Refuse an operation."`
	Policy  approvalPolicyCmd  `cmd:"" help:"Show or set what waits for a person."`
}

// personal returns a client with the session, whatever HEADGATE_KEY says: a key
// never stands for a person.
func (x *env) personal(what string) (*client.Client, error) {
	base := x.baseURL()
	s, err := x.readSession(base)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, wrong(exitSignIn, "SESSION_NEEDED", "%s: this needs a session, not a key.\nSign in: headgate login", what)
	}
	return x.client(base, client.WithSource((&keeper{env: x, session: s}).token))
}

type approvalListCmd struct {
	paging
	Pending bool `help:"Only those that still wait."`
}

func (approvalListCmd) Help() string {
	return `Newest first. What was not decided within ten minutes has expired.

    headgate approval list --pending`
}

// Run lists approvals.
func (c *approvalListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListApprovals(ctx, client.ListApprovalsParams{Page: c.Page, Limit: c.Limit, Pending: c.Pending})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.ApprovalList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Approvals))
		for i, a := range data.Approvals {
			rows[i] = []string{moment(a.CreatedAt), a.Status, a.Action, a.Target, a.AskedByName, moment(a.ExpiresAt), a.ID}
		}
		x.table([]string{"ASKED", "STATUS", "ACTION", "WHAT", "WHO", "UNTIL", "ID"}, rows)
		x.more(meta.Pagination)
	})
}

// approvalArg names the approval that a command is about.
type approvalArg struct {
	ID string `arg:"" help:"The approval (headgate approval list)."`
}

type approvalShowCmd struct{ approvalArg }

func (approvalShowCmd) Help() string { return "Example:\n\n    headgate approval show apr_01k…" }

// Run shows an approval.
func (c *approvalShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetApproval(ctx, c.ID)
	if err != nil {
		return err
	}
	return x.showApproval(data)
}

func (x *env) showApproval(data *client.ApprovalData) error {
	return x.print(data, func() {
		a := data.Approval
		x.pairs([][2]string{
			{"Id", a.ID}, {"Status", a.Status}, {"Action", a.Action}, {"What", a.Reason}, {"About", a.Target}, {"Workspace", a.WorkspaceName}, {"Gate", a.Gate},
			{"Asked by", strings.TrimSpace(a.AskedByName + " (" + a.AskedByKind + " " + a.AskedBy + ")")}, {"Asked", moment(a.CreatedAt)}, {"Until", moment(a.ExpiresAt)},
			{"Decided", momentOr(a.DecidedAt, "")}, {"Decided by", a.DecidedBy}, {"Note", a.Note},
		}...)
	})
}

// deciding is what both decisions take.
type deciding struct {
	approvalArg
	Note string `placeholder:"TEXT" help:"Why, for who asked."`
}

func (d *deciding) decide(ctx context.Context, x *env, decision string) error {
	api, err := x.personal("a person decides approvals")
	if err != nil {
		return err
	}
	data, _, err := api.DecideApproval(ctx, d.ID, client.DecideBody{Decision: decision, Note: optional(d.Note)})
	if err != nil {
		return err
	}
	if err := x.showApproval(data); err != nil {
		return err
	}
	if decision == "approve" {
		x.hint("Who asked must ask again for exactly the same, by %s; it happens once.", moment(data.Approval.ExpiresAt))
	}
	return nil
}

// decideHelp is what both decisions say first.
const decideHelp = "For people: this needs a session (headgate login), whatever HEADGATE_KEY says.\n\n"

type approvalApproveCmd struct{ deciding }

func (approvalApproveCmd) Help() string {
	return decideHelp + `Who asked then asks again for exactly the same, within ten minutes; it happens once.

    headgate approval approve apr_01k…`
}

// Run agrees to an operation.
func (c *approvalApproveCmd) Run(ctx context.Context, x *env) error {
	return c.decide(ctx, x, "approve")
}

type approvalDenyCmd struct{ deciding }

func (approvalDenyCmd) Help() string {
	return decideHelp + `    headgate approval deny apr_01k… --note 'ask me first'`
}

// Run refuses an operation.
func (c *approvalDenyCmd) Run(ctx context.Context, x *env) error {
	return c.decide(ctx, x, "reject")
}

type approvalPolicyCmd struct {
	Set []string `enum:"secrets,keys,destructive,plans,none" placeholder:"GATE" help:"What waits from now on: secrets, keys, destructive; plans (imports by keys need a plan); or none. Repeatable."`
}

func (approvalPolicyCmd) Help() string {
	return `What waits for a person when a key asks for it. Setting it is for people: it needs a session (headgate login).

    headgate approval policy
    headgate approval policy --set secrets,destructive
    headgate approval policy --set none`
}

// Run shows or sets the policy.
func (c *approvalPolicyCmd) Run(ctx context.Context, x *env) error {
	var data *client.PolicyData
	var api *client.Client
	var err error
	if len(c.Set) == 0 {
		if api, err = x.api(); err == nil {
			data, _, err = api.GetApprovalPolicy(ctx)
		}
	} else {
		gates := slices.DeleteFunc(slices.Clone(c.Set), func(g string) bool { return g == "none" })
		if len(gates) > 0 && len(gates) < len(c.Set) {
			return invalid("--set none stands alone")
		}
		if api, err = x.personal("a person sets what waits for approval"); err == nil {
			data, _, err = api.SetApprovalPolicy(ctx, client.PolicyData{Gates: gates})
		}
	}
	if err != nil {
		return err
	}
	return x.print(data, func() {
		if len(data.Gates) == 0 {
			x.say("Nothing waits for a person.")
			return
		}
		x.say("%s", strings.Join(data.Gates, ", "))
	})
}
