package checkup

import (
	"context"
	"encoding/json"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/diagnosis/report"
	"headgate/internal/upstream"
)

// OverHub examines a server that is not reached over the network: a child
// process, or one that lives in this process. The hub speaks to it, so that no
// second process is started for a diagnosis.
func OverHub(ctx context.Context, r *report.Report, hub *upstream.Hub, by *access.Principal, server *catalog.Server) {
	r.Checks.Probe.Detail = "The server is not reached over the network."
	start := time.Now()
	facts, tools, err := hub.Test(ctx, server, by)
	d := &doctor{Options: Options{Slug: server.Slug}, report: r, line: &line{}}
	if facts == nil {
		d.disconnected(ProblemOf(err))
		r.Conclude()
		return
	}
	r.Steps = append(r.Steps, report.Step{Name: "connect", DurationMs: ms(time.Since(start))})
	d.line.era, d.line.revision = facts.Era, facts.Revision
	r.InitInfo = InfoOf(facts)
	r.Capabilities = r.InitInfo.Capabilities
	r.Connection = report.Connection{Status: report.Connected, Detail: "Connected and initialized."}
	r.Checks.Connection = report.Check{Status: report.OK, Detail: r.Connection.Detail}
	d.describe()
	hubLists(ctx, r, hub, by, server, tools, err)
	d.surface()
	d.latency()
	r.Conclude()
}

func hubLists(ctx context.Context, r *report.Report, hub *upstream.Hub, by *access.Principal, server *catalog.Server, tools *upstream.Listing, err error) {
	kinds := map[string]upstream.ListKind{"tools": upstream.Tools, "resources": upstream.Resources, "resourceTemplates": upstream.Templates, "prompts": upstream.Prompts}
	for _, l := range listsOf(r) {
		if !has(r, l.capability) {
			*l.check = report.Check{Status: report.Skipped, Detail: "The server does not declare " + l.capability + "."}
			continue
		}
		listing, err := tools, err
		if kind := kinds[l.member]; kind != upstream.Tools {
			listing, err = hub.List(ctx, server, by, kind)
		}
		if err != nil {
			p := ProblemOf(err)
			*l.check = report.Check{Status: report.Error, Detail: p.Message}
			r.Fail(p)
			brokenList(r, l, p)
			continue
		}
		for i := range listing.Items[:min(len(listing.Items), MaxItems)] {
			*l.into = append(*l.into, Compact(listing.Items[i].Raw))
		}
		*l.check = report.Check{Status: report.OK, Detail: found(len(*l.into), l.noun)}
	}
	collectMetadata(r)
}

// InfoOf is what a report says of a server's facts.
func InfoOf(f *upstream.Facts) *report.InitInfo {
	info := &report.InitInfo{ProtocolVersion: string(f.Revision), Era: f.Era.String(), Capabilities: Compact(f.Capabilities), Instructions: report.Clip(f.Instructions, 8<<10)}
	if len(f.ServerInfo) > 0 {
		info.ServerInfo = json.RawMessage(Compact(f.ServerInfo))
	}
	return info
}
