package cli

import (
	"context"
	"time"

	"headgate/client"
)

// auditCmd are the commands on the audit trail.
type auditCmd struct {
	List auditListCmd `cmd:"" help:"List who changed what."`
}

type auditListCmd struct {
	paging
	Action string `placeholder:"ACTION" help:"One action (key.create), or all on a noun (key.)."`
	Actor  string `placeholder:"ID" help:"Only what this user or key did."`
	Target string `placeholder:"ID" help:"Only what was done to this."`
	Since  string `placeholder:"WHEN" help:"From then on: a date, a moment, or a time ago such as 2h or 7d."`
}

func (auditListCmd) Help() string {
	return `Newest first.

    headgate audit list --action key. --since 7d`
}

// Run lists events.
func (c *auditListCmd) Run(ctx context.Context, x *env) error {
	since, err := when(c.Since, time.Now())
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListAuditEvents(ctx, client.ListAuditEventsParams{Page: c.Page, Limit: c.Limit, Action: c.Action, ActorID: c.Actor, TargetID: c.Target, StartDate: since})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.EventList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Events))
		for i, e := range data.Events {
			rows[i] = []string{moment(e.CreatedAt), e.Action, e.ActorName, e.TargetType + " " + e.TargetID, e.IPAddress}
		}
		x.table([]string{"TIME", "ACTION", "WHO", "WHAT", "ADDRESS"}, rows)
		x.more(meta.Pagination)
	})
}
