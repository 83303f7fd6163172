package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

// selfPath is where a workspace's own key may go, and nowhere else.
const selfPath = "/v1/self"

type listOwnEvents struct{ rest.Page }

// self registers what one workspace may see and do about itself, with its key.
func (a *api) self() {
	op := func(method, path, id, summary string, errs ...fault.Kind) rest.Op {
		return rest.Op{Method: method, Path: "/self" + path, ID: id, Summary: summary, Tags: []string{"self"}, Guard: rest.AnyPrincipal, Audience: []access.Kind{access.WorkspaceKey},
			Errors: errs, Detail: "For the workspace's own key."}
	}
	rest.Handle(a.door, op("GET", "", "getSelf", "This workspace"), func(ctx context.Context, _ *rest.None) (*rest.OK[workspaceDetailData, rest.Meta], error) {
		by := rest.Principal(ctx)
		return a.getWorkspace(ctx, &getWorkspace{ByWorkspace: ByWorkspace{by.Workspace}})
	})
	rest.Handle(a.door, op("GET", "/budget", "getOwnBudget", "This workspace's budget"), func(ctx context.Context, _ *rest.None) (*rest.OK[budgetData, rest.Meta], error) {
		by := rest.Principal(ctx)
		return a.answerBudget(a.Budgets.Get(ctx, by.Organization, by.Workspace))
	})
	rest.Handle(a.door, op("GET", "/model-billing", "getOwnModelBilling", "Who pays for this workspace's models"), func(ctx context.Context, _ *rest.None) (*rest.OK[billingData, rest.Meta], error) {
		by := rest.Principal(ctx)
		return answerBilling(a.Workspaces.Billing(ctx, by.Organization, by.Workspace))
	})
	rest.Handle(a.door, op("GET", "/secrets", "listOwnSecrets", "The secrets this workspace sees, without values"), func(ctx context.Context, _ *rest.None) (*rest.OK[secretList, rest.Meta], error) {
		return a.listSecrets(ctx, rest.Principal(ctx).Workspace)
	})
	rest.Handle(a.door, op("GET", "/events", "listOwnEvents", "What was changed about this workspace"), func(ctx context.Context, in *listOwnEvents) (*rest.OK[eventList, rest.Paged], error) {
		by := rest.Principal(ctx)
		return a.eventPage(ctx, activity.EventFilter{Organization: by.Organization, Workspace: by.Workspace}, in.Page)
	})
	rest.Handle(a.door, op("POST", "/restart", "restartSelf", "Make this workspace's sessions and processes anew", fault.Conflict), func(ctx context.Context, _ *rest.None) (*rest.OK[restartedData, rest.Meta], error) {
		by := rest.Principal(ctx)
		return a.restart(ctx, asWorkspace(by), by.Organization, by.Workspace)
	})
}

// asWorkspace lets a workspace's key do to its own workspace what otherwise
// those do who manage the organization; the trail still names the key.
func asWorkspace(by *access.Principal) *access.Principal {
	own := *by
	own.Role, own.Scopes = access.Admin, access.Every
	return &own
}
