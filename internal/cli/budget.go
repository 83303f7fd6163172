package cli

import (
	"context"
	"strconv"

	"headgate/client"
)

// budgetCmd are the commands on budgets.
type budgetCmd struct {
	Show budgetShowCmd `cmd:"" help:"Show what a workspace may spend, and has."`
	Set  budgetSetCmd  `cmd:"" help:"Change what a workspace may spend."`
}

type budgetShowCmd struct{ workspaceArg }

func (budgetShowCmd) Help() string {
	return `In cents. The windows roll: what was spent counts for an hour, a day, a week, thirty days.

    headgate budget show research`
}

// Run shows a budget.
func (c *budgetShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetBudget(ctx, c.Workspace)
	if err != nil {
		return err
	}
	return x.showBudget(data)
}

func (x *env) showBudget(data *client.BudgetData) error {
	return x.print(data, func() {
		var rows [][]string
		for _, p := range periods(&data.Periods) {
			rows = append(rows, []string{p.name, cents(p.Limit), cents(&p.Spend), cents(p.Remaining)})
		}
		x.table([]string{"PER", "LIMIT", "SPENT", "LEFT"}, rows)
	})
}

type period struct {
	name, word string // of the command line, of the API
	client.PeriodRow
}

func periods(p *client.BudgetPeriods) []period {
	return []period{{"hour", "hourly", p.Hourly}, {"day", "daily", p.Daily}, {"week", "weekly", p.Weekly}, {"month", "monthly", p.Monthly}}
}

type budgetSetCmd struct {
	workspaceArg
	Hour  string `placeholder:"CENTS" help:"Cents in an hour, or none for no limit; 0 blocks every call."`
	Day   string `placeholder:"CENTS" help:"In a day."`
	Week  string `placeholder:"CENTS" help:"In a week."`
	Month string `placeholder:"CENTS" help:"In thirty days."`
}

func (budgetSetCmd) Help() string {
	return `What is not named stays. A call that would go over is refused before anything is called, and costs nothing.

    headgate budget set research --day 500 --month 10000
    headgate budget set research --hour none`
}

// Run changes a budget, in one step, so that nobody's change at the same time is
// lost.
func (c *budgetSetCmd) Run(ctx context.Context, x *env) error {
	named := map[string]*int64{}
	for _, f := range [][3]string{{"hourly", "hour", c.Hour}, {"daily", "day", c.Day}, {"weekly", "week", c.Week}, {"monthly", "month", c.Month}} {
		word, flag, value := f[0], f[1], f[2]
		switch value {
		case "":
			continue
		case "none":
			named[word] = nil
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return invalid("--%s is a number of whole cents, or none for no limit", flag)
		}
		named[word] = &n
	}
	if len(named) == 0 {
		return invalid("give at least one of --hour, --day, --week and --month.\nSee: headgate budget set --help")
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.SetBudget(ctx, c.Workspace, client.SetBudgetBody{BudgetLimits: named, Merge: new(true)})
	if err != nil {
		return err
	}
	return x.showBudget(data)
}
