package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	listWait  = 2 * time.Second        // for servers nobody has listed yet
	listGrace = 150 * time.Millisecond // for the rest, once the first have answered
	maxLists  = 4096                   // merged lists kept
)

// lists keeps merged lists as the bytes they are answered with.
type lists struct {
	g    *Gateway
	mu   sync.RWMutex
	kept map[listKey]*list
}

func (l *lists) init(g *Gateway) { l.g, l.kept = g, map[listKey]*list{} }

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

// list returns the endpoint's list. It never waits for a server that hangs:
// such a one is named in the list's _meta.
func (l *lists) list(ctx context.Context, ep endpoint, kind upstream.ListKind) *list {
	key := listKey{workspace: ep.workspace.ID, user: ep.by.User, kind: kind}
	if ep.server != nil {
		key.server = ep.server.Key()
	}
	l.mu.RLock()
	kept := l.kept[key]
	l.mu.RUnlock()
	if kept != nil && l.current(ctx, ep, kept) {
		return kept
	}
	sources := l.gather(ctx, ep, kind)
	made := l.merge(ep, kind, sources)
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

// gather asks every server of the endpoint at once.
func (l *lists) gather(ctx context.Context, ep endpoint, kind upstream.ListKind) []source {
	servers := slices.DeleteFunc(slices.Clone(ep.servers()), func(s *catalog.Server) bool { return !s.Enabled })
	out := make([]source, len(servers))
	type answer struct {
		i int
		source
	}
	answers := make(chan answer, len(servers))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listWait)
	waiting := 0
	for i, s := range servers {
		if listing := l.g.Hub.Kept(ctx, s, ep.by, kind); listing != nil {
			out[i] = source{server: s, listing: listing}
			continue
		}
		out[i] = source{server: s, reason: "slow"}
		waiting++
		go func() { answers <- answer{i, l.ask(ctx, s, ep.by, kind)} }()
	}
	if waiting == 0 {
		cancel()
		return out
	}
	// The goroutines may outlive this call: their servers' lists still land in memory.
	time.AfterFunc(listWait, cancel)
	start, first := time.Now(), listWait
	if waiting < len(servers) {
		first = listGrace
	}
	wait := time.NewTimer(first)
	defer wait.Stop()
	for range waiting {
		select {
		case a := <-answers:
			out[a.i] = a.source
			wait.Reset(min(listWait-time.Since(start), max(listGrace, 3*time.Since(start))))
		case <-wait.C:
			return out
		}
	}
	return out
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
	p, err := g.lists.list(x.r.Context(), x.ep, kind).at(cursor)
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
