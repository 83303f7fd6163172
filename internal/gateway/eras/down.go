package eras

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// descent is a modern client's request to a legacy server.
type descent struct {
	t    *Translator
	r    *upstream.Request // the client's
	e    mcp.Envelope      // of its body
	f    *upstream.Facts
	sink upstream.Sink
	sent upstream.Request // the server's
}

// down makes a modern client's request of a legacy server.
func (t *Translator) down(ctx context.Context, r *upstream.Request, f *upstream.Facts, sink upstream.Sink) (*answer, error) {
	d := &descent{t: t, r: r, f: f, sink: sink}
	if err := mcp.Scan(r.Body, &d.e, mcp.Limits{}); err != nil {
		return nil, err
	}
	asks := false // whether the server may ask for input during this request
	switch r.Method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead:
		if !d.e.RequestState.Empty() {
			return d.resume(ctx)
		}
		asks = true
	case mcp.MethodComplete:
	default:
		return methodNotFound(r.ID, http.StatusNotFound)
	}
	if err := d.translate(); err != nil {
		return nil, err
	}
	if asks && askable(d.sent.Client.Capabilities) {
		return d.converse(ctx)
	}
	a, err := t.hub.Exchange(ctx, &d.sent, d)
	if err != nil {
		return nil, err
	}
	return d.conclude(a)
}

// translate makes the request as the server knows it.
func (d *descent) translate() error {
	d.sent = *d.r
	d.sent.Revision, d.sent.Params, d.sent.Affinity = d.f.Revision, nil, ""
	d.sent.Client = upstream.Client{Capabilities: narrowed(d.e.ClientCapabilities.Of(d.r.Body)), Info: d.e.ClientInfo.Of(d.r.Body)}
	d.sent.Client.Level, _ = mcp.String(d.r.Body, d.e.LogLevel)
	body := mcp.Splice(make([]byte, 0, len(d.r.Body)), d.r.Body, mcp.StripEra(nil, d.r.Body, &d.e)...)
	if !d.e.InputResponses.Empty() || !d.e.RequestState.Empty() {
		params, _ := mcp.Get(body, mcp.Root(body), "params")
		edits, _ := mcp.RemoveMembers(nil, body, params, func(m mcp.Member) bool { return m.Is(body, "inputResponses") || m.Is(body, "requestState") })
		body = mcp.Splice(nil, body, edits...)
	}
	d.sent.Body = body
	return nil
}

// conclude makes the server's answer the client's.
func (d *descent) conclude(a *answer) (*answer, error) {
	if a.Envelope.Kind == mcp.ErrorResponse && a.Envelope.ErrorCode == mcp.CodeElicitationRequired {
		return d.elicit(a)
	}
	return modernized(a, d.r.Method, d.r.ID, d.f)
}

// Event implements upstream.Sink where the server cannot ask for anything.
func (d *descent) Event(message []byte, e *mcp.Envelope) error {
	if e.Kind == mcp.Request {
		d.refuse(message, e)
		return nil
	}
	if d.passes(message, e) {
		return d.sink.Event(message, e)
	}
	return nil
}

// passes reports whether a modern client hears a notification on the stream of
// its request.
func (d *descent) passes(message []byte, e *mcp.Envelope) bool {
	if d.sink == nil {
		return false
	}
	switch e.Method {
	case mcp.NotifyMessage:
		level, _ := mcp.Find(message, e.Params, "level")
		said, _ := mcp.String(message, level)
		return loud(said, d.sent.Client.Level)
	case mcp.NotifyElicitationComplete, mcp.NotifyToolsChanged, mcp.NotifyPromptsChanged, mcp.NotifyResourcesChanged, mcp.NotifyResourceUpdated, mcp.NotifyTasksStatus,
		mcp.NotifyCancelled:
		return false // not on this stream, or not in this era
	}
	return true
}

var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// loud reports whether a message of a level is to be heard by who asked for
// another one; nobody asked for any with "".
func loud(said, asked string) bool {
	return asked != "" && slices.Index(levels, said) >= slices.Index(levels, asked)
}

// refuse answers a server's request that cannot be passed on.
func (d *descent) refuse(message []byte, e *mcp.Envelope) {
	id := slices.Clone(e.ID.Of(message))
	reply := mcp.AppendError(nil, id, mcp.CodeMethodNotFound, "The client does not support this.", nil)
	if e.Method == mcp.MethodPing {
		reply = mcp.AppendResult(nil, id, []byte(`{}`))
	}
	r := owned(&d.sent)
	d.t.errand(func(ctx context.Context) { _ = d.t.hub.Reply(ctx, &r, reply) })
}

// owned copies a request, so that it outlives the client's.
func owned(r *upstream.Request) upstream.Request {
	c := *r
	c.Body, c.ID = slices.Clone(r.Body), slices.Clone(r.ID)
	c.Client.Capabilities, c.Client.Info = slices.Clone(r.Client.Capabilities), slices.Clone(r.Client.Info)
	return c
}

// digest names the request that a requestState belongs to: all that is asked
// of the server, in any order, but for what a retry adds.
func (d *descent) digest() [sha256.Size]byte {
	var members []string
	for m := range mcp.Members(d.r.Body, d.e.Params) {
		if m.Is(d.r.Body, "_meta") || m.Is(d.r.Body, "inputResponses") || m.Is(d.r.Body, "requestState") {
			continue
		}
		members = append(members, string(m.Key.Of(d.r.Body))+":"+string(m.Value.Of(d.r.Body)))
	}
	slices.Sort(members)
	h := sha256.New()
	for _, part := range append([]string{d.r.Server.Key(), d.r.Method}, members...) {
		h.Write(append([]byte(part), 0))
	}
	return [sha256.Size]byte(h.Sum(nil))
}
