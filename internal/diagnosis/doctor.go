package diagnosis

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// doctor is one run over a network.
type doctor struct {
	svc            *Service
	line           *line // with the credentials
	report         *Report
	era            catalog.Era // a pin
	slug           string      // for merged names
	alwaysDiscover bool        // ask for OAuth metadata even where no sign-in is asked for
}

// run makes every check. The order is that of a client's life, so that the
// first thing that is wrong is the first thing to mend.
func (d *doctor) run(ctx context.Context) {
	r := d.report
	p := d.probe(ctx)
	r.Probe = p.report
	r.Checks.Probe = d.probeCheck(p)
	d.network(ctx, p)
	switch {
	case p.err != nil:
		d.disconnected(problemOf(p.err))
	case p.report.Status == probeOAuth && len(d.line.fields) == 0:
		r.Connection.Detail = "The server wants a sign-in first."
		r.Checks.Connection.Detail = r.Connection.Detail
		r.fail(&Problem{Code: codeOAuth, Message: "The server wants a sign-in (OAuth) before it can be used."})
	default:
		d.connect(ctx, p)
	}
	d.auth(p)
	if r.Connection.Status == connected {
		d.inventory(ctx)
		d.surface()
		d.protocol(ctx, p)
		d.line.leave(ctx)
	}
	d.latency()
	r.conclude()
}

func (d *doctor) probeCheck(p *probed) Check {
	switch p.report.Status {
	case probeReady:
		return Check{OK, "A request without credentials was answered (" + p.report.Transport.Selected + ")."}
	case probeOAuth:
		if len(d.line.fields) > 0 {
			return Check{OK, "A request without credentials is refused; going on with the configured ones."}
		}
		return Check{Error, "The server wants a sign-in before it can be used."}
	case probeReachable:
		if len(d.line.fields) > 0 {
			return Check{OK, "Without credentials the answer is no MCP; going on with the configured ones."}
		}
		return Check{Error, "The address answers, but not as an MCP server."}
	}
	return Check{Error, p.report.Error}
}

func (d *doctor) disconnected(p *Problem) {
	r := d.report
	r.Connection = Connection{Error, p.Message}
	r.Checks.Connection = Check{Error, p.Message}
	r.fail(p)
}

// connect opens the server as a client with the credentials would.
func (d *doctor) connect(ctx context.Context, p *probed) {
	if p.report.Transport.Selected == sse {
		old, err := openOld(ctx, d.line)
		if err != nil {
			d.disconnected(problemOf(err))
			return
		}
		d.line.old = old
		d.shakeHands(ctx)
		return
	}
	modern := p.modern || p.report.Status != probeReady
	if d.era != catalog.Legacy && modern && d.discover(ctx) {
		return
	}
	if d.era == catalog.Modern {
		d.disconnected(&Problem{Code: codeUnreachable, Message: "The server does not answer server/discover, and is pinned to the modern era."})
		return
	}
	d.shakeHands(ctx)
}

// discover asks a modern server what it is, and reports whether it is one.
func (d *doctor) discover(ctx context.Context) bool {
	l := d.line
	l.era, l.revision = mcp.Modern, mcp.LatestModern
	a, err := l.call(ctx, mcp.MethodDiscover, "", nil)
	if err != nil {
		return false
	}
	result, ok := a.result()
	if !ok {
		return false
	}
	versions, _ := mcp.Get(a.body, result, "supportedVersions")
	for v := range mcp.Elements(a.body, versions) {
		if mcp.Equal(a.body, v, string(mcp.LatestModern)) {
			d.opened(a, string(mcp.LatestModern))
			return true
		}
	}
	return false
}

// shakeHands opens a session.
func (d *doctor) shakeHands(ctx context.Context) {
	l := d.line
	l.era, l.revision, l.session = mcp.Legacy, "", ""
	id := l.next()
	a, err := l.send(ctx, initializeBody(id), id, http.Header{})
	if err != nil {
		d.disconnected(problemOf(err))
		return
	}
	l.step("connect", a)
	result, ok := a.result()
	if !ok {
		d.disconnected(refusal(a))
		return
	}
	v, _ := mcp.Get(a.body, result, "protocolVersion")
	version, _ := mcp.String(a.body, v)
	revision, known := mcp.Known(version)
	if !known || revision.Era() != mcp.Legacy {
		d.disconnected(&Problem{Code: codeUnreachable, Message: "The server agreed on a protocol version that does not exist."})
		return
	}
	l.revision, l.session = revision, a.header.Get(mcp.HeaderSessionID)
	note, err := l.send(ctx, l.message(nil, mcp.NotifyInitialized, nil), nil, l.headers(mcp.NotifyInitialized, ""))
	d.opened(a, version)
	if err == nil && note.status != http.StatusAccepted && l.old == nil {
		d.report.find(Finding{ID: "protocol.notification-status", Check: "protocol", Severity: SevWarning,
			What: fmt.Sprintf("notifications/initialized is answered with HTTP %d instead of 202.", note.status),
			Why:  "Strict clients take another status for a refusal and close the session.", Fix: "Answer accepted notifications with 202 and no body."})
	}
}

// refusal words an answer that opened nothing.
func refusal(a *answer) *Problem {
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return &Problem{Code: codeForbidden, Message: "The server does not accept the configured credentials.", Details: map[string]any{"status": a.status}}
	case a.status >= 300 && a.status < 400:
		return &Problem{Code: codeUnreachable, Message: "The server redirects. Register the address it redirects to.", Details: map[string]any{"status": a.status}}
	case a.rpcCode() != 0:
		return &Problem{Code: codeUnreachable, Message: "The server answered the request with an error.", Details: map[string]any{"rpcCode": a.rpcCode(), "status": a.status}}
	}
	return &Problem{Code: codeUnreachable, Message: "The answer is not MCP. " + a.wrong, Details: map[string]any{"status": a.status}}
}

// opened notes what a server says of itself.
func (d *doctor) opened(a *answer, version string) {
	r := d.report
	r.Connection = Connection{connected, "Connected and initialized."}
	r.Checks.Connection = Check{OK, r.Connection.Detail}
	result, _ := a.result()
	object := func(key string) json.RawMessage {
		if v, ok := mcp.Get(a.body, result, key); ok && a.body[v.Start] == '{' {
			return compact(v.Of(a.body))
		}
		return nil
	}
	info := &InitInfo{ProtocolVersion: version, Era: d.line.era.String(), ServerInfo: object("serverInfo"), Capabilities: object("capabilities")}
	if d.line.era == mcp.Modern && !a.env.ServerInfo.Empty() {
		info.ServerInfo = compact(a.env.ServerInfo.Of(a.body))
	}
	if v, ok := mcp.Get(a.body, result, "instructions"); ok {
		text, _ := mcp.String(a.body, v)
		info.Instructions = clip(text, 8<<10)
	}
	r.InitInfo, r.Capabilities = info, info.Capabilities
	d.describe()
}

// describe makes the checks of what the server says of itself.
func (d *doctor) describe() {
	r := d.report
	r.Checks.Initialization = Check{OK, "The server speaks " + r.InitInfo.ProtocolVersion + "."}
	if r.InitInfo.ServerInfo == nil && r.InitInfo.Era == mcp.Legacy.String() {
		r.Checks.Initialization = Check{Error, "The server connected but does not say what it is (serverInfo)."}
	}
	if r.Capabilities == nil {
		r.Checks.Capabilities = Check{Error, "The server connected but declares no capabilities."}
		return
	}
	var names []string
	for m := range mcp.Members(r.Capabilities, mcp.Root(r.Capabilities)) {
		if name, err := mcp.String(r.Capabilities, m.Key); err == nil {
			names = append(names, clip(name, 64))
		}
	}
	slices.Sort(names)
	r.Checks.Capabilities = Check{OK, fmt.Sprintf("The server declares %d capabilities.", len(names))}
}

func (r *Report) has(capability string) bool {
	if r.Capabilities == nil {
		return false
	}
	_, ok := mcp.Get(r.Capabilities, mcp.Root(r.Capabilities), capability)
	return ok
}

// leave says goodbye.
func (l *line) leave(ctx context.Context) {
	if l.old != nil {
		l.old.close()
		l.old = nil
		return
	}
	if l.session != "" {
		_, _ = l.do(ctx, http.MethodDelete, nil, nil, l.headers("", ""))
	}
}

// failList words a list that could not be had.
func failList(kind string, a *answer, err error) (Check, *Problem) {
	switch {
	case err != nil:
		p := problemOf(err)
		return Check{Error, p.Message}, p
	case a.rpcCode() == mcp.CodeMethodNotFound:
		p := &Problem{Code: codeFeature, Message: "The server declares " + kind + " but does not know how to list them."}
		return Check{Error, p.Message}, p
	}
	p := refusal(a)
	return Check{Error, p.Message}, p
}

// problemFault is problemOf for what the upstream package says.
func problemFault(err error) *Problem {
	f := fault.Of(err)
	return &Problem{Code: codeOf(f), Message: f.Message}
}
