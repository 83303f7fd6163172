package gateway

import (
	"context"
	"sync"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	maxStreams       = 1000 // open streams of one principal
	maxSubscriptions = 1000 // resources a session or a stream listens to
)

// streams are all open streams.
type streams struct {
	mu   sync.Mutex
	open map[*stream]struct{}
	per  map[string]int // by principal
}

func (all *streams) enter(st *stream) error {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.per[st.ep.by.ID] >= maxStreams {
		return errStreams
	}
	if all.open == nil {
		all.open, all.per = map[*stream]struct{}{}, map[string]int{}
	}
	all.open[st] = struct{}{}
	all.per[st.ep.by.ID]++
	return nil
}

func (all *streams) leave(st *stream) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, st)
	if all.per[st.ep.by.ID]--; all.per[st.ep.by.ID] <= 0 {
		delete(all.per, st.ep.by.ID)
	}
}

// refresh brings every stream up to date with its workspace.
func (all *streams) refresh(ctx context.Context) {
	all.mu.Lock()
	list := make([]*stream, 0, len(all.open))
	for st := range all.open {
		list = append(list, st)
	}
	all.mu.Unlock()
	now := time.Now()
	for _, st := range list {
		st.refresh(ctx, now)
	}
}

// changed tells clients that the list of a server has come that was missing
// from theirs.
func (all *streams) changed(workspace string, server *catalog.Server, kind upstream.ListKind) {
	method := map[upstream.ListKind]string{upstream.Tools: mcp.NotifyToolsChanged, upstream.Prompts: mcp.NotifyPromptsChanged,
		upstream.Resources: mcp.NotifyResourcesChanged, upstream.Templates: mcp.NotifyResourcesChanged}[kind]
	all.mu.Lock()
	defer all.mu.Unlock()
	for st := range all.open {
		if st.ep.workspace.ID == workspace && (st.ep.server == nil || st.ep.server.Key() == server.Key()) {
			st.tell(method)
		}
	}
}

// filter is what a modern subscription asks for; a legacy stream has none and
// hears everything of its session.
type filter struct {
	id    []byte // of the listen request, raw
	lists []string
	uris  []resourceTopic
	tasks []taskTopic
}

// wants reports whether a notification is asked for. Updates of resources and
// of tasks have been chosen before.
func (f *filter) wants(e *mcp.Envelope) bool {
	word := ""
	switch e.Method {
	case mcp.NotifyToolsChanged:
		word = "toolsListChanged"
	case mcp.NotifyPromptsChanged:
		word = "promptsListChanged"
	case mcp.NotifyResourcesChanged:
		word = "resourcesListChanged"
	case mcp.NotifyResourceUpdated, mcp.NotifyTasks:
		return true
	}
	for _, l := range f.lists {
		if l == word {
			return true
		}
	}
	return false
}

// tagged marks a notification with the subscription it belongs to.
func tagged(message []byte, e *mcp.Envelope, id []byte) []byte {
	meta := append(append([]byte(`{"`+mcp.MetaSubscriptionID+`":`), id...), '}')
	switch {
	case !e.Meta.Empty():
		return mcp.InsertMember(nil, message, e.Meta, mcp.MetaSubscriptionID, id)
	case !e.Params.Empty():
		return mcp.InsertMember(nil, message, e.Params, "_meta", meta)
	}
	params := append(append([]byte(`{"_meta":`), meta...), '}')
	return mcp.InsertMember(nil, message, mcp.Root(message), "params", params)
}

// untagged is a notification for a legacy client: without the subscription it
// came by, which is ours.
func untagged(message []byte, e *mcp.Envelope) []byte {
	if e.SubscriptionID.Empty() {
		return append([]byte(nil), message...)
	}
	edits, stays := mcp.RemoveMembers(nil, message, e.Meta, func(m mcp.Member) bool { return m.Is(message, mcp.MetaSubscriptionID) })
	if stays {
		return mcp.Splice(nil, message, edits...)
	}
	edits, _ = mcp.RemoveMembers(nil, message, e.Params, func(m mcp.Member) bool { return m.Is(message, "_meta") })
	return mcp.Splice(nil, message, edits...)
}
