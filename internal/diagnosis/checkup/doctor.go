package checkup

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/diagnosis/report"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/netguard"
)

// Options say what to examine, and how.
type Options struct {
	URL     string
	Headers []catalog.Header  // the credentials
	Era     catalog.Era       // a pin
	Slug    string            // for the names of merged endpoints; "" for none
	Client  *http.Client      // of this run alone; see Client
	Resolve netguard.Resolver // for the dns check
	Roots   *x509.CertPool    // who may vouch for certificates; nil is the system's
	// Dial is a guard's, for handshakes of the tls check; nil leaves them out.
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	Now      func() time.Time
	Patience time.Duration // with one exchange
	Register bool          // try dynamic client registration
	Call     *Call         // a tool to call; nil calls none
}

// OverNetwork examines a server at a URL and fills the report in.
func OverNetwork(ctx context.Context, r *report.Report, o Options) {
	d := &doctor{Options: o, report: r, line: &line{client: o.Client, url: o.URL, fields: o.Headers, patience: o.Patience, steps: &r.Steps, odd: &odd{}}}
	d.run(ctx)
	r.Scrub(append(secretsOf(o.URL, o.Headers), d.line.session))
}

// doctor is one run.
type doctor struct {
	Options
	line     *line // with the credentials
	report   *report.Report
	mirrored string   // what was tried of headers that mirror arguments
	scope    string   // what a sign-in asks for
	tried    []string // to read
}

// run makes every check. The order is that of a client's life, so that the
// first thing that is wrong is the first thing to mend.
func (d *doctor) run(ctx context.Context) {
	r := d.report
	p := d.probe(ctx)
	if p.err != nil {
		d.handshake(ctx, p)
	}
	r.Probe = p.report
	r.Checks.Probe = d.probeCheck(p)
	d.network(ctx, p)
	switch {
	case p.err != nil:
		d.disconnected(p.problem)
	case p.report.Status == report.ProbedOAuth && len(d.line.fields) == 0:
		r.Connection.Detail = "The server wants a sign-in first."
		r.Checks.Connection.Detail = r.Connection.Detail
		r.Fail(&report.Problem{Code: codeOAuth, Message: "The server wants a sign-in (OAuth) before it can be used."})
	default:
		d.connect(ctx, p)
	}
	d.auth(ctx, p)
	d.registration(ctx, p)
	if r.Connection.Status == report.Connected {
		d.inventory(ctx)
		d.surface()
		d.callTool(ctx)
		d.protocol(ctx, p)
		d.line.leave(ctx)
	}
	d.latency()
	r.Conclude()
}

func (d *doctor) probeCheck(p *probed) report.Check {
	switch p.report.Status {
	case report.ProbedReady:
		return report.Check{Status: report.OK, Detail: "A request without credentials was answered (" + p.report.Transport.Selected + ")."}
	case report.ProbedOAuth:
		if len(d.line.fields) > 0 {
			return report.Check{Status: report.OK, Detail: "A request without credentials is refused; going on with the configured ones."}
		}
		return report.Check{Status: report.Error, Detail: "The server wants a sign-in before it can be used."}
	case report.ProbedReachable:
		if len(d.line.fields) > 0 {
			return report.Check{Status: report.OK, Detail: "Without credentials the answer is no MCP; going on with the configured ones."}
		}
		return report.Check{Status: report.Error, Detail: "The address answers, but not as an MCP server."}
	}
	return report.Check{Status: report.Error, Detail: p.report.Error}
}

func (d *doctor) disconnected(p *report.Problem) { Disconnected(d.report, p) }

// Disconnected notes that there was no connection, and why.
func Disconnected(r *report.Report, p *report.Problem) {
	r.Connection = report.Connection{Status: report.Error, Detail: p.Message}
	r.Checks.Connection = report.Check{Status: report.Error, Detail: p.Message}
	r.Fail(p)
	trouble(r, p)
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
	modern := p.modern || p.report.Status != report.ProbedReady
	if d.Era != catalog.Legacy && modern && d.discover(ctx) {
		return
	}
	if d.Era == catalog.Modern {
		d.disconnected(&report.Problem{Code: codeUnreachable, Message: "The server does not answer server/discover, and is pinned to the modern era."})
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
			d.cacheHints(mcp.MethodDiscover, a, new(string))
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
		d.disconnected(&report.Problem{Code: codeUnreachable, Message: "The server agreed on a protocol version that does not exist."})
		return
	}
	l.revision, l.session = revision, a.header.Get(mcp.HeaderSessionID)
	note, err := l.send(ctx, l.message(nil, mcp.NotifyInitialized, nil), nil, l.headers(mcp.NotifyInitialized, ""))
	d.opened(a, version)
	if err == nil && note.status != http.StatusAccepted && l.old == nil {
		d.report.Find(report.Finding{ID: "protocol.notification-status", Check: "protocol", Severity: report.SevWarning,
			What: fmt.Sprintf("notifications/initialized is answered with HTTP %d instead of 202.", note.status),
			Why:  "Strict clients take another status for a refusal and close the session.", Fix: "Answer accepted notifications with 202 and no body."})
	}
}

// refusal words an answer that opened nothing.
func refusal(a *answer) *report.Problem {
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return &report.Problem{Code: codeForbidden, Message: "The server does not accept the configured credentials.", Details: map[string]any{"status": a.status}}
	case a.status >= 300 && a.status < 400:
		return &report.Problem{Code: codeUnreachable, Message: "The server redirects. Register the address it redirects to.", Details: map[string]any{"status": a.status}}
	case a.rpcCode() != 0:
		return &report.Problem{Code: codeUnreachable, Message: fmt.Sprintf("The server answered with error %d%s.", a.rpcCode(), a.said()), Details: map[string]any{"rpcCode": a.rpcCode(), "status": a.status}}
	}
	return &report.Problem{Code: codeUnreachable, Message: fmt.Sprintf("The answer (HTTP %d) is not MCP. %s", a.status, a.wrong), Details: map[string]any{"status": a.status}}
}

// opened notes what a server says of itself.
func (d *doctor) opened(a *answer, version string) {
	r := d.report
	r.Connection = report.Connection{Status: report.Connected, Detail: "Connected and initialized."}
	r.Checks.Connection = report.Check{Status: report.OK, Detail: r.Connection.Detail}
	result, _ := a.result()
	object := func(key string) json.RawMessage {
		if v, ok := mcp.Get(a.body, result, key); ok && a.body[v.Start] == '{' {
			return Compact(v.Of(a.body))
		}
		return nil
	}
	info := &report.InitInfo{ProtocolVersion: version, Era: d.line.era.String(), ServerInfo: object("serverInfo"), Capabilities: object("capabilities")}
	if d.line.era == mcp.Modern && !a.env.ServerInfo.Empty() {
		info.ServerInfo = Compact(a.env.ServerInfo.Of(a.body))
	}
	if v, ok := mcp.Get(a.body, result, "instructions"); ok {
		text, _ := mcp.String(a.body, v)
		info.Instructions = report.Clip(text, 8<<10)
	}
	r.InitInfo, r.Capabilities = info, info.Capabilities
	d.describe()
}

// describe makes the checks of what the server says of itself.
func (d *doctor) describe() {
	r := d.report
	r.Checks.Initialization = report.Check{Status: report.OK, Detail: "The server speaks " + r.InitInfo.ProtocolVersion + "."}
	if r.InitInfo.ServerInfo == nil && r.InitInfo.Era == mcp.Legacy.String() {
		r.Checks.Initialization = report.Check{Status: report.Error, Detail: "The server connected but does not say what it is (serverInfo)."}
	}
	if r.Capabilities == nil {
		r.Checks.Capabilities = report.Check{Status: report.Error, Detail: "The server connected but declares no capabilities."}
		return
	}
	var names []string
	for m := range mcp.Members(r.Capabilities, mcp.Root(r.Capabilities)) {
		if name, err := mcp.String(r.Capabilities, m.Key); err == nil {
			names = append(names, report.Clip(name, 64))
		}
	}
	slices.Sort(names)
	r.Checks.Capabilities = report.Check{Status: report.OK, Detail: fmt.Sprintf("The server declares %d capabilities.", len(names))}
}

func has(r *report.Report, capability string) bool {
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
func failList(kind string, a *answer, err error) (report.Check, *report.Problem) {
	switch {
	case err != nil:
		p := problemOf(err)
		return report.Check{Status: report.Error, Detail: p.Message}, p
	case a.rpcCode() == mcp.CodeMethodNotFound:
		p := &report.Problem{Code: codeFeature, Message: "The server declares " + kind + " but does not know how to list them."}
		return report.Check{Status: report.Error, Detail: p.Message}, p
	}
	p := refusal(a)
	return report.Check{Status: report.Error, Detail: p.Message}, p
}

// ProblemOf words a fault for a report.
func ProblemOf(err error) *report.Problem {
	f := fault.Of(err)
	return &report.Problem{Code: codeOf(f), Message: f.Message}
}
