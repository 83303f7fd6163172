package platform

import (
	"context"
	"encoding/json"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/template"
	"headgate/internal/workspace"
)

// The gates that operations declare; see approval.
const (
	gateSecrets     = string(approval.Secrets)
	gateKeys        = string(approval.Keys)
	gateDestructive = string(approval.Destructive)
)

type approvalRow struct {
	ID            string    `json:"id"`
	WorkspaceID   string    `json:"workspaceId"`
	WorkspaceName string    `json:"workspaceName"`
	Action        string    `json:"action" doc:"The operation's id."`
	Target        string    `json:"target"`
	Gate          string    `json:"gate"`
	Reason        string    `json:"reason"`
	Status        string    `json:"status" enum:"pending,approved,rejected,used,expired"`
	AskedByKind   string    `json:"askedByKind"`
	AskedBy       string    `json:"askedBy"`
	AskedByName   string    `json:"askedByName"`
	DecidedBy     string    `json:"decidedBy"`
	Note          string    `json:"note"`
	CreatedAt     rest.Time `json:"createdAt"`
	ExpiresAt     rest.Time `json:"expiresAt"`
	DecidedAt     rest.Time `json:"decidedAt" nullable:"true"`
}

type approvalList struct {
	Approvals []approvalRow `json:"approvals"`
}

type approvalData struct {
	Approval approvalRow `json:"approval"`
}

type listApprovals struct {
	rest.Page
	Pending bool `query:"pending" doc:"Only those that wait."`
}

type byApproval struct {
	ID string `path:"approvalId" maxLength:"64"`
}

type decideApproval struct {
	ID   string `path:"approvalId" maxLength:"64"`
	Body decideBody
}

type decideBody struct {
	Decision string `json:"decision" enum:"approve,reject"`
	Note     string `json:"note,omitempty" maxLength:"500"`
}

type policyData struct {
	Gates []string `json:"gates" enum:"secrets,keys,destructive,plans" doc:"What waits for a person when a key asks for it. plans: imports must be planned first."`
}

type setPolicy struct{ Body policyData }

func (a *api) approvals() {
	tags := []string{"approvals"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/approvals", ID: "listApprovals", Summary: "Operations that wait for a person, or have", Tags: tags, Permission: access.WorkspacesAdmin,
		Detail: "Reading changes nothing: what was not decided within ten minutes reads expired."}, a.listApprovals)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/approvals/{approvalId}", ID: "getApproval", Summary: "An approval", Tags: tags, Permission: access.WorkspacesAdmin},
		func(ctx context.Context, in *byApproval) (*rest.OK[approvalData, rest.Meta], error) {
			return a.answerApproval(ctx)(a.Approvals.Get(ctx, rest.Principal(ctx).Organization, in.ID))
		})
	rest.Handle(a.door, rest.Op{Method: "POST", Path: "/approvals/{approvalId}/decide", ID: "decideApproval", Summary: "Agree to an operation, or refuse it", Tags: tags, Permission: access.WorkspacesAdmin,
		Audience: []access.Kind{access.Session}, Errors: []fault.Kind{fault.Conflict}, Detail: "For people alone. Who asked then asks again, within ten minutes, for exactly the same; it happens once."},
		func(ctx context.Context, in *decideApproval) (*rest.OK[approvalData, rest.Meta], error) {
			return a.answerApproval(ctx)(a.Approvals.Decide(ctx, rest.Principal(ctx), in.ID, in.Body.Decision == "approve", in.Body.Note))
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/approval-policy", ID: "getApprovalPolicy", Summary: "What waits for a person", Tags: tags, Permission: access.WorkspacesAdmin},
		func(ctx context.Context, _ *rest.None) (*rest.OK[policyData, rest.Meta], error) {
			return answerPolicy(a.Approvals.Policy(ctx, rest.Principal(ctx).Organization))
		})
	rest.Handle(a.door, rest.Op{Method: "PUT", Path: "/approval-policy", ID: "setApprovalPolicy", Summary: "Say what waits for a person", Tags: tags, Permission: access.OrgManage, Audience: []access.Kind{access.Session}},
		func(ctx context.Context, in *setPolicy) (*rest.OK[policyData, rest.Meta], error) {
			gates := make([]approval.Gate, len(in.Body.Gates))
			for i, g := range in.Body.Gates {
				gates[i] = approval.Gate(g)
			}
			return answerPolicy(a.Approvals.SetPolicy(ctx, rest.Principal(ctx), gates))
		})
}

func answerPolicy(gates []approval.Gate, err error) (*rest.OK[policyData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	var data policyData
	for _, g := range gates {
		data.Gates = append(data.Gates, string(g))
	}
	return ok(data, "")
}

func (a *api) approvalRow(ctx context.Context, p *approval.Approval) approvalRow {
	r := approvalRow{p.ID, p.Workspace, "", p.Action, p.Target, string(p.Gate), p.Reason, string(p.Status), p.AskedByKind, p.AskedBy, p.AskedByName, p.DecidedBy, p.Note,
		rest.At(p.CreatedAt), rest.At(p.ExpiresAt), rest.At(p.DecidedAt)}
	if p.Workspace != "" {
		if w, err := a.Workspaces.Get(ctx, p.Organization, p.Workspace); err == nil {
			r.WorkspaceName = w.Name
		}
	}
	return r
}

func (a *api) answerApproval(ctx context.Context) func(approval.Approval, error) (*rest.OK[approvalData, rest.Meta], error) {
	return func(p approval.Approval, err error) (*rest.OK[approvalData, rest.Meta], error) {
		if err != nil {
			return nil, err
		}
		return ok(approvalData{a.approvalRow(ctx, &p)}, "")
	}
}

func (a *api) listApprovals(ctx context.Context, in *listApprovals) (*rest.OK[approvalList, rest.Paged], error) {
	found, total, err := a.Approvals.List(ctx, rest.Principal(ctx).Organization, in.Pending, in.Limit, in.Offset())
	if err != nil {
		return nil, err
	}
	var list approvalList
	for i := range found {
		list.Approvals = append(list.Approvals, a.approvalRow(ctx, &found[i]))
	}
	return rest.Ok(list, in.Of(total)), nil
}

// gate holds an operation back that the organization's policy wants a person
// to agree to. A plan or a look ahead changes nothing and passes.
func (a *api) gate(ctx context.Context, op rest.Op, input []byte) (context.Context, any, error) {
	if a.Approvals == nil {
		return ctx, nil, nil
	}
	var in struct {
		ID, Key string
		DryRun  bool
		Body    struct {
			DryRun      bool   `json:"dryRun"`
			Mode        string `json:"mode"`
			Runtime     string `json:"runtime"`
			WorkspaceID string `json:"workspaceId"`
			Slug, Name  string // of what is made
		}
	}
	if err := json.Unmarshal(input, &in); err != nil {
		return ctx, nil, err
	}
	harmless := op.ID == "importOrganization" && op.Gate == gateDestructive && in.Body.Mode != string(template.Reconcile) ||
		op.ID == "createWorkspace" && op.Gate == gateKeys && in.Body.Runtime != string(workspace.External)
	if in.DryRun || in.Body.DryRun || harmless {
		return ctx, nil, nil
	}
	by := rest.Principal(ctx)
	ask := approval.Operation{Gate: approval.Gate(op.Gate), Action: op.ID, Target: in.Key, Reason: op.Summary, Arguments: input}
	name := in.ID
	if name == "" {
		name = in.Body.WorkspaceID
	}
	if w, err := a.Workspaces.Get(ctx, by.Organization, name); name != "" && err == nil {
		ask.Workspace = w.ID
		if ask.Target == "" {
			ask.Target = w.ID
		}
	}
	for _, target := range []string{in.ID, in.Body.Slug, in.Body.Name} {
		if ask.Target == "" {
			ask.Target = target
		}
	}
	ctx, waits, err := a.Approvals.Check(ctx, by, ask)
	if err != nil || waits == nil {
		return ctx, nil, err
	}
	return ctx, rest.Ok(approvalData{a.approvalRow(ctx, waits)}, rest.Meta{Message: "A person must approve this first (POST /v1/approvals/" + waits.ID + "/decide). Then ask again for exactly the same, within ten minutes."}), nil
}
