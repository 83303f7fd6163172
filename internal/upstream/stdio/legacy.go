package stdio

import (
	"net/http"
	"slices"

	"headgate/internal/mcp"
)

// initialize opens a session: of ours, for the child has one for all.
func (x *exchange) initialize() {
	f, err := x.known()
	if err != nil {
		x.out.fail(err)
		return
	}
	if f.era == mcp.Modern {
		x.refuse(http.StatusBadRequest, mcp.CodeUnsupportedVersion, "this server speaks the revisions without a handshake")
		return
	}
	var capabilities []byte
	if v, ok := mcp.Get(x.body, x.env.Params, "capabilities"); ok {
		capabilities = slices.Clone(v.Of(x.body))
	}
	s, err := x.program.open(capabilities)
	if err != nil {
		x.out.fail(err)
		return
	}
	x.web.w.Header().Set(mcp.HeaderSessionID, s.id)
	x.result(f.result)
}

// legacy takes a message in a session.
func (x *exchange) legacy() {
	if f := x.program.facts.Load(); f != nil && f.era == mcp.Modern {
		x.refuse(http.StatusBadRequest, mcp.CodeUnsupportedVersion, "this server speaks the revisions without a handshake")
		return
	}
	s := x.program.session(x.session)
	if s == nil {
		x.refuse(http.StatusNotFound, mcp.CodeInvalidRequest, "there is no such session")
		return
	}
	switch x.env.Kind {
	case mcp.Request:
		x.request(s)
	case mcp.Notification:
		x.note(s)
	default:
		x.answered(s)
	}
}

func (x *exchange) request(s *session) {
	switch x.env.Method {
	case mcp.MethodPing:
		x.result([]byte(`{}`)) // of the session, which lives while the child sleeps
	case mcp.MethodSetLevel:
		x.setLevel(s)
	case mcp.MethodResourcesSubscribe, mcp.MethodResourcesUnsubscribe:
		x.subscribe(s)
	default:
		if known := x.program.asleep(x.body, &x.env); known != nil {
			x.result(known)
			return
		}
		k := newCall(x.env.Method)
		k.session = s
		x.relay(k)
	}
}

// setLevel tells the child the lowest level that anybody wants; each session
// is then shown its own part.
func (x *exchange) setLevel(s *session) {
	v, _ := mcp.Get(x.body, x.env.Params, "level")
	name, _ := mcp.String(x.body, v)
	own := levelOf(name)
	_, before := x.program.agreed()
	if own != unset {
		s.level.Store(int32(own))
	}
	_, want := x.program.agreed()
	if own != unset && (want == before || x.program.running() == nil) {
		x.result([]byte(`{}`)) // the child says as much already, or will when it starts
		return
	}
	if own != unset {
		x.edit(mcp.Edit{Span: v, With: mcp.AppendString(nil, want.String())})
	}
	k := newCall(x.env.Method)
	k.session = s
	x.relay(k)
}

// subscribe passes on the first subscription to a resource and the end of the
// last one.
func (x *exchange) subscribe(s *session) {
	uri, _ := mcp.String(x.body, x.env.URI)
	before, _ := x.program.agreed()
	adds := x.env.Method == mcp.MethodResourcesSubscribe
	s.mu.Lock()
	full := len(s.subs) >= maxEvents
	switch {
	case !adds:
		delete(s.subs, uri)
	case s.subs == nil:
		s.subs = map[string]bool{uri: true}
	case !full:
		s.subs[uri] = true
	}
	s.mu.Unlock()
	after, _ := x.program.agreed()
	switch {
	case adds && full:
		x.refuse(http.StatusOK, mcp.CodeInternal, "this session watches too many resources")
		return
	case adds && before[uri], !adds && after[uri]:
		x.result([]byte(`{}`)) // the child watches it for others as well
		return
	}
	k := newCall(x.env.Method)
	k.session = s
	x.relay(k)
}

// edit changes the body before it is sent.
func (x *exchange) edit(e mcp.Edit) {
	x.body = mcp.Splice(nil, x.body, e)
	_ = x.scan() // it was readable before
}

// note takes a notification of the client.
func (x *exchange) note(s *session) {
	if c := x.program.running(); c != nil {
		switch x.env.Method {
		case mcp.NotifyInitialized, mcp.NotifyRootsChanged: // of ours; not offered
		case mcp.NotifyCancelled:
			for _, k := range c.callsOf(s, x.env.RequestID.Of(x.body)) {
				c.abandon(k, "the client cancelled the request")
				select {
				case k.answer <- &reply{}:
				default: // it was answered at this very moment
				}
			}
		default:
			_ = c.pass(x.ctx, x.deadline, x.body) // a child that is gone needs no word
		}
	}
	x.out.reply(http.StatusAccepted, nil)
}

// callsOf finds the calls of a session with the caller's id.
func (c *conn) callsOf(s *session, id []byte) (found []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		if k.session == s && mcp.SameID(k.rawID, id) {
			found = append(found, k)
		}
	}
	return found
}

// answered takes a client's answer to what the child asked it.
func (x *exchange) answered(s *session) {
	c := x.program.running()
	if c == nil || !c.takeAsk(string(x.id()), s) {
		x.out.reply(http.StatusNotFound, nil)
		return
	}
	if err := c.pass(x.ctx, x.deadline, x.body); err != nil {
		x.out.fail(err)
		return
	}
	x.out.reply(http.StatusAccepted, nil)
}
