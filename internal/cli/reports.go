package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"headgate/client"
	"headgate/internal/diagnosis/report"
)

type reportsCmd struct {
	workspaceFlag
	paging
	Server string `arg:"" optional:"" help:"One server; left out, all, and those of URLs."`
	Kind   string `enum:"doctor,validate,all" default:"all" placeholder:"KIND" help:"doctor or validate."`
}

func (reportsCmd) Help() string {
	return `Kept reports, newest first. One of them: headgate report ID. What changed between two: headgate diff A B

    headgate reports weather`
}

// Run lists reports.
func (c *reportsCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	p := client.ListReportsParams{Page: c.Page, Limit: c.Limit}
	if c.Kind != "all" {
		p.Kind = c.Kind
	}
	if c.Server != "" {
		s, err := c.server(ctx, api, c.Server)
		if err != nil {
			return err
		}
		p.ServerID = s.ID
	}
	data, meta, err := api.ListReports(ctx, p)
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.ReportList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Reports))
		for i, r := range data.Reports {
			about := r.URL
			if about == "" {
				about = r.ServerID
			}
			rows[i] = []string{moment(r.CreatedAt), r.ID, r.Kind, r.Status, fmt.Sprint(r.Tools), fmt.Sprint(r.Errors), fmt.Sprint(r.Warnings), about}
		}
		x.table([]string{"TIME", "ID", "KIND", "STATUS", "TOOLS", "ERRORS", "WARNINGS", "ABOUT"}, rows)
		x.more(meta.Pagination)
	})
}

type reportCmd struct {
	format
	ID string `arg:"" help:"Its id (headgate reports)."`
}

func (reportCmd) Help() string {
	return `Shows a kept report. The exit code is that of the diagnosis then: see headgate doctor --help.

    headgate report rpt_01k00000000000000000000000 --format json`
}

// Run shows a report.
func (c *reportCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	r, err := askReport(ctx, api, http.MethodGet, "/v1/mcp/reports/"+url.PathEscape(c.ID), nil)
	if err != nil {
		return err
	}
	return x.showReport(r, c.Format)
}

type diffCmd struct {
	Old string `arg:"" help:"The older report's id (headgate reports)."`
	New string `arg:"" help:"The newer one's."`
}

func (diffCmd) Help() string {
	return `Says what changed between two reports of a server. The exit code is 5 when something broke.

    headgate diff rpt_01k00000000000000000000000 rpt_01k00000000000000000000001`
}

// Run compares two reports.
func (c *diffCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var answer struct {
		Data struct {
			Drift report.Drift `json:"drift"`
		} `json:"data"`
	}
	if err := api.Send(ctx, http.MethodGet, "/v1/mcp/reports/"+url.PathEscape(c.New)+"/drift?since="+url.QueryEscape(c.Old), nil, &answer); err != nil {
		return err
	}
	d := &answer.Data.Drift
	if x.options.JSON {
		err = x.print(d, nil)
	} else {
		err = d.WriteText(x.out)
	}
	if err == nil && len(d.Broke) > 0 {
		return verdict((&report.Report{Status: report.Partial}).ExitCode())
	}
	return err
}
