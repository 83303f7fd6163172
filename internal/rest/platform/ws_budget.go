package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/workspace"
)

// maybeCents is an amount that may be left out, or be null.
type maybeCents struct {
	given bool
	cents *int64
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *maybeCents) UnmarshalJSON(text []byte) error {
	m.given, m.cents = true, nil
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	return json.Unmarshal(text, &m.cents)
}

// MarshalJSON implements json.Marshaler.
func (m maybeCents) MarshalJSON() ([]byte, error) {
	if !m.given {
		return []byte(`"absent"`), nil // for whoever sums a request up: not the same as null
	}
	return json.Marshal(m.cents)
}

// Schema implements huma.SchemaProvider.
func (maybeCents) Schema(huma.Registry) *huma.Schema {
	zero, most := 0.0, 100_000_000_000.0
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Nullable: true, Minimum: &zero, Maximum: &most, Description: "Cents a month; null is unlimited."}
}

type setBudget struct {
	ByWorkspace
	Body setBudgetBody
}

type setBudgetBody struct {
	BudgetLimits map[string]*int64 `json:"budgetLimits,omitempty" maxProperties:"4" doc:"The whole map: hourly, daily, weekly, monthly in cents. 0 blocks everything; null or left out is unlimited."`
	BudgetLimit  maybeCents        `json:"budgetLimit,omitempty"`
	Merge        bool              `json:"merge,omitempty" doc:"Change what is named, and leave the other periods as they are."`
}

type periodRow struct {
	Limit     *int64 `json:"limit" doc:"Cents; null is unlimited."`
	Spend     int64  `json:"spend" doc:"Cents, begun ones whole."`
	Remaining *int64 `json:"remaining" doc:"Cents; null is unlimited."`
	SpendUSD  string `json:"spendUsd"`
}

type budgetPeriods struct {
	Hourly  periodRow `json:"hourly"`
	Daily   periodRow `json:"daily"`
	Weekly  periodRow `json:"weekly"`
	Monthly periodRow `json:"monthly"`
}

type budgetData struct {
	WorkspaceID     string        `json:"workspaceId"`
	Periods         budgetPeriods `json:"periods"`
	BudgetLimit     *int64        `json:"budgetLimit" doc:"Of the month."`
	MonthlySpend    int64         `json:"monthlySpend"`
	BudgetRemaining *int64        `json:"budgetRemaining" doc:"Of the month."`
}

type setBilling struct {
	ByWorkspace
	Body setBillingBody
}

type setOrganizationBilling struct{ Body setBillingBody }

type setBillingBody struct {
	Mode *string `json:"mode" nullable:"true" enum:"platform_managed,byok,disabled" doc:"null clears it."`
}

type billingData struct {
	WorkspaceID  string  `json:"workspaceId"`
	Resolved     string  `json:"resolvedMode" enum:"platform_managed,byok,disabled"`
	Override     *string `json:"workspaceOverride"`
	Organization *string `json:"orgDefault"`
	Source       string  `json:"source" enum:"workspace_override,org_default,platform_default"`
}

func (a *api) budgets() {
	tags := []string{"budgets"}
	one := "/workspaces/{workspaceId}"
	rest.Handle(a.door, rest.Op{Method: "GET", Path: one + "/budget", ID: "getBudget", Summary: "A workspace's budget", Tags: tags, Permission: access.WorkspacesRead, Errors: []fault.Kind{fault.Gone},
		Detail: "Windows roll: what was spent counts for an hour, a day, a week, thirty days."},
		func(ctx context.Context, in *ByWorkspace) (*rest.OK[budgetData, rest.Meta], error) {
			return a.answerBudget(a.Budgets.Get(ctx, rest.Principal(ctx).Organization, in.ID))
		})
	rest.Handle(a.door, rest.Op{Method: "PATCH", Path: one + "/budget", ID: "setBudget", Summary: "Replace a workspace's budget", Tags: tags, Permission: access.WorkspacesAdmin, Errors: []fault.Kind{fault.Gone},
		Detail: "The whole map is replaced, unless merge is true: then what is not named stays, and changes at the same time take turns. A call that would go over is refused with 402 and exceeded_periods in its details. When both members are sent, budgetLimits counts."}, a.setBudget)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: one + "/model-billing", ID: "getModelBilling", Summary: "Who pays for a workspace's models", Tags: tags, Permission: access.WorkspacesRead, Errors: []fault.Kind{fault.Gone}},
		func(ctx context.Context, in *ByWorkspace) (*rest.OK[billingData, rest.Meta], error) {
			return answerBilling(a.Workspaces.Billing(ctx, rest.Principal(ctx).Organization, in.ID))
		})
	rest.Handle(a.door, rest.Op{Method: "PUT", Path: one + "/model-billing", ID: "setModelBilling", Summary: "Set who pays for a workspace's models", Tags: tags, Permission: access.WorkspacesAdmin, Errors: []fault.Kind{fault.Gone}},
		func(ctx context.Context, in *setBilling) (*rest.OK[billingData, rest.Meta], error) {
			return a.setBilling(ctx, in.ID, in.Body.Mode)
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/organizations/me/model-billing", ID: "getOrganizationModelBilling", Summary: "Who pays for the organization's models", Tags: tags, Permission: access.WorkspacesRead},
		func(ctx context.Context, _ *rest.None) (*rest.OK[billingData, rest.Meta], error) {
			return answerBilling(a.Workspaces.Billing(ctx, rest.Principal(ctx).Organization, ""))
		})
	rest.Handle(a.door, rest.Op{Method: "PUT", Path: "/organizations/me/model-billing", ID: "setOrganizationModelBilling", Summary: "Set who pays for the organization's models", Tags: tags, Permission: access.WorkspacesAdmin},
		func(ctx context.Context, in *setOrganizationBilling) (*rest.OK[billingData, rest.Meta], error) {
			return a.setBilling(ctx, "", in.Body.Mode)
		})
}

// centsOf shows a limit; nil is unlimited.
func centsOf(cents int64) *int64 {
	if cents == budget.Unlimited {
		return nil
	}
	return &cents
}

// centsUp shows spending in cents, a begun one whole.
func centsUp(micros int64) int64 { return (micros + budget.MicrosPerCent - 1) / budget.MicrosPerCent }

func (a *api) answerBudget(b budget.Budget, err error) (*rest.OK[budgetData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	row := func(p budget.Period) periodRow {
		r := periodRow{Limit: centsOf(b.Limits[p]), Spend: centsUp(b.Spent[p]), SpendUSD: fmt.Sprintf("%d.%06d", b.Spent[p]/1_000_000, b.Spent[p]%1_000_000)}
		if left := b.Remaining(p); left != budget.Unlimited {
			r.Remaining = new(left / budget.MicrosPerCent)
		}
		return r
	}
	month := row(budget.Monthly)
	return ok(budgetData{b.Workspace, budgetPeriods{row(budget.Hourly), row(budget.Daily), row(budget.Weekly), month}, month.Limit, month.Spend, month.Remaining}, "")
}

func (a *api) setBudget(ctx context.Context, in *setBudget) (*rest.OK[budgetData, rest.Meta], error) {
	named := map[budget.Period]int64{}
	name := func(p budget.Period, cents *int64) {
		if named[p] = budget.Unlimited; cents != nil {
			named[p] = *cents
		}
	}
	switch {
	case in.Body.BudgetLimits != nil:
		for word, cents := range in.Body.BudgetLimits {
			p, known := budget.PeriodOf(word)
			if !known || cents != nil && *cents < 0 {
				return nil, budget.ErrLimits
			}
			name(p, cents)
		}
	case in.Body.BudgetLimit.given:
		name(budget.Monthly, in.Body.BudgetLimit.cents)
	default:
		return nil, rest.Invalid(rest.Problem{Field: "body", Message: "needs budgetLimits or budgetLimit"})
	}
	by := rest.Principal(ctx)
	return a.answerBudget(a.Budgets.Change(ctx, by, by.Organization, in.ID, func(limits budget.Limits) budget.Limits {
		if !in.Body.Merge {
			limits = budget.NoLimits
		}
		for p, cents := range named {
			limits[p] = cents
		}
		return limits
	}))
}

func (a *api) setBilling(ctx context.Context, ws string, mode *string) (*rest.OK[billingData, rest.Meta], error) {
	by, to := rest.Principal(ctx), ""
	if mode != nil {
		to = *mode
	}
	return answerBilling(a.Workspaces.SetBilling(ctx, by, by.Organization, ws, workspace.Mode(to)))
}

func answerBilling(b workspace.Billing, err error) (*rest.OK[billingData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	said := func(m workspace.Mode) *string {
		if m == "" {
			return nil
		}
		return new(string(m))
	}
	return ok(billingData{b.Workspace, string(b.Resolved), said(b.Override), said(b.Organization), b.Source}, "")
}
