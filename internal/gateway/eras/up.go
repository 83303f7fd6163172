package eras

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	maxRounds  = 10
	maxWaits   = 3 // rounds in which a server only asks for patience
	waitTime   = 200 * time.Millisecond
	answerTime = 10 * time.Minute // for a client to answer a question
)

// ascent is a legacy client's request to a modern server.
type ascent struct {
	t    *Translator
	r    *upstream.Request // the client's
	f    *upstream.Facts
	sink upstream.Sink
	sent upstream.Request // the server's
	base []byte           // its body before any answers
	e    mcp.Envelope     // of base
	open []string         // elicitations of pages that the client is to be told the end of
}

// up makes a legacy client's request of a modern server.
func (t *Translator) up(ctx context.Context, r *upstream.Request, f *upstream.Facts, sink upstream.Sink) (*answer, error) {
	switch r.Method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead, mcp.MethodComplete:
	case mcp.MethodPing, mcp.MethodSetLevel:
		return made(mcp.AppendResult(nil, r.ID, []byte(`{}`)), http.StatusOK)
	case mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe:
		if v, ok := mcp.Find(f.Capabilities, mcp.Root(f.Capabilities), "resources", "subscribe"); !ok || string(v.Of(f.Capabilities)) != "true" {
			return methodNotFound(r.ID, http.StatusOK)
		}
		return made(mcp.AppendResult(nil, r.ID, []byte(`{}`)), http.StatusOK) // who listens asks for it
	default:
		return methodNotFound(r.ID, http.StatusOK)
	}
	u := &ascent{t: t, r: r, f: f, sink: sink}
	if err := u.translate(); err != nil {
		return nil, err
	}
	waits := 0
	for range maxRounds {
		a, err := t.hub.Exchange(ctx, &u.sent, u.events())
		if err != nil {
			return nil, err
		}
		if a.Envelope.ResultType != mcp.ResultInputRequired {
			u.complete()
			return legacied(a, r.Method, r.ID)
		}
		requests, _ := mcp.Get(a.Body, a.Envelope.Result, "inputRequests")
		if requests.Empty() || string(requests.Of(a.Body)) == "{}" {
			waits++
			if err := pause(ctx, waitTime); err != nil || waits > maxWaits {
				a.Release()
				return nil, orRounds(err)
			}
		}
		done, err := u.round(ctx, a, requests)
		if done != nil || err != nil {
			return done, err
		}
	}
	return nil, ErrRounds
}

func orRounds(err error) error {
	if err != nil {
		return err
	}
	return ErrRounds
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// events is the sink of the server's request.
func (u *ascent) events() upstream.Sink {
	if u.sink == nil {
		return nil
	}
	return u
}

// Event implements upstream.Sink: a modern server's notifications are a legacy
// one's, and requests it has none.
func (u *ascent) Event(message []byte, e *mcp.Envelope) error {
	if e.Kind != mcp.Notification {
		return nil
	}
	return u.sink.Event(message, e)
}

// translate makes the request as the server knows it: with all that a session
// has agreed on in its _meta.
func (u *ascent) translate() error {
	body := u.r.Body
	if err := mcp.Scan(body, &u.e, mcp.Limits{}); err != nil {
		return err
	}
	if edits := mcp.StripEra(nil, body, &u.e); len(edits) > 0 { // what only looks like it
		body = mcp.Splice(nil, body, edits...)
		if err := mcp.Scan(body, &u.e, mcp.Limits{}); err != nil {
			return err
		}
	}
	meta := u.meta()
	var edit mcp.Edit
	switch {
	case !u.e.Meta.Empty():
		edit = opening(body, u.e.Meta, meta)
	case !u.e.Params.Empty():
		edit = opening(body, u.e.Params, append(append([]byte(`"_meta":{`), meta[:len(meta)-1]...), "},"...))
	default:
		edit = opening(body, mcp.Root(body), append(append([]byte(`"params":{"_meta":{`), meta[:len(meta)-1]...), "}},"...))
	}
	u.base = mcp.Splice(make([]byte, 0, len(body)+len(meta)+16), body, edit)
	u.sent = *u.r
	u.sent.Revision, u.sent.Affinity, u.sent.Body, u.sent.Client = u.f.Revision, "", u.base, upstream.Client{}
	return mcp.Scan(u.base, &u.e, mcp.Limits{})
}

// meta returns the members of _meta that every modern request has, each with a
// comma behind it.
func (u *ascent) meta() []byte {
	out := append([]byte(`"`+mcp.MetaProtocolVersion+`":"`), u.f.Revision...)
	out = append(append(out, `","`+mcp.MetaClientCapabilities+`":`...), narrowed(u.r.Client.Capabilities)...)
	if len(u.r.Client.Info) > 0 {
		out = append(append(out, `,"`+mcp.MetaClientInfo+`":`...), u.r.Client.Info...)
	}
	if u.f.Has("logging") {
		level := u.r.Client.Level
		if level == "" {
			level = "info" // a legacy client hears what its server thinks it should
		}
		out = mcp.AppendString(append(out, `,"`+mcp.MetaLogLevel+`":`...), level)
	}
	return append(out, ',')
}

// round asks the client what the server asks for, and makes the request again
// with its answers. It returns an answer when the client has refused.
func (u *ascent) round(ctx context.Context, a *answer, requests mcp.Span) (*answer, error) {
	defer a.Release()
	var extra []byte
	if !requests.Empty() {
		responses, refusal, err := u.gather(ctx, a.Body, requests)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			return made(refusal, http.StatusOK)
		}
		extra = append(append([]byte(`"inputResponses":`), responses...), ',')
	}
	if state, ok := mcp.Get(a.Body, a.Envelope.Result, "requestState"); ok {
		extra = append(append(append(extra, `"requestState":`...), state.Of(a.Body)...), ',')
	}
	if extra == nil {
		return nil, upstream.ErrNonsense // at least one of the two must be there
	}
	edits := []mcp.Edit{opening(u.base, u.e.Params, extra)}
	u.sent.ID = append(strconv.AppendUint([]byte(`"headgate-retry-`), u.t.serial.Add(1), 10), '"')
	edits = append(edits, mcp.Edit{Span: u.e.ID, With: u.sent.ID})
	slices.SortFunc(edits, func(x, y mcp.Edit) int { return x.Start - y.Start })
	u.sent.Body = mcp.Splice(nil, u.base, edits...)
	return nil, nil
}

// complete tells the client that pages it was sent to have done their work: the
// server has gone on.
func (u *ascent) complete() {
	for _, id := range u.open {
		note := mcp.AppendRequest(nil, nil, mcp.NotifyElicitationComplete, append(mcp.AppendString([]byte(`{"elicitationId":`), id), '}'))
		var e mcp.Envelope
		if mcp.ScanReply(note, &e, mcp.Limits{}) == nil && u.sink != nil {
			_ = u.sink.Event(note, &e) // a client that has gone needs no telling
		}
	}
}
