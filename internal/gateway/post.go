package gateway

import (
	"errors"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// post reads one message and hands it to its method.
func (g *Gateway) post(x *exchange) {
	if err := x.read(); err != nil {
		deny(x.web.w, x.r, err)
		return
	}
	if x.r.URL.RawQuery != "" {
		if p := g.pairs.find(x); p != nil {
			p.post(x)
			return
		}
	}
	if err := mcp.Scan(x.body, &x.e, mcp.Limits{}); err != nil {
		if errors.Is(err, mcp.ErrBatch) {
			g.batch(x)
			return
		}
		x.misread(err)
		return
	}
	if err := x.place(); err != nil {
		x.fail(err)
		return
	}
	g.dispatch(x)
}

// misread answers a message that was not understood. Nothing of it is used but
// the id.
func (x *exchange) misread(err error) {
	x.e = mcp.Envelope{ID: x.e.ID}
	x.era = mcp.EraOf(x.header(canonicalVersion), &x.e)
	x.fail(err)
}

// place finds the message's era and revision, and a legacy client's session.
func (x *exchange) place() error {
	header := x.header(canonicalVersion)
	x.era = mcp.EraOf(header, &x.e)
	if x.era == mcp.Modern || x.e.Method == mcp.MethodInitialize && !x.e.ProtocolVersionSpan.Empty() {
		x.era = mcp.Modern // an initialize that has what modern messages have is one they do not have
		return x.placeModern(header)
	}
	x.rev = mcp.LatestLegacy
	if x.e.Method == mcp.MethodInitialize {
		return nil
	}
	if header != "" {
		if _, ok := mcp.Known(header); !ok {
			return errVersion.With("requested", header)
		}
	}
	sid := x.header(mcp.HeaderSessionID)
	if sid == "" {
		return errNoHeader
	}
	s, err := x.g.sessions.find(x.r.Context(), x.ep.by, sid)
	if err != nil {
		return err
	}
	x.in(s)
	return nil
}

// in puts the message into a session.
func (x *exchange) in(s *session) { x.s, x.rev, x.web.s = s, s.revision, s }

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
	case x.header(canonicalMethod) != x.e.Method:
		return mcp.ErrBadHeader.Saying("The header %s must name the method of the message.", mcp.HeaderMethod)
	case x.e.Kind == mcp.Request && x.e.ClientCapabilities.Empty():
		return mcp.ErrBadParams.Saying("params._meta must hold %s.", mcp.MetaClientCapabilities)
	}
	for _, name := range [...]string{canonicalMethod, canonicalName, canonicalVersion} {
		if len(x.r.Header[name]) > 1 {
			return mcp.ErrBadHeader.Saying("The header %s may be sent once.", name)
		}
	}
	x.rev = rev
	return x.checkName()
}

// The header names as net/http keeps them.
const (
	canonicalMethod  = "Mcp-Method"
	canonicalName    = "Mcp-Name"
	canonicalVersion = "Mcp-Protocol-Version"
)

// header returns what a header says first. Its name is as net/http keeps it:
// nobody has to make it so for each message.
func (x *exchange) header(name string) string {
	if values := x.r.Header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// checkName compares Mcp-Name with what the body calls.
func (x *exchange) checkName() error {
	span, ok := x.named()
	if !ok {
		return nil
	}
	header := x.header(canonicalName)
	if span.Empty() || header == "" || !mcp.MatchName(header, x.body, span) {
		return mcp.ErrBadHeader.Saying("The header %s must name what the message names.", mcp.HeaderName)
	}
	return nil
}

// checkParams compares the Mcp-Param-* headers with the arguments that the
// tool's schema wants mirrored in them. Headers it does not name are the
// server's business.
func (x *exchange) checkParams(server *catalog.Server, name string) error {
	tools := x.g.Hub.Kept(x.r.Context(), server, x.ep.by, upstream.Tools)
	if tools == nil {
		return nil // never listed: the client can't know of any, and the server judges
	}
	tool, ok := tools.Find(name)
	if !ok {
		return nil
	}
	for _, p := range tool.Headers {
		headers := x.r.Header.Values(mcp.HeaderParamPrefix + p.Header)
		v, ok := mcp.Find(x.body, x.e.Arguments, p.Path...)
		switch {
		case len(headers) == 0 && (!ok || mcp.IsNull(x.body, v)):
		case len(headers) != 1 || !ok || !mcp.MatchParam(headers[0], x.body, v):
			return mcp.ErrBadHeader.Saying("The header %s%s must say what the argument says.", mcp.HeaderParamPrefix, p.Header)
		}
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
	switch x.e.Kind {
	case mcp.Notification:
		g.notification(x)
		return
	case mcp.Response, mcp.ErrorResponse:
		g.reply(x)
		return
	}
	switch x.e.Method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead:
		g.call(x) // counts against the rate by itself
		return
	}
	if err := g.Allow(x.r.Context(), x.ep.by); err != nil {
		x.fail(err)
		return
	}
	switch x.e.Method {
	case mcp.MethodToolsList, mcp.MethodPromptsList, mcp.MethodResourcesList, mcp.MethodResourceTemplatesList:
		g.list(x)
		return
	case mcp.MethodComplete:
		g.complete(x)
		return
	}
	if x.era == mcp.Modern {
		g.modern(x)
	} else {
		g.legacy(x)
	}
}
