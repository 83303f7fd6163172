package cli

import (
	"context"

	"headgate/client"
)

// scheduleCmd are the commands on diagnoses that happen by themselves.
type scheduleCmd struct {
	List   scheduleListCmd   `cmd:"" help:"List schedules."`
	Show   scheduleShowCmd   `cmd:"" help:"Show a server's schedule."`
	Set    scheduleSetCmd    `cmd:"" help:"Have a server examined by itself."`
	Remove scheduleRemoveCmd `cmd:"" aliases:"rm" help:"Stop that."`
}

type scheduleListCmd struct{}

func (scheduleListCmd) Help() string {
	return "Servers that are examined by themselves.\n\n    headgate schedule list"
}

// Run lists schedules.
func (scheduleListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ListSchedules(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Schedules))
		for i, s := range data.Schedules {
			rows[i] = []string{s.ServerID, s.Cron, yes(s.Enabled), momentOr(s.NextAt, "-"), momentOr(s.LastAt, "never"), s.LastReportID}
		}
		x.table([]string{"SERVER", "CRON (UTC)", "ON", "NEXT", "LAST", "REPORT"}, rows)
	})
}

type scheduleShowCmd struct {
	workspaceFlag
	Server string `arg:"" help:"The server."`
}

func (scheduleShowCmd) Help() string { return "Example:\n\n    headgate schedule show weather" }

// Run shows a schedule.
func (c *scheduleShowCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Server)
	if err != nil {
		return err
	}
	data, _, err := api.GetSchedule(ctx, s.ID)
	if err != nil {
		return err
	}
	return x.print(data, func() { x.schedule(s.Slug, &data.Schedule) })
}

func (x *env) schedule(server string, s *client.DiagnosisSchedule) {
	x.pairs([2]string{"Server", server}, [2]string{"Cron (UTC)", s.Cron}, [2]string{"On", yes(s.Enabled)},
		[2]string{"Next", momentOr(s.NextAt, "-")}, [2]string{"Last", momentOr(s.LastAt, "never")}, [2]string{"Report", s.LastReportID})
}

type scheduleSetCmd struct {
	workspaceFlag
	Server string `arg:"" help:"The server."`
	Cron   string `arg:"" help:"minute hour day month weekday, in UTC; at most once in five minutes."`
	Off    bool   `help:"Keep it without following it."`
}

func (scheduleSetCmd) Help() string {
	return `Replaces the schedule that is there. Its reports: headgate reports

    headgate schedule set weather '0 6 * * 1-5'`
}

// Run sets a schedule.
func (c *scheduleSetCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Server)
	if err != nil {
		return err
	}
	data, _, err := api.SetSchedule(ctx, s.ID, client.SetScheduleBody{Cron: c.Cron, Enabled: new(!c.Off)})
	if err != nil {
		return err
	}
	return x.print(data, func() { x.schedule(s.Slug, &data.Schedule) })
}

type scheduleRemoveCmd struct {
	workspaceFlag
	Server string `arg:"" help:"The server."`
}

func (scheduleRemoveCmd) Help() string { return "Example:\n\n    headgate schedule remove weather" }

// Run removes a schedule.
func (c *scheduleRemoveCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Server)
	if err != nil {
		return err
	}
	return api.DeleteSchedule(ctx, s.ID)
}
