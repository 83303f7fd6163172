package gateway

import (
	"errors"
	"net/http"
	"strings"

	"headgate/internal/access"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

// post reads one message and hands it to its method.
func (g *Gateway) post(w http.ResponseWriter, r *http.Request, by *access.Principal, ep *endpoint) {
	x := g.begin(w, r, by, ep)
	defer x.end()
	if err := x.read(); err != nil {
		deny(w, r, err)
		return
	}
	if err := mcp.Scan(x.body, &x.e, mcp.Limits{}); err != nil {
		if errors.Is(err, mcp.ErrBatch) {
			g.batch(x)
			return
		}
		x.e = mcp.Envelope{ID: x.e.ID} // nothing else of a message that was not understood is used
		x.era = mcp.EraOf(r.Header.Get(mcp.HeaderProtocolVersion), &x.e)
		x.fail(err)
		return
	}
	if err := x.place(); err != nil {
		x.fail(err)
		return
	}
	g.dispatch(x)
}

// place finds the message's era and revision, and a legacy client's session.
func (x *exchange) place() error {
	header := x.r.Header.Get(mcp.HeaderProtocolVersion)
	x.era = mcp.EraOf(header, &x.e)
	if x.era == mcp.Modern {
		return x.placeModern(header)
	}
	x.rev = mcp.LatestLegacy
	if x.e.Method == mcp.MethodInitialize {
		return nil
	}
	if header != "" {
		rev, ok := mcp.Known(header)
		if !ok {
			return errVersion.With("requested", header)
		}
		x.rev = rev
	}
	sid := x.r.Header.Get(mcp.HeaderSessionID)
	if sid == "" {
		return errNoHeader
	}
	s, err := x.g.sessions.find(x.by, sid)
	if err != nil {
		return err
	}
	x.s, x.rev = s, s.revision
	return nil
}

// placeModern checks what a message without a session must say of itself, and
// that the mirrored headers say the same (2026-07-28, Streamable HTTP).
func (x *exchange) placeModern(header string) error {
	rev, ok := mcp.Known(x.e.ProtocolVersion)
	switch {
	case x.e.Kind.IsReply():
		return mcp.ErrNotMessage.Saying("A client of revision 2026-07-28 sends no responses.")
	case x.e.ProtocolVersionSpan.Empty():
		return mcp.ErrBadParams.Saying("params._meta must hold %s and %s.", mcp.MetaProtocolVersion, mcp.MetaClientCapabilities)
	case header == "" || header != x.e.ProtocolVersion:
		return mcp.ErrBadHeader.Saying("The header %s must say what params._meta says.", mcp.HeaderProtocolVersion)
	case !ok || rev.Era() != mcp.Modern:
		return errVersion.With("requested", x.e.ProtocolVersion)
	case x.r.Header.Get(mcp.HeaderMethod) != x.e.Method:
		return mcp.ErrBadHeader.Saying("The header %s must name the method of the message.", mcp.HeaderMethod)
	case x.e.Kind == mcp.Request && x.e.ClientCapabilities.Empty():
		return mcp.ErrBadParams.Saying("params._meta must hold %s.", mcp.MetaClientCapabilities)
	}
	for _, name := range []string{mcp.HeaderMethod, mcp.HeaderName, mcp.HeaderProtocolVersion} {
		if len(x.r.Header.Values(name)) > 1 {
			return mcp.ErrBadHeader.Saying("The header %s may be sent once.", name)
		}
	}
	x.rev = rev
	return x.checkName()
}

// checkName compares Mcp-Name with what the body calls.
func (x *exchange) checkName() error {
	span, ok := x.named()
	if !ok {
		return nil
	}
	header := x.r.Header.Get(mcp.HeaderName)
	if span.Empty() || header == "" || !mcp.MatchName(header, x.body, span) {
		return mcp.ErrBadHeader.Saying("The header %s must name what the message names.", mcp.HeaderName)
	}
	return nil
}

// named returns the span that Mcp-Name mirrors for this method.
func (x *exchange) named() (mcp.Span, bool) {
	switch mcp.NamedBy(x.e.Method) {
	case "name":
		return x.e.Name, true
	case "uri":
		return x.e.URI, true
	case "taskId":
		return x.e.TaskID, true
	}
	return mcp.Span{}, false
}

// dispatch is the table of methods.
func (g *Gateway) dispatch(x *exchange) {
	switch {
	case x.e.Kind.IsReply():
		x.reply()
		return
	case x.e.Kind == mcp.Notification:
		x.notification()
		return
	}
	switch x.e.Method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead:
		g.call(x)
		return
	}
	if err := g.Allow(x.r.Context(), x.by); err != nil {
		x.fail(err)
		return
	}
	switch x.e.Method {
	case mcp.MethodToolsList, mcp.MethodPromptsList, mcp.MethodResourcesList, mcp.MethodResourceTemplatesList:
		g.list(x)
	case mcp.MethodComplete:
		g.complete(x)
	default:
		if x.era == mcp.Modern {
			g.modern(x)
		} else {
			g.legacy(x)
		}
	}
}

// call uses a tool, a prompt or a resource: the door's half of call.Do.
func (g *Gateway) call(x *exchange) {
	server, name, err := x.target()
	if err != nil {
		x.fail(err)
		return
	}
	r := call.Request{Door: "gateway", CallID: callID(x.r), UserAgent: x.r.UserAgent()}
	if a := request.ClientAddr(x.r.Context()); a.IsValid() {
		r.IP = a.String()
	}
	r.Request, x.asking = x.outbound(server, name), server
	ctx, cancel := x.context()
	defer cancel()
	if x.s != nil {
		if err := x.s.begin(x.id(), cancel); err != nil {
			x.fail(err)
			return
		}
		defer x.s.done(x.id())
	}
	a, err := g.Calls.Do(ctx, &r, &x.sink)
	if err != nil {
		x.refused(err)
		return
	}
	defer a.Release()
	x.answer(x.status(a), a.Body)
}

// status is the HTTP status of a relayed answer: modern servers give errors
// one, legacy clients must not see it.
func (x *exchange) status(a *upstream.Answer) int {
	if x.era == mcp.Modern && a.Envelope.Kind == mcp.ErrorResponse && a.Status >= 400 {
		return a.Status
	}
	return http.StatusOK
}

// refused says why there is no answer. What a person can mend by paying is a
// tool's result, for the model to read.
func (x *exchange) refused(err error) {
	f := fault.Of(err)
	if f.Kind == fault.Unpaid && x.e.Method == mcp.MethodToolsCall {
		note(x.r, err)
		x.out = unpaid(x.out[:0], x.id(), x.era, x.r, f)
		x.answer(http.StatusOK, x.out)
		return
	}
	x.fail(err)
}

// callID is the request's own id, so that the log line is found by what the
// client was told; a further call of the same request gets a fresh one.
func callID(r *http.Request) id.Raw {
	if raw, ok := id.ParseRaw("req", request.ID(r.Context())); ok {
		return raw
	}
	return id.NewRaw()
}

// outbound makes the request for the server: the name as the server knows it,
// everything else byte for byte.
func (x *exchange) outbound(server *catalog.Server, name string) upstream.Request {
	out := upstream.Request{Server: server, By: x.by, Revision: x.rev, Method: x.e.Method, Name: name, ID: x.id(), Body: x.body}
	span, _ := x.named()
	if !span.Empty() && !mcp.Equal(x.body, span, name) {
		x.sent = mcp.Splice(x.sent[:0], x.body, mcp.Edit{Span: span, With: mcp.AppendString(nil, name)})
		out.Body = x.sent
	}
	if x.s != nil {
		out.Affinity, out.Client = x.s.affinity, x.s.client
	} else {
		for h, v := range x.r.Header {
			if name, ok := strings.CutPrefix(h, mcp.HeaderParamPrefix); ok && len(v) == 1 {
				out.Params = append(out.Params, upstream.Param{Name: name, Value: v[0]})
			}
		}
	}
	return out
}
