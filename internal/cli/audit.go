package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"headgate/client"
	"headgate/internal/db"
)

// auditCmd are the commands on the audit trail.
type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List who changed what."`
	Export auditExportCmd `cmd:"" help:"Print all that match as JSON."`
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

// auditFilter picks events.
type auditFilter struct {
	Action    string `placeholder:"ACTION" help:"One action (key.create), or all on a noun (key.)."`
	Actor     string `placeholder:"ID" help:"Only what this user or key did."`
	Target    string `placeholder:"ID" help:"Only what was done to this."`
	Workspace string `placeholder:"SLUG" help:"Only what was done in this workspace; of a removed one, its id."`
	Since     string `placeholder:"WHEN" help:"From then on: a date, a moment, or a time ago such as 2h or 7d."`
	Until     string `placeholder:"WHEN" help:"Up to then."`
}

// period reads the two moments.
func (f *auditFilter) period() (since, until string, err error) {
	now := time.Now()
	if since, err = when(f.Since, now); err != nil {
		return "", "", err
	}
	until, err = when(f.Until, now)
	return since, until, err
}

type auditListCmd struct {
	paging
	auditFilter
}

func (auditListCmd) Help() string {
	return `Newest first.

    headgate audit list --action key. --since 7d
    headgate audit list --workspace research`
}

// Run lists events.
func (c *auditListCmd) Run(ctx context.Context, x *env) error {
	since, until, err := c.period()
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListAuditEvents(ctx, client.ListAuditEventsParams{Page: c.Page, Limit: c.Limit, Action: c.Action, ActorID: c.Actor, TargetID: c.Target,
		WorkspaceID: c.Workspace, StartDate: since, EndDate: until})
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

type auditExportCmd struct {
	auditFilter
	Limit int64 `placeholder:"N" default:"50000" help:"The newest N, at most 100,000; left out, 50,000."`
}

func (auditExportCmd) Help() string {
	return `Prints the events that match as one JSON document, newest first; more says whether there are older ones.

    headgate audit export --since 2026-07-01 --until 2026-07-31 > july.json
    headgate audit export --workspace research --action secret.`
}

// Run prints the trail.
func (c *auditExportCmd) Run(ctx context.Context, x *env) error {
	since, until, err := c.period()
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"startDate": since, "endDate": until, "action": c.Action, "actorId": c.Actor, "targetId": c.Target, "workspaceId": c.Workspace} {
		if value != "" {
			query.Set(name, value)
		}
	}
	query.Set("limit", strconv.FormatInt(c.Limit, 10))
	// Read whole, so that an answer that was cut short is an error and nothing is printed.
	var all struct {
		Data struct {
			Events []json.RawMessage `json:"events"`
		} `json:"data"`
		Meta struct {
			Count int64 `json:"count"`
			More  bool  `json:"more"`
		} `json:"meta"`
	}
	if err := api.Send(ctx, "GET", "/v1/logs/audit/export.json?"+query.Encode(), nil, &all); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(`{"events":[`)
	for i, e := range all.Data.Events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(e)
	}
	_, _ = fmt.Fprintf(&b, "],\n\"count\":%d,\"more\":%t}\n", all.Meta.Count, all.Meta.More)
	if _, err := x.out.Write(b.Bytes()); err != nil {
		return err
	}
	if all.Meta.More {
		x.hint("There may be older ones: take them with --until, or fewer at a time with --since.")
	}
	return nil
}
