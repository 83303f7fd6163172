package gateway

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/gateway/notes"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// Notes keep what a legacy session has set, and that it is over, where a
// restart and other replicas find it. They are named by what a session's id
// holds inside, which opens nothing.
type Notes interface {
	Read(ctx context.Context, session string) (notes.Note, error)
	Change(ctx context.Context, session string, until time.Time, change func(*notes.Note)) error
	Elsewhere(ref string) (session string, ok bool)
}

// remember writes down what the client has set, so that it is kept before it
// is answered, and takes it over.
func (x *exchange) remember(change func(*notes.Note), take func()) error {
	if _, ok := x.to.(pairAnswer); ok || x.g.Notes == nil {
		take() // a session of 2024-11-05 ends with its connection
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), errandTime)
	defer cancel()
	x.s.noting.Lock()
	defer x.s.noting.Unlock()
	if err := x.g.Notes.Change(ctx, x.s.affinity, x.s.until, change); err != nil {
		return err
	}
	take()
	return nil
}

// catchUp brings a session up to what is noted of it.
func (g *Gateway) catchUp(ctx context.Context, by *access.Principal, s *session) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	heard := s.heard.Load()
	if s.known.Load() == heard {
		return nil
	}
	kept, err := g.restore(ctx, by, s.affinity)
	if err != nil {
		return err
	}
	if kept.ended {
		g.Changed(notes.Ended, s.ref)
		return errSession
	}
	if tell := s.adopt(kept); len(tell) > 0 { // their sessions here have had another level
		id := s.number()
		g.tell(upstream.Request{By: by, Revision: s.revision, Method: mcp.MethodSetLevel, ID: id, Affinity: s.affinity, Client: s.self(),
			Body: mcp.AppendRequest(nil, id, mcp.MethodSetLevel, append(mcp.AppendString([]byte(`{"level":`), kept.level), '}'))}, tell)
	}
	s.known.Store(heard)
	return nil
}

// restored is what a session had before it left the memory.
type restored struct {
	level string
	subs  map[string]*catalog.Server
	ended bool
}

// restore reads what was noted of a session. Subscriptions at servers that are
// gone, or in workspaces its principal may not use any more, have ended.
func (g *Gateway) restore(ctx context.Context, by *access.Principal, session string) (restored, error) {
	if g.Notes == nil {
		return restored{}, nil
	}
	n, err := g.Notes.Read(ctx, session)
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

// Changed hears of changes in the store: what another replica has set in a
// session that is here too, and that one has ended.
func (g *Gateway) Changed(kind, ref string) {
	switch kind {
	case notes.Ended:
		if s := g.sessions.ending(ref); s != nil {
			g.sessions.end(s)
			go g.Hub.EndSession(s.affinity)
		}
	case notes.Set:
		if g.Notes == nil {
			return
		}
		session, ok := g.Notes.Elsewhere(ref)
		if s := g.sessions.known(session); ok && s != nil {
			s.heard.Add(1) // whoever uses it from here on catches up first
			go g.follow(s)
		}
	}
}

// follow catches up with a session that nobody may be about to use: its stream
// and its calls under way are concerned too.
func (g *Gateway) follow(s *session) {
	by := s.user.Load()
	select {
	case <-by.Revoked():
		return
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), errandTime)
	defer cancel()
	if err := g.catchUp(ctx, by, s); err != nil {
		g.Log.Debug("a session could not follow another replica yet", "error", err) // its next use will
	}
}
