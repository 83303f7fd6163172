package gateway

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/gateway/notes"
)

// Notes keep what a legacy session has set, and that it is over, where a
// restart and other replicas find it. They are named by what a session's id
// holds inside, which opens nothing.
type Notes interface {
	Read(ctx context.Context, session string) (notes.Note, error)
	Change(ctx context.Context, session string, until time.Time, change func(*notes.Note)) error
}

// remember writes down what the client has set, so that it is kept before it
// is answered.
func (x *exchange) remember(change func(*notes.Note)) error {
	if _, ok := x.to.(pairAnswer); ok || x.g.Notes == nil {
		return nil // a session of 2024-11-05 ends with its connection
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), errandTime)
	defer cancel()
	return x.g.Notes.Change(ctx, x.s.affinity, x.s.until, change)
}

// restored is what a session had before it left the memory.
type restored struct {
	level string
	subs  map[string]*catalog.Server
	ended bool
}

// restore reads what was noted of a session. Subscriptions at servers that are
// gone, or in workspaces its principal may not use any more, have ended.
func (g *Gateway) restore(ctx context.Context, by *access.Principal, in sealed) (restored, error) {
	if g.Notes == nil {
		return restored{}, nil
	}
	n, err := g.Notes.Read(ctx, in.Affinity)
	if err != nil {
		return restored{}, err
	}
	r := restored{level: n.Level, ended: n.Ended}
	known := map[string]*catalog.Server{}
	seen := map[string]bool{}
	for _, s := range n.Subscriptions {
		if !seen[s.Workspace] {
			seen[s.Workspace] = true
			list, err := g.serversOf(ctx, by, s.Workspace)
			if err != nil {
				return restored{}, err
			}
			for _, server := range list {
				known[server.Key()] = server
			}
		}
		if server := known[s.Server]; server != nil {
			if r.subs == nil {
				r.subs = map[string]*catalog.Server{}
			}
			r.subs[s.URI] = server
		}
	}
	return r, nil
}

// serversOf returns the servers of a workspace; none when the principal may not
// use it.
func (g *Gateway) serversOf(ctx context.Context, by *access.Principal, workspace string) ([]*catalog.Server, error) {
	id, err := g.Workspace(ctx, by, workspace)
	if err == nil {
		var ws *catalog.Workspace
		if ws, err = g.Resolver.Workspace(ctx, by.Organization, id); err == nil {
			return ws.Servers(), nil
		}
	}
	switch fault.Of(err).Kind {
	case fault.Internal, fault.Unavailable:
		return nil, err // to forget what it had because the store was away would be a loss
	}
	return nil, nil
}

// Changed hears of changes in the store: a session that was ended on another
// replica ends here too.
func (g *Gateway) Changed(kind, ref string) {
	if kind != notes.Kind {
		return
	}
	if s := g.sessions.ending(ref); s != nil {
		g.sessions.end(s)
		go g.Hub.EndSession(s.affinity)
	}
}
