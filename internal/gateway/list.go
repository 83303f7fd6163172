package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	listWait = time.Second      // for servers that have never been heard
	lateWait = 30 * time.Second // for clients to be told of those that were late
	maxLists = 4096             // merged lists kept
)

// lists keeps merged lists as the bytes they are answered with.
type lists struct {
	g    *Gateway
	mu   sync.RWMutex
	kept map[listKey]*list
	late map[string]bool // servers that did not answer in time, until they do

	warming sync.Map // servers being listed for new clients
}

func (l *lists) init(g *Gateway) { l.g, l.kept, l.late = g, map[listKey]*list{}, map[string]bool{} }

// listKey says what a list depends on: the URL and the credential. What the
// servers listed is compared as well.
type listKey struct {
	workspace, server, user string
	kind                    upstream.ListKind
}

// source is what one server listed, or why it did not.
type source struct {
	server  *catalog.Server
	listing *upstream.Listing
	reason  string
}

// list returns the endpoint's list. One server alone has its own timeout, and
// its failure is the answer.
func (l *lists) list(ctx context.Context, ep endpoint, kind upstream.ListKind) (*list, error) {
	if ep.server == nil {
		return l.merged(ctx, ep, kind), nil
	}
	listing, err := l.g.Hub.List(ctx, ep.server, ep.by, kind)
	if err != nil {
		return nil, err
	}
	key := listKey{workspace: ep.workspace.ID, server: ep.server.Key(), user: ep.by.User, kind: kind}
	if kept := l.find(key); kept != nil && kept.sources[0].server == ep.server && kept.sources[0].listing == listing {
		return kept, nil
	}
	return l.keep(key, l.merge(ep, kind, []source{{server: ep.server, listing: listing}})), nil
}

// merged returns the list of an endpoint over several servers. It never waits
// for one that hangs: such a one is named in the list's _meta.
func (l *lists) merged(ctx context.Context, ep endpoint, kind upstream.ListKind) *list {
	key := listKey{workspace: ep.workspace.ID, user: ep.by.User, kind: kind}
	if kept := l.find(key); kept != nil && l.current(ctx, ep, kept) {
		return kept
	}
	return l.keep(key, l.merge(ep, kind, l.gather(ctx, ep, kind)))
}

func (l *lists) find(key listKey) *list {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.kept[key]
}

func (l *lists) keep(key listKey, made *list) *list {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= maxLists {
		clear(l.kept)
	}
	l.kept[key] = made
	return made
}

// current reports whether a list is still what the servers have listed last. A
// server that was missing a moment ago is not waited for again.
func (l *lists) current(ctx context.Context, ep endpoint, kept *list) bool {
	i := 0
	for _, s := range ep.servers() {
		if !s.Enabled {
			continue
		}
		if i == len(kept.sources) || kept.sources[i].server != s || l.g.Hub.Kept(ctx, s, ep.by, kept.kind) != kept.sources[i].listing {
			return false
		}
		if kept.sources[i].listing == nil && l.g.Now().Sub(kept.made) > missingTTL {
			return false
		}
		i++
	}
	return i == len(kept.sources)
}

// gather asks every server of the endpoint at once. One that was late before is
// not waited for again; when its list comes, clients that listen are told.
func (l *lists) gather(ctx context.Context, ep endpoint, kind upstream.ListKind) []source {
	servers := slices.DeleteFunc(slices.Clone(ep.servers()), func(s *catalog.Server) bool { return !s.Enabled })
	out := make([]source, len(servers))
	answers := make(chan answer, len(servers))
	over := new(atomic.Bool)
	waiting := 0
	for i, s := range servers {
		out[i] = source{server: s, listing: l.g.Hub.Kept(ctx, s, ep.by, kind)}
		if out[i].listing != nil {
			continue
		}
		out[i].reason = "slow"
		late := l.isLate(ctx, s, ep.by)
		if !late {
			waiting++
		}
		go func() { // it may outlive this call
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateWait)
			defer cancel()
			a := answer{i, late, l.ask(ctx, s, ep.by, kind)}
			if a.reason != "slow" {
				l.setLate(s, false)
			}
			if answers <- a; over.Load() && a.listing != nil {
				l.g.streams.changed(ep.workspace.ID, s, kind)
			}
		}()
	}
	wait := time.NewTimer(listWait)
	defer wait.Stop()
	defer over.Store(true)
	for waiting > 0 {
		select {
		case a := <-answers:
			if out[a.i] = a.source; !a.late {
				waiting--
			}
		case <-wait.C:
			for _, s := range out {
				if s.reason == "slow" {
					l.setLate(s.server, true)
					l.g.Hub.Unheard(ctx, s.server, ep.by)
				}
			}
			return out
		}
	}
	return out
}

// answer is what one server of several has listed.
type answer struct {
	i    int
	late bool
	source
}

// isLate reports whether a server did not answer in time, or had not before
// this process began.
func (l *lists) isLate(ctx context.Context, s *catalog.Server, by *access.Principal) bool {
	l.mu.RLock()
	late := l.late[s.Key()]
	l.mu.RUnlock()
	if !late && l.g.Hub.Silent(ctx, s, by) {
		l.setLate(s, true)
		return true
	}
	return late
}

func (l *lists) setLate(s *catalog.Server, late bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !late:
		delete(l.late, s.Key())
	case len(l.late) < maxLists:
		l.late[s.Key()] = true
	}
}

// warm begins to list what a new client will ask for.
func (l *lists) warm(ctx context.Context, ep endpoint) {
	for _, s := range ep.servers() {
		if !s.Enabled || l.isLate(ctx, s, ep.by) || l.g.Hub.Kept(ctx, s, ep.by, upstream.Tools) != nil {
			continue
		}
		if _, under := l.warming.LoadOrStore(s.Key(), true); !under {
			go func() {
				defer l.warming.Delete(s.Key())
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateWait)
				defer cancel()
				_, _ = l.g.Hub.List(ctx, s, ep.by, upstream.Tools) // for the list it leaves in memory
			}()
		}
	}
}

func (l *lists) ask(ctx context.Context, s *catalog.Server, by *access.Principal, kind upstream.ListKind) source {
	listing, err := l.g.Hub.List(ctx, s, by, kind)
	if err == nil {
		return source{server: s, listing: listing}
	}
	reason := fault.CodeOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "slow"
	}
	return source{server: s, reason: reason}
}

// list answers a list request with kept bytes.
func (g *Gateway) list(x *exchange) {
	kind, ok := kindOf(x.e.Method)
	if !ok {
		x.fail(errNoMethod)
		return
	}
	if err := access.Require(x.ep.by, access.ServicesRead); err != nil {
		x.fail(err)
		return
	}
	cursor := ""
	if !mcp.IsNull(x.body, x.e.Cursor) {
		var err error
		if cursor, err = mcp.String(x.body, x.e.Cursor); err != nil {
			x.fail(mcp.ErrBadParams.Saying("params.cursor must be a string."))
			return
		}
	}
	x.to.wait()
	l, err := g.lists.list(x.r.Context(), x.ep, kind)
	if err != nil {
		x.fail(err)
		return
	}
	p, err := l.at(cursor)
	if err != nil {
		x.fail(err)
		return
	}
	if x.era == mcp.Modern {
		x.result(p.modern)
	} else {
		x.result(p.legacy)
	}
}

func kindOf(method string) (upstream.ListKind, bool) {
	switch method {
	case mcp.MethodToolsList, mcp.MethodToolsCall:
		return upstream.Tools, true
	case mcp.MethodPromptsList, mcp.MethodPromptsGet:
		return upstream.Prompts, true
	case mcp.MethodResourcesList, mcp.MethodResourcesRead:
		return upstream.Resources, true
	case mcp.MethodResourceTemplatesList:
		return upstream.Templates, true
	}
	return 0, false
}
