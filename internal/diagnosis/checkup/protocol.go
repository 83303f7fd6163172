package checkup

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

// protocol holds the server to what the specification says where clients
// depend on it. Nothing here changes anything at the server: every request is
// one that a server must refuse, or answers with nothing, or ends with this run.
func (d *doctor) protocol(ctx context.Context, p *probed) {
	r := d.report
	d.otherEra(ctx, p)
	d.eras(p)
	asked := 0
	checks := []func(context.Context) error{d.unknownMethod, d.ping, d.getStream, d.strangeSession, d.subscribe}
	if d.line.era == mcp.Modern {
		checks = []func(context.Context) error{d.unknownMethod, d.removedMethods, d.methodHeader, d.noMethodHeader, d.versionHeader, d.unknownVersion, d.noMeta,
			d.nameMismatch, d.nameHeader, d.paramHeader, d.undeclaredTasks, d.listen}
		if !p.legacy {
			checks = append(checks, d.modernGet)
		}
	}
	if d.line.old != nil {
		checks = []func(context.Context) error{d.unknownMethod, d.ping}
	}
	checks = append(checks, d.undeclared, d.unknownResource, d.readResource, d.getPrompt, d.rebinding)
	for _, check := range checks {
		if ctx.Err() != nil {
			break
		}
		if err := check(ctx); err == nil {
			asked++
		}
	}
	d.strays()
	if d.line.era == mcp.Modern {
		r.Note("headers", r.Worst("headers"), d.mirrored)
	}
	if len(d.tried) > 0 {
		r.Note("reading", r.Worst("reading"), "Tried: "+strings.Join(d.tried, ", ")+".")
	}
	r.Note("protocol", r.Worst("protocol"), fmt.Sprintf("%d of %d requests that test the protocol were answered.", asked, len(checks)))
}

// breach is a finding about the protocol.
func (d *doctor) breach(id, severity, what, why, fix string, subjects ...string) {
	d.report.Find(report.Finding{ID: "protocol." + id, Check: "protocol", Severity: severity, What: what, Why: why, Fix: fix}, subjects...)
}

// otherEra asks a modern server that refused the probe whether it speaks the
// old era too, now that there are credentials.
func (d *doctor) otherEra(ctx context.Context, p *probed) {
	if d.line.era != mcp.Modern || p.report.Status == report.ProbedReady {
		return
	}
	l := *d.line
	l.era, l.revision = mcp.Legacy, ""
	id := l.next()
	a, err := l.send(ctx, initializeBody(id), id, http.Header{})
	d.line.serial = l.serial
	result, ok := resultOf(a, err)
	if !ok {
		return
	}
	v, _ := mcp.Get(a.body, result, "protocolVersion")
	text, _ := mcp.String(a.body, v)
	if r, known := mcp.Known(text); known && r.Era() == mcp.Legacy {
		p.legacy = true
		p.revision(text)
	}
	l.goodbye(ctx, a)
}

func (d *doctor) eras(p *probed) {
	r := d.report
	f := &report.Protocol{Eras: []string{}, Revisions: p.revisions, Session: d.line.session != ""}
	if p.legacy || d.line.era == mcp.Legacy {
		f.Eras = append(f.Eras, mcp.Legacy.String())
	}
	if p.modern || d.line.era == mcp.Modern {
		f.Eras = append(f.Eras, mcp.Modern.String())
	}
	if v := r.InitInfo.ProtocolVersion; !slices.Contains(f.Revisions, v) {
		f.Revisions = append(f.Revisions, v)
	}
	slices.Sort(f.Revisions)
	for _, s := range r.Steps {
		f.Streams = f.Streams || s.FirstByteMs > 0
	}
	r.Protocol = f
	newest := mcp.Revision(f.Revisions[len(f.Revisions)-1])
	switch {
	case !newest.AtLeast(mcp.Revision20250326):
		r.Find(report.Finding{ID: "era.very-old", Check: "era", Severity: report.SevWarning, What: "The server speaks only " + string(newest) + " (HTTP+SSE).",
			Why: "That transport is deprecated, and newer clients drop it.", Fix: "Update the server's SDK: Streamable HTTP takes the same tools."})
	case !newest.AtLeast(mcp.Revision20250618):
		r.Find(report.Finding{ID: "era.old", Check: "era", Severity: report.SevInfo, What: "The newest revision the server speaks is " + string(newest) + ".",
			Why: "Structured results, resource links and protected resource metadata came later.", Fix: "Update the server's SDK."})
	}
	if d.line.session != "" && strings.ContainsFunc(d.line.session, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		d.breach("session-id", report.SevError, "The session id holds characters other than visible ASCII.", "Clients and proxies refuse the header.", "Use a random hexadecimal or base64url text.")
	}
	r.Note("era", r.Worst("era"), "Speaks "+strings.Join(f.Revisions, ", ")+".")
}

// unknownMethod: an unknown method is -32601, in the modern era with 404.
func (d *doctor) unknownMethod(ctx context.Context) error {
	a, err := d.line.call(ctx, "headgate/doctor", "", nil)
	if err != nil {
		d.breach("hangs", report.SevWarning, "An unknown method is not answered.", "A client waits until its own time is over.", "Answer it with error -32601.")
		return err
	}
	d.line.step("unknown method", a)
	switch {
	case a.mislabelled:
		d.breach("content-type", report.SevError, "An answer is neither application/json nor text/event-stream.", "Clients do not read it.", "Set Content-Type.")
	case a.rpcCode() != mcp.CodeMethodNotFound:
		d.breach("method-not-found", report.SevWarning, "An unknown method is not refused with error -32601.",
			"Clients find out by that code what a server can do.", "Answer methods you do not know with -32601.")
	case d.line.era == mcp.Modern && a.status != http.StatusNotFound:
		d.breach("method-not-found-status", report.SevInfo, fmt.Sprintf("An unknown method is answered with HTTP %d instead of 404.", a.status),
			"Proxies see success.", "Send 404 with error -32601.")
	}
	if d.line.era == mcp.Modern && a.header.Get(mcp.HeaderSessionID) != "" {
		d.breach("session-in-modern", report.SevInfo, "A modern answer carries Mcp-Session-Id.", "There are no sessions in 2026-07-28.", "Leave the header out.")
	}
	return nil
}

// ping must be answered by every server with sessions.
func (d *doctor) ping(ctx context.Context) error {
	a, err := d.line.call(ctx, mcp.MethodPing, "", nil)
	if err == nil {
		d.line.step("ping", a)
	}
	if _, ok := resultOf(a, err); !ok {
		d.breach("ping", report.SevWarning, "ping is not answered with an empty result.", "Clients that test the connection take it for dead.", "Answer ping with {}.")
	}
	return err
}

func resultOf(a *answer, err error) (mcp.Span, bool) {
	if err != nil {
		return mcp.Span{}, false
	}
	return a.result()
}

// getStream: GET opens a stream of notifications, or is 405.
func (d *doctor) getStream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := d.line.headers("", "")
	h.Set("Accept", "text/event-stream")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.line.url, nil)
	if err != nil {
		return err
	}
	r.Header = h
	for _, f := range d.line.fields {
		r.Header.Set(f.Name, f.Value.Reveal())
	}
	wait, stop := context.WithTimeout(ctx, d.line.patience/5)
	defer stop()
	resp, err := d.line.client.Do(r.WithContext(wait)) // the head is enough; the stream itself may stay silent
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusMethodNotAllowed && tells(d.report) {
		d.lapse("no-stream", "The server declares that it tells of changes and has no stream to do so (GET is answered with 405).", "Open a stream on GET, or leave listChanged out of the capabilities.")
	}
	if ok := resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"); !ok {
		d.breach("get-stream", report.SevWarning, fmt.Sprintf("GET is answered with HTTP %d: neither an event stream nor 405.", resp.StatusCode),
			"Clients that listen for changes report an error.", "Open a stream, or answer 405 Method Not Allowed.")
	}
	return nil
}

// strangeSession: a session that the server never opened is 404, which is how
// a client learns that its own is over.
func (d *doctor) strangeSession(ctx context.Context) error {
	if d.line.session == "" {
		return nil // it keeps none
	}
	l := *d.line
	l.session = "headgate-doctor-no-such-session"
	a, err := l.call(ctx, mcp.MethodToolsList, "", nil)
	d.line.serial = l.serial
	if _, ok := resultOf(a, err); ok {
		d.breach("strange-session", report.SevWarning, "A session that was never opened is accepted.", "Clients never learn that their session is over, and anybody can guess one.", "Answer 404 to session ids that you have not given out.")
	} else if err == nil && a.status != http.StatusNotFound && a.status != http.StatusBadRequest {
		d.breach("strange-session-status", report.SevInfo, fmt.Sprintf("A session that was never opened is answered with HTTP %d instead of 404.", a.status), "Clients begin a new session at 404 only.", "Answer 404.")
	}
	return err
}

// removedMethods: ping and setLevel are gone in the modern era.
func (d *doctor) removedMethods(ctx context.Context) error {
	for _, m := range []struct{ method, members string }{{mcp.MethodPing, ""}, {mcp.MethodSetLevel, `"level":"emergency"`}} {
		a, err := d.line.call(ctx, m.method, "", []byte(m.members))
		if err != nil {
			return err
		}
		if a.rpcCode() != mcp.CodeMethodNotFound {
			d.report.Find(report.Finding{ID: "protocol.removed-method", Check: "protocol", Severity: report.SevInfo, What: "A method is answered that the modern era does not have.",
				Why: "It hides which era a client and a server speak.", Fix: "Answer -32601."}, m.method)
		}
	}
	return nil
}

// misheaded sends server/discover with other headers than its body calls for.
func (d *doctor) misheaded(ctx context.Context, change func(http.Header)) (*answer, error) {
	id := d.line.next()
	h := d.line.headers(mcp.MethodDiscover, "")
	change(h)
	return d.line.send(ctx, d.line.message(id, mcp.MethodDiscover, nil), id, h)
}

func (d *doctor) methodHeader(ctx context.Context) error {
	a, err := d.misheaded(ctx, func(h http.Header) { h.Set(mcp.HeaderMethod, mcp.MethodToolsList) })
	return d.mismatch(a, err, "method-header", "An Mcp-Method header that contradicts the body is accepted.")
}

func (d *doctor) noMethodHeader(ctx context.Context) error {
	a, err := d.misheaded(ctx, func(h http.Header) { h.Del(mcp.HeaderMethod) })
	return d.mismatch(a, err, "no-method-header", "A request without Mcp-Method is accepted.")
}

func (d *doctor) versionHeader(ctx context.Context) error {
	a, err := d.misheaded(ctx, func(h http.Header) { h.Set(mcp.HeaderProtocolVersion, string(mcp.LatestLegacy)) })
	return d.mismatch(a, err, "version-header", "An MCP-Protocol-Version header that contradicts the body is accepted.")
}

const mirrorWhy = "Proxies that decide by the header and servers that act on the body see two different requests."

func (d *doctor) mismatch(a *answer, err error, id, what string) error {
	switch {
	case err != nil:
		return err
	case a.status == http.StatusOK && a.rpcCode() == 0:
		d.breach(id, report.SevWarning, what, mirrorWhy, "Answer 400 with error -32020.")
	case a.rpcCode() != mcp.CodeHeaderMismatch:
		d.breach("header-code", report.SevInfo, "A header that contradicts the body is refused, but not with error -32020.", "Clients cannot tell the reason.", "Answer 400 with error -32020.")
	}
	return nil
}

// unknownVersion: a version from the future is -32022 with the supported ones.
func (d *doctor) unknownVersion(ctx context.Context) error {
	const future = "2099-01-01"
	l := *d.line
	l.revision = future
	a, err := l.call(ctx, mcp.MethodDiscover, "", nil)
	d.line.serial = l.serial
	if err != nil {
		return err
	}
	if a.rpcCode() != mcp.CodeUnsupportedVersion {
		d.breach("unknown-version", report.SevWarning, "A protocol version that does not exist is not refused with error -32022.",
			"Clients choose another version by that error's data.", "Answer 400 with error -32022 and data.supported.")
	} else if _, ok := mcp.Get(a.body, a.env.ErrorData, "supported"); !ok {
		d.breach("supported-versions", report.SevWarning, "The refusal of an unknown version does not list the supported ones.", "Clients choose by it.", "Send data.supported with error -32022.")
	}
	return nil
}

// nameHeader: a name beyond ASCII travels encoded, is decoded before it is
// compared, and then not found.
func (d *doctor) nameHeader(ctx context.Context) error {
	const name = noSuch + ":///ü"
	method, member := d.probeMethod()
	a, err := d.line.call(ctx, method, name, mcp.AppendString([]byte(`"`+member+`":`), name))
	if err != nil {
		return err
	}
	d.line.step("header round trip", a)
	if a.rpcCode() == mcp.CodeHeaderMismatch {
		d.report.Find(report.Finding{ID: "headers.base64", Check: "headers", Severity: report.SevWarning, What: "A name beyond ASCII in Mcp-Name (=?base64?…?=) is taken for a mismatch.",
			Why: "Such tools, prompts and resources cannot be used.", Fix: "Decode the header before comparing it."})
	}
	return nil
}

// rebinding: a server on this machine must look at Host and Origin, or any web
// page can talk to it.
func (d *doctor) rebinding(ctx context.Context) error {
	u, err := url.Parse(d.line.url)
	if err != nil || !onLoopback(u) || d.line.old != nil {
		return err
	}
	for _, c := range []struct{ id, header, value, what, fix string }{
		{"origin", "Origin", "http://evil.example", "The server is on this machine and answers requests from any web page (Origin).", "Refuse an Origin that is not yours with 403."},
		{"host", "Host", "evil.example", "The server is on this machine and answers under any name (Host).", "Refuse a Host that is not this machine's with 403."},
	} {
		l := d.line.anonymous()
		id, h := l.next(), http.Header{}
		h.Set(c.header, c.value)
		a, err := l.send(ctx, initializeBody(id), id, h)
		if err != nil {
			return err
		}
		if _, ok := a.result(); ok {
			d.breach(c.id, report.SevWarning, c.what, "A page in the browser can use it (DNS rebinding).", c.fix)
			l.goodbye(ctx, a)
		}
	}
	return nil
}

// onLoopback reports whether a URL names this machine.
func onLoopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// cacheHints: the modern era wants resultType, ttlMs and cacheScope on lists,
// and one scope for all pages of a list.
func (d *doctor) cacheHints(method string, a *answer, scope *string) {
	if d.line.era != mcp.Modern {
		return
	}
	result, _ := a.result()
	if a.env.ResultType == "" {
		d.breach("result-type", report.SevWarning, "A result has no resultType.", "It is required in 2026-07-28; strict clients refuse it.", `Send "resultType": "complete".`)
	}
	for _, key := range []string{"ttlMs", "cacheScope"} {
		if _, ok := mcp.Get(a.body, result, key); !ok {
			d.report.Find(report.Finding{ID: "protocol.cache-hints", Check: "protocol", Severity: report.SevWarning, What: "A list does not say how long and for whom it may be kept.",
				Why: "ttlMs and cacheScope are required in 2026-07-28; without them clients ask again and again.", Fix: "Send ttlMs and cacheScope."}, method+" "+key)
		}
	}
	v, _ := mcp.Get(a.body, result, "cacheScope")
	said := string(v.Of(a.body))
	if *scope != "" && said != *scope {
		d.breach("cache-scope-changes", report.SevError, "The pages of one list have different cache scopes.", "A page for one person may be shown to another.", "Send the same cacheScope on every page of a list.")
	}
	*scope = said
}
