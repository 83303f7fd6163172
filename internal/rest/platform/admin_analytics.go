package platform

import (
	"context"
	"time"

	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/rest"
)

type accountTotals struct {
	Accounts   int64 `json:"accounts"`
	Active     int64 `json:"active"`
	Personal   int64 `json:"personal"`
	Balance    int64 `json:"balance"`
	Monthly    int64 `json:"monthly"`
	Purchased  int64 `json:"purchased"`
	Held       int64 `json:"held"`
	Allocation int64 `json:"monthlyAllocation"`
	TotalCalls int64 `json:"totalCalls"`
	TotalUsed  int64 `json:"totalUsed"`
}

type accountTotalsData struct {
	Totals accountTotals `json:"totals"`
}

type toolUsage struct {
	ServiceID      string `json:"serviceId"`
	ServiceName    string `json:"serviceName"`
	Tool           string `json:"tool"`
	Calls          int64  `json:"calls"`
	Errors         int64  `json:"errors"`
	BackendErrors  int64  `json:"backendErrors"`
	CreditsCost    int64  `json:"creditsCost"`
	CreditsCharged int64  `json:"creditsCharged"`
	AvgLatencyMs   int64  `json:"avgLatencyMs"`
}

type toolUsageList struct {
	Tools []toolUsage `json:"tools"`
}

type creditFlow struct {
	Day     string `json:"day"`
	Type    string `json:"type"`
	Entries int64  `json:"entries"`
	Credits int64  `json:"credits"`
}

type creditFlowList struct {
	Days []creditFlow `json:"days"`
}

type lastDays struct {
	Days int `query:"days" minimum:"1" maximum:"90" default:"30"`
}

type priceRow struct {
	ServiceID string           `json:"serviceId"`
	Service   string           `json:"service"`
	Price     int64            `json:"price"`
	ReadPrice int64            `json:"readPrice"`
	Tools     map[string]int64 `json:"tools"`
}

type priceList struct {
	Prices []priceRow `json:"prices"`
}

type difference struct {
	Kind           string `json:"kind"`
	OrganizationID string `json:"organizationId"`
	AccountID      string `json:"accountId"`
	LogID          string `json:"logId,omitempty"`
	Ledger         int64  `json:"ledger" doc:"What the ledger says."`
	Other          int64  `json:"other" doc:"What the log or the account says."`
}

type reconciliation struct {
	OK            bool         `json:"ok"`
	Since         rest.Time    `json:"since"`
	At            rest.Time    `json:"at"`
	Calls         int64        `json:"calls" doc:"Charged lines of the log."`
	CallCredits   int64        `json:"callCredits"`
	Entries       int64        `json:"entries" doc:"Settlements in the ledger."`
	LedgerCredits int64        `json:"ledgerCredits"`
	Accounts      int64        `json:"accounts"`
	Differences   []difference `json:"differences"`
	More          bool         `json:"more" doc:"There are more than listed."`
}

type reconciliationData struct {
	Reconciliation reconciliation `json:"reconciliation"`
}

type reconcile struct {
	StartDate string `query:"startDate" maxLength:"40" doc:"Compare calls from here on; left out, as far back as the log is kept."`
}

func (a *api) adminAnalytics() {
	rest.Handle(a.door, adminOp("GET", "/analytics/accounts", "adminAccountTotals", "What all accounts hold"), a.adminAccountTotals)
	rest.Handle(a.door, adminOp("GET", "/analytics/tools", "adminToolUsage", "Use of tools over all organizations"), a.adminToolUsage)
	rest.Handle(a.door, adminOp("GET", "/analytics/credits", "adminCreditHistory", "What moved in the ledger, by day and type"), a.adminCreditHistory)
	rest.Handle(a.door, adminOp("GET", "/prices", "adminListPrices", "The price list of services on offer"), a.adminListPrices)
	op := adminOp("GET", "/reconciliation", "adminReconcile", "Compare the ledger with the call log")
	op.Timeout = 10 * time.Minute
	rest.Handle(a.door, op, a.adminReconcile)
}

func (a *api) adminAccountTotals(ctx context.Context, _ *rest.None) (*rest.OK[accountTotalsData, rest.Meta], error) {
	t, err := a.Credits.Totals(ctx, rest.Principal(ctx))
	if err != nil {
		return nil, err
	}
	return ok(accountTotalsData{accountTotals{t.Accounts, t.Active, t.Personal, t.Monthly + t.Purchased, t.Monthly, t.Purchased, t.Leased, t.Allocation, t.TotalCalls, t.TotalUsed}}, "")
}

func (a *api) adminToolUsage(ctx context.Context, in *lastDays) (*rest.OK[toolUsageList, rest.Meta], error) {
	tools, err := activity.ToolUse(ctx, a.Store, a.Now().AddDate(0, 0, -in.Days))
	if err != nil {
		return nil, err
	}
	var list toolUsageList
	var ids []string
	for _, t := range tools {
		ids = append(ids, t.Service)
		list.Tools = append(list.Tools, toolUsage{t.Service, "", t.Name, t.Calls, t.Errors, t.BackendErrors, t.Cost, t.Charged, t.AverageLatency.Milliseconds()})
	}
	names, err := catalog.ServiceNames(ctx, a.Store, ids)
	if err != nil {
		return nil, err
	}
	for i := range list.Tools {
		list.Tools[i].ServiceName = names[list.Tools[i].ServiceID]
	}
	return ok(list, "")
}

func (a *api) adminCreditHistory(ctx context.Context, in *lastDays) (*rest.OK[creditFlowList, rest.Meta], error) {
	now := a.Now().UTC()
	flows, err := a.Credits.Flows(ctx, rest.Principal(ctx), now.AddDate(0, 0, 1-in.Days).Truncate(24*time.Hour), now.Add(time.Minute))
	if err != nil {
		return nil, err
	}
	var list creditFlowList
	for _, f := range flows {
		list.Days = append(list.Days, creditFlow{f.Day.Format(time.DateOnly), f.Type, f.Entries, f.Credits})
	}
	return ok(list, "")
}

func (a *api) adminListPrices(ctx context.Context, in *rest.Page) (*rest.OK[priceList, rest.Paged], error) {
	by := rest.Principal(ctx)
	services, total, err := a.Catalog.ListServices(ctx, by, "", catalog.Page{Limit: in.Limit, Offset: in.Offset()})
	if err != nil {
		return nil, err
	}
	var list priceList
	for _, s := range services {
		p, err := a.Catalog.Prices(ctx, by, s.ID, time.Time{})
		if err != nil {
			return nil, err
		}
		shown := pricesOf(p).Prices
		list.Prices = append(list.Prices, priceRow{s.ID, s.Name, shown.Price, shown.ReadPrice, shown.Tools})
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) adminReconcile(ctx context.Context, in *reconcile) (*rest.OK[reconciliationData, rest.Meta], error) {
	since := a.Now().Add(-a.LogsKept).Add(24 * time.Hour) // the oldest day may be half gone
	if in.StartDate != "" {
		var err error
		if since, err = moment("query.startDate", in.StartDate, false); err != nil {
			return nil, err
		}
	}
	r, err := a.Credits.Reconcile(ctx, since)
	if err != nil {
		return nil, err
	}
	out := reconciliation{OK: r.OK, Since: rest.At(r.Since), At: rest.At(r.At), Calls: r.Calls, CallCredits: r.CallCredits, Entries: r.Entries, LedgerCredits: r.Credits, Accounts: r.Accounts, More: r.More}
	for _, d := range r.Differences {
		out.Differences = append(out.Differences, differenceOf(d))
	}
	return ok(reconciliationData{out}, "")
}

func differenceOf(d credit.Difference) difference {
	return difference{d.Kind, d.Organization, d.Account, d.Call, d.Ledger, d.Other}
}
