package cli

import (
	"context"
	"errors"
	"time"

	"headgate/client"
	"headgate/internal/db"
)

// auditCmd are the commands on the audit trail.
type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List who changed what."`
	Verify auditVerifyCmd `cmd:"" help:"Find edits, deletions, reordering and cut-off ends (operators)."`
}

type auditVerifyCmd struct{ settingFlags }

func (auditVerifyCmd) Help() string {
	return `Walks the audit trail of every tenant and holds each to the signed checkpoint that is kept outside the database, in the
data directory. It names the first event that does not fit, and exits with 1 then. Where a server runs on the SQLite store,
that one is asked, with the operator key.

    headgate audit verify
    headgate audit verify --database postgres://…`
}

// Run verifies the trails, here or where the store is open.
func (c *auditVerifyCmd) Run(ctx context.Context, x *env) error {
	s, err := c.load(x)
	if err != nil {
		return err
	}
	data, err := x.program.VerifyAudit(ctx, s)
	if errors.Is(err, db.ErrInUse) {
		data, err = x.verifyRemote(ctx)
	} else {
		err = here(err)
	}
	if err != nil {
		return err
	}
	err = x.print(data, func() {
		for _, t := range data.Trails {
			if t.Sound {
				x.say("%s: %d events, sound", t.TenantID, t.Events)
			} else {
				x.say("%s: NOT SOUND at event %d: %s", t.TenantID, t.BadEvent, t.Problem)
			}
		}
	})
	if err == nil && !data.Sound {
		err = wrong(exitInternal, "AUDIT_NOT_SOUND", "an audit trail is not sound: somebody has changed it in the database, or cut it off")
	}
	return err
}

func (x *env) verifyRemote(ctx context.Context) (*client.VerdictData, error) {
	api, err := x.operator()
	if err != nil {
		return nil, err
	}
	data, _, err := api.AdminVerifyAudit(ctx)
	return data, err
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
