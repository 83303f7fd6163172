package diagnosis

import (
	"context"
	"encoding/json"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/upstream"
)

// overHub diagnoses a server that is not reached over the network: a child
// process, or one that lives in this process. The hub speaks to it, so that no
// second process is started for a diagnosis.
func (s *Service) overHub(ctx context.Context, r *Report, by *access.Principal, server *catalog.Server) {
	r.Checks.Probe.Detail = "The server is not reached over the network."
	start := time.Now()
	facts, tools, err := s.Hub.Test(ctx, server, by)
	d := &doctor{svc: s, report: r, slug: server.Slug, line: &line{}}
	if facts == nil {
		d.disconnected(problemFault(err))
		r.conclude()
		return
	}
	r.Steps = append(r.Steps, Step{Name: "connect", DurationMs: ms(time.Since(start))})
	d.line.era, d.line.revision = facts.Era, facts.Revision
	r.InitInfo = infoOf(facts)
	r.Capabilities = r.InitInfo.Capabilities
	r.Connection = Connection{connected, "Connected and initialized."}
	r.Checks.Connection = Check{OK, r.Connection.Detail}
	d.describe()
	s.hubLists(ctx, r, by, server, tools, err)
	d.surface()
	d.latency()
	r.conclude()
}

func (s *Service) hubLists(ctx context.Context, r *Report, by *access.Principal, server *catalog.Server, tools *upstream.Listing, err error) {
	kinds := map[string]upstream.ListKind{"tools": upstream.Tools, "resources": upstream.Resources, "resourceTemplates": upstream.Templates, "prompts": upstream.Prompts}
	for _, l := range r.lists() {
		if !r.has(l.capability) {
			*l.check = Check{Skipped, "The server does not declare " + l.capability + "."}
			continue
		}
		listing, err := tools, err
		if kind := kinds[l.member]; kind != upstream.Tools {
			listing, err = s.Hub.List(ctx, server, by, kind)
		}
		if err != nil {
			p := problemFault(err)
			*l.check = Check{Error, p.Message}
			r.fail(p)
			continue
		}
		for i := range listing.Items[:min(len(listing.Items), maxItems)] {
			*l.into = append(*l.into, compact(listing.Items[i].Raw))
		}
		*l.check = Check{OK, found(len(*l.into), l.noun)}
	}
	r.metadata()
}

func infoOf(f *upstream.Facts) *InitInfo {
	info := &InitInfo{ProtocolVersion: string(f.Revision), Era: f.Era.String(), Capabilities: compact(f.Capabilities), Instructions: clip(f.Instructions, 8<<10)}
	if len(f.ServerInfo) > 0 {
		info.ServerInfo = json.RawMessage(compact(f.ServerInfo))
	}
	return info
}
