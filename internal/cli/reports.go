package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

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

    headgate report rep_01k00000000000000000000000 --format json`
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
	format
	Old string `arg:"" help:"The older report: its id (headgate reports), or a file."`
	New string `arg:"" help:"The newer one."`
}

func (diffCmd) Help() string {
	return `Says what changed between two reports of a server: kept ones by their ids, or files that doctor --format json or export wrote.
The exit code is 5 when something broke.

    headgate diff rep_01k00000000000000000000000 rep_01k00000000000000000000001
    headgate diff before.json after.json --format junit > diff.xml`
}

// Run compares two reports.
func (c *diffCmd) Run(ctx context.Context, x *env) error {
	d, err := c.drift(ctx, x)
	if err != nil {
		return err
	}
	if err := x.show(c.Format, d, d.WriteText, d.WriteJUnit); err != nil {
		return err
	}
	if len(d.Broke) > 0 {
		return verdict((&report.Report{Status: report.Partial}).ExitCode())
	}
	return nil
}

// drift asks for what changed, or compares by itself when both are files.
func (c *diffCmd) drift(ctx context.Context, x *env) (*report.Drift, error) {
	older, a := readReport(c.Old)
	newer, b := readReport(c.New)
	switch {
	case a != "" && a == b:
		return report.Diff(older, newer), nil
	case a != b || strings.ContainsAny(c.Old+c.New, "./\\"):
		return nil, invalid("these two cannot be compared.\nName two ids (headgate reports), or two files that doctor --format json wrote, or two that export wrote")
	}
	api, err := x.api()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Drift report.Drift `json:"drift"`
		} `json:"data"`
	}
	err = api.Send(ctx, http.MethodGet, "/v1/mcp/reports/"+url.PathEscape(c.New)+"/drift?since="+url.QueryEscape(c.Old), nil, &answer)
	return &answer.Data.Drift, err
}

// readReport reads a file that holds a report, or an export, which is the lists
// of one. kind is "" when it holds neither.
func readReport(name string) (r *report.Report, kind string) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, ""
	}
	var about struct {
		ExportedAt time.Time `json:"exportedAt"`
		Checks     any       `json:"checks"`
	}
	if r, err = report.Parse(text); err != nil || json.Unmarshal(text, &about) != nil {
		return nil, ""
	}
	switch {
	case about.Checks != nil:
		return r, "report"
	case !about.ExportedAt.IsZero():
		r.Status, r.GeneratedAt = report.Ready, about.ExportedAt
		return r, "export"
	}
	return nil, ""
}
