package platform

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/upstream"
)

// listed is an entry of a server's list, in the server's own words.
type listed struct {
	ServerID  string      `json:"serverId"`
	Server    string      `json:"server" doc:"Its slug."`
	ServiceID string      `json:"serviceId"`
	Name      string      `json:"name"`
	Price     int64       `json:"price" doc:"Credits a use costs."`
	Item      rest.Object `json:"definition" doc:"As the server describes it."`
}

type toolList struct {
	Tools []listed `json:"tools"`
}

type promptList struct {
	Prompts []listed `json:"prompts"`
}

type resourceList struct {
	Resources []listed `json:"resources"`
	Templates []listed `json:"templates"`
}

// missing is a server whose list could not be had.
type missing struct {
	ServerID string `json:"serverId"`
	Server   string `json:"server"`
	Code     string `json:"code"`
	Message  string `json:"message"`
}

type listMeta struct {
	Missing []missing `json:"missing" doc:"Servers that could not be asked."`
}

type listOf struct {
	InWorkspace
	ServerID string `query:"serverId" maxLength:"64" doc:"Id or slug; left out, every server of the workspace."`
}

// listTime is how long a merged list waits for the slowest server.
const listTime = 3 * time.Second

func (a *api) lists() {
	tags := []string{"servers"}
	faults := []fault.Kind{fault.NotFound, fault.Gone, fault.Upstream, fault.UpstreamAuth, fault.Unconfigured}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/tools", ID: "listTools", Summary: "Tools", Tags: tags, Permission: access.ServicesRead, Errors: faults},
		func(ctx context.Context, in *listOf) (*rest.OK[toolList, listMeta], error) {
			items, meta, err := a.collect(ctx, in, upstream.Tools)
			if err != nil {
				return nil, err
			}
			return rest.Ok(toolList{items}, meta), nil
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/prompts", ID: "listPrompts", Summary: "Prompts", Tags: tags, Permission: access.ServicesRead, Errors: faults},
		func(ctx context.Context, in *listOf) (*rest.OK[promptList, listMeta], error) {
			items, meta, err := a.collect(ctx, in, upstream.Prompts)
			if err != nil {
				return nil, err
			}
			return rest.Ok(promptList{items}, meta), nil
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/resources", ID: "listResources", Summary: "Resources and templates", Tags: tags, Permission: access.ServicesRead, Errors: faults},
		func(ctx context.Context, in *listOf) (*rest.OK[resourceList, listMeta], error) {
			resources, meta, err := a.collect(ctx, in, upstream.Resources)
			if err != nil {
				return nil, err
			}
			templates, _, err := a.collect(ctx, in, upstream.Templates)
			if err != nil {
				return nil, err
			}
			return rest.Ok(resourceList{resources, templates}, meta), nil
		})
}

// collect reads the lists of one server, whose failure is the answer's, or of
// all of a workspace, where one that fails is named and costs the others
// nothing.
func (a *api) collect(ctx context.Context, in *listOf, kind upstream.ListKind) ([]listed, listMeta, error) {
	by := rest.Principal(ctx)
	meta := listMeta{Missing: []missing{}}
	w, err := a.workspaceOf(ctx, in.WorkspaceID)
	if err != nil {
		return nil, meta, err
	}
	ws, err := a.Resolver.Workspace(ctx, by.Organization, w.ID)
	if err != nil {
		return nil, meta, err
	}
	servers := ws.Servers()
	if in.ServerID != "" {
		s, found := ws.Server(in.ServerID)
		if canonical, err := ref("srv", in.ServerID, nil); !found && err == nil && canonical != "" {
			s, found = ws.Server(canonical)
		}
		if !found {
			return nil, meta, catalog.ErrServerNotFound
		}
		servers = []*catalog.Server{s}
	}
	if in.ServerID == "" { // one that hangs holds nobody up for long
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, listTime)
		defer cancel()
	}
	lists, errs := make([]*upstream.Listing, len(servers)), make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		if s.Enabled {
			wg.Go(func() { lists[i], errs[i] = a.Hub.List(ctx, s, by, kind) })
		} else {
			errs[i] = call.ErrDisabled
		}
	}
	wg.Wait()
	items := []listed{}
	for i, s := range servers {
		switch err := errs[i]; {
		case err == nil:
			items = append(items, itemsOf(s, lists[i])...)
		case in.ServerID != "":
			return nil, meta, err
		default:
			f := fault.Of(err)
			meta.Missing = append(meta.Missing, missing{s.ID, s.Slug, a.door.Form().Code(f), f.Message})
		}
	}
	return items, meta, nil
}

func itemsOf(s *catalog.Server, l *upstream.Listing) []listed {
	items := make([]listed, 0, len(l.Items))
	for _, it := range l.Items {
		price := s.ReadPrice
		if l.Kind == upstream.Tools {
			price = s.Price(it.Name)
		}
		items = append(items, listed{s.ID, s.Slug, s.Service, it.Name, price, rest.Object(json.RawMessage(it.Raw))})
	}
	return items
}
