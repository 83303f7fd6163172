package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"headgate/client"
)

type logsCmd struct {
	paging
	ID     string `arg:"" optional:"" help:"One call, with its request and response; left out, the list."`
	Follow bool   `short:"f" help:"Print calls as they are made, until interrupted."`
	CSV    bool   `name:"csv" help:"Print all that match, as CSV."`

	Server    string `placeholder:"NAME" help:"Only calls of this server."`
	Service   string `placeholder:"ID" help:"Only calls of this service."`
	Workspace string `placeholder:"ID" help:"Only calls in this workspace."`
	User      string `placeholder:"ID" help:"Only calls of this user."`
	KeyID     string `name:"key" placeholder:"ID" help:"Only calls with this key or session."`
	Status    string `enum:",success,error" default:"" placeholder:"success|error" help:"Only calls that ended so."`
	Error     string `placeholder:"CODE" help:"Only calls that failed with this code."`
	Tool      string `placeholder:"NAME" help:"Only uses of this tool, resource or prompt."`
	Since     string `placeholder:"WHEN" help:"From then on: a date, a moment, or a time ago such as 2h or 7d."`
	Until     string `placeholder:"WHEN" help:"Up to then."`
}

func (logsCmd) Help() string {
	return `Newest first. Without the right to see everybody's calls, only your own are shown.

    headgate logs --since 1h --status error
    headgate logs -f --server demo
    headgate logs log_01k… --json
    headgate logs --since 2026-07-01 --csv > july.csv`
}

// Run shows the log of calls.
func (c *logsCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	if c.ID != "" {
		return c.one(ctx, x, api)
	}
	since, err := when(c.Since, time.Now())
	if err != nil {
		return err
	}
	until, err := when(c.Until, time.Now())
	if err != nil {
		return err
	}
	server := c.Server
	if server != "" {
		s, err := workspaceFlag{c.Workspace}.server(ctx, api, server)
		if err != nil {
			return err
		}
		server = s.ID
	}
	p := client.ListRequestLogsParams{Page: c.Page, Limit: c.Limit, ServerID: server, ServiceID: c.Service, WorkspaceID: c.Workspace, UserID: c.User,
		CredentialID: c.KeyID, Status: c.Status, ErrorCode: c.Error, Operation: c.Tool, StartDate: since, EndDate: until}
	switch {
	case c.Follow:
		return (&follower{env: x, api: api, params: p}).run(ctx)
	case c.CSV:
		return c.export(ctx, x, api, p)
	}
	data, meta, err := api.ListRequestLogs(ctx, p)
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.LogList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Logs))
		for i, l := range data.Logs {
			rows[i] = logCells(&l)
		}
		x.table([]string{"TIME", "STATUS", "MS", "CREDITS", "SERVICE", "OPERATION", "ID"}, rows)
		x.more(meta.Pagination)
	})
}

// when reads a moment: a date, an ISO 8601 moment, or a time ago.
func when(text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if _, err := time.Parse(form, text); err == nil {
			return text, nil
		}
	}
	ago, err := lifetime(text)
	if err != nil {
		return "", invalid("a moment looks like 2026-07-28, 2026-07-28T09:30:00Z, 2h or 7d")
	}
	return now.Add(-time.Duration(*ago) * time.Second).UTC().Format(time.RFC3339), nil
}

func logCells(l *client.LogRow) []string {
	status := l.Status
	if l.ErrorCode != "" {
		status = l.ErrorCode
	}
	return []string{moment(l.CreatedAt), status, strconv.FormatInt(l.DurationMs, 10), strconv.FormatInt(l.CreditsCharged, 10), l.ServiceName, l.Operation, l.ID}
}

func (c *logsCmd) one(ctx context.Context, x *env, api *client.Client) error {
	data, _, err := api.GetRequestLog(ctx, c.ID)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		l := data.Log
		x.pairs([][2]string{
			{"Id", l.ID}, {"Request", l.RequestID}, {"Time", moment(l.CreatedAt)}, {"Service", l.ServiceName + " (" + l.ServiceID + ")"}, {"Operation", l.Method + " " + l.Operation},
			{"Status", fmt.Sprintf("%s (%d)", l.Status, l.StatusCode)}, {"Error", l.ErrorCode}, {"Took", fmt.Sprintf("%d ms", l.DurationMs)},
			{"Credits", fmt.Sprintf("%d charged of %d", l.CreditsCharged, l.CreditsCost)}, {"Door", l.Door}, {"User", l.UserID}, {"Credential", l.CredentialID},
			{"Address", l.IPAddress}, {"User agent", l.UserAgent},
		}...)
		for _, part := range []struct {
			title string
			raw   json.RawMessage
			cut   string
		}{{"Parameters", l.Request.Parameters, l.Request.Cut}, {"Result", l.Response.Result, l.Response.Cut}, {"Error", l.Response.Error, ""}} {
			if part.cut != "" {
				x.say("\n%s (only the beginning was kept)\n%s", part.title, part.cut)
			} else if len(part.raw) > 0 && string(part.raw) != "null" {
				pretty, _ := json.MarshalIndent(part.raw, "", "  ")
				x.say("\n%s\n%s", part.title, pretty)
			}
		}
	})
}

func (c *logsCmd) export(ctx context.Context, x *env, api *client.Client, p client.ListRequestLogsParams) error {
	body, err := api.ExportRequestLogsCSV(ctx, client.ExportRequestLogsCSVParams{ServerID: p.ServerID, ServiceID: p.ServiceID, WorkspaceID: p.WorkspaceID, UserID: p.UserID,
		CredentialID: p.CredentialID, Status: p.Status, ErrorCode: p.ErrorCode, Operation: p.Operation, StartDate: p.StartDate, EndDate: p.EndDate})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(x.out, body); err != nil {
		return wrong(exitUnavailable, "INTERRUPTED", "the export broke off: %s.\nWhat was printed is not complete; run it again", err)
	}
	return nil
}

// follower prints calls as they are made. A stream that ends (a token's end, a
// server's restart) is opened again, and what was missed is read from the list.
type follower struct {
	env    *env
	api    *client.Client
	params client.ListRequestLogsParams
	last   string // the newest line printed; ids sort by time
	since  time.Time
}

func (f *follower) run(ctx context.Context) error {
	for first, wait := true, time.Second; ; first = false {
		began := time.Now()
		err := f.stream(ctx, first)
		var refused *client.Error
		switch {
		case ctx.Err() != nil:
			return nil
		case first && err != nil, errors.As(err, &refused) && refused.Status < 500 && refused.Status != 429:
			return err
		}
		if time.Since(began) > time.Minute {
			wait = time.Second
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, 30*time.Second)
	}
}

func (f *follower) stream(ctx context.Context, first bool) error {
	p := f.params
	s, err := f.api.StreamRequestLogs(ctx, client.StreamRequestLogsParams{ServerID: p.ServerID, ServiceID: p.ServiceID, WorkspaceID: p.WorkspaceID, UserID: p.UserID,
		CredentialID: p.CredentialID, Status: p.Status, ErrorCode: p.ErrorCode, Operation: p.Operation})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if first {
		f.since = time.Now()
	} else if err := f.missed(ctx); err != nil {
		return err
	}
	for e, err := range s.All() {
		if err != nil {
			return err
		}
		var l client.LogRow
		if e.Name != "log" || json.Unmarshal(e.Data, &l) != nil {
			continue
		}
		if err := f.show(&l); err != nil {
			return err
		}
	}
	return nil
}

// missed prints what was logged while no stream was open.
func (f *follower) missed(ctx context.Context) error {
	p := f.params
	p.Page, p.Limit, p.EndDate, p.StartDate = 1, 100, "", f.since.UTC().Format(time.RFC3339Nano)
	data, _, err := f.api.ListRequestLogs(ctx, p)
	if err != nil {
		return err
	}
	for i := len(data.Logs) - 1; i >= 0; i-- {
		if err := f.show(&data.Logs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) show(l *client.LogRow) error {
	if l.ID <= f.last {
		return nil
	}
	f.last, f.since = l.ID, l.CreatedAt
	if f.env.options.JSON {
		line, err := json.Marshal(l)
		if err == nil {
			_, err = fmt.Fprintln(f.env.out, string(line))
		}
		return err
	}
	c := logCells(l)
	_, err := fmt.Fprintf(f.env.out, "%s  %-10s %6s ms  %4s cr  %s  %s  %s\n", c[0], oneLine(c[1]), c[2], c[3], oneLine(c[4]), oneLine(c[5]), c[6])
	return err
}
