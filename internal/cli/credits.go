package cli

import (
	"context"
	"strconv"

	"headgate/client"
)

type creditsCmd struct {
	paging
	Entries bool `help:"Show the ledger instead of the balance."`
}

func (creditsCmd) Help() string {
	return `Shows the account that pays for your calls.

    headgate credits
    headgate credits --entries --limit 20`
}

// Run shows the balance or the ledger.
func (c *creditsCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	if c.Entries {
		return c.entries(ctx, x, api)
	}
	data, _, err := api.GetCredits(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		a := data.Account
		n := func(v int64) string { return strconv.FormatInt(v, 10) }
		x.pairs([][2]string{
			{"Balance", n(a.Balance)}, {"  this month's", n(a.Monthly)}, {"  purchased", n(a.Purchased)}, {"Held for calls", n(a.Held)},
			{"Monthly", n(a.MonthlyAllocation) + ", next on " + moment(a.NextAllocationAt)}, {"Used in all", n(a.TotalUsed) + " in " + n(a.TotalCalls) + " calls"},
			{"Tier", a.Tier}, {"Account", a.ID},
		}...)
	})
}

func (c *creditsCmd) entries(ctx context.Context, x *env, api *client.Client) error {
	data, meta, err := api.ListCreditEntries(ctx, client.ListCreditEntriesParams{Page: c.Page, Limit: c.Limit})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.EntryList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Entries))
		for i, e := range data.Entries {
			what := e.Description
			if what == "" {
				what = e.LogID
			}
			rows[i] = []string{moment(e.CreatedAt), e.Type, strconv.FormatInt(e.Amount, 10), strconv.FormatInt(e.BalanceAfter, 10), short(what, 60)}
		}
		x.table([]string{"TIME", "TYPE", "AMOUNT", "BALANCE", "FOR"}, rows)
		x.more(meta.Pagination)
	})
}

type usageCmd struct {
	By      string `enum:"day,month" default:"day" placeholder:"day|month" help:"Sums by day or by month."`
	Since   string `placeholder:"DATE" help:"From that day on; left out, the last 30 days."`
	Until   string `placeholder:"DATE" help:"Up to that day."`
	Service string `placeholder:"ID" help:"Only this service."`
}

func (usageCmd) Help() string {
	return `Calls and credits by service, from the ledger.

    headgate usage --by month --since 2026-01-01`
}

// Run shows the usage.
func (c *usageCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetUsage(ctx, client.GetUsageParams{By: c.By, StartDate: c.Since, EndDate: c.Until, ServiceID: c.Service})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, 0, len(data.Usage)+1)
		for _, u := range data.Usage {
			rows = append(rows, []string{u.Period, u.ServiceName, strconv.FormatInt(u.Calls, 10), strconv.FormatInt(u.Credits, 10)})
		}
		rows = append(rows, []string{"total", "", strconv.FormatInt(data.Totals.Calls, 10), strconv.FormatInt(data.Totals.Credits, 10)})
		x.table([]string{"PERIOD", "SERVICE", "CALLS", "CREDITS"}, rows)
		if data.Today.Limit != nil {
			x.say("Today: %d of %d requests; starts anew at %s.", data.Today.Requests, *data.Today.Limit, moment(data.Today.Reset))
		}
	})
}

type reconcileCmd struct {
	Since string `placeholder:"WHEN" help:"Compare calls from then on; left out, as far back as the log is kept."`
}

func (reconcileCmd) Help() string {
	return `Compares ledger and log: every charged call has one log line and one settlement, and the totals agree. Needs the
operator key. The exit code is 1 when there are differences.

    HEADGATE_KEY=op_… headgate reconcile`
}

// Run compares ledger and log.
func (c *reconcileCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.AdminReconcile(ctx, client.AdminReconcileParams{StartDate: c.Since})
	if err != nil {
		return err
	}
	r := data.Reconciliation
	err = x.print(data, func() {
		x.pairs([][2]string{
			{"Compared since", moment(r.Since)}, {"Accounts", strconv.FormatInt(r.Accounts, 10)},
			{"Log", strconv.FormatInt(r.Calls, 10) + " charged calls, " + strconv.FormatInt(r.CallCredits, 10) + " credits"},
			{"Ledger", strconv.FormatInt(r.Entries, 10) + " settlements, " + strconv.FormatInt(r.LedgerCredits, 10) + " credits"},
		}...)
		rows := make([][]string, len(r.Differences))
		for i, d := range r.Differences {
			rows[i] = []string{d.Kind, d.AccountID, d.LogID, strconv.FormatInt(d.Ledger, 10), strconv.FormatInt(d.Other, 10)}
		}
		if len(rows) > 0 {
			x.table([]string{"DIFFERENCE", "ACCOUNT", "CALL", "LEDGER", "OTHER"}, rows)
		}
	})
	if err == nil && !r.Ok {
		err = wrong(exitInternal, "DIFFERENCES", "ledger and log differ.\nKeep the database as it is and report this: it must never happen")
	}
	return err
}
