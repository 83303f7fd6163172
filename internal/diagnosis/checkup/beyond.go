package checkup

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"headgate/internal/catalog"
	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
	"headgate/internal/seal"
)

// noSuch names what no server has.
const noSuch = "headgate-doctor-no-such"

// undeclared asks for the lists that the server does not declare: it must not
// know them.
func (d *doctor) undeclared(ctx context.Context) error {
	r := d.report
	for _, l := range listsOf(r) {
		if l.member == "resourceTemplates" || has(r, l.capability) {
			continue
		}
		a, err := d.line.call(ctx, l.method, "", nil)
		if err != nil {
			return err
		}
		result, ok := a.result()
		if !ok {
			continue
		}
		items, _ := mcp.Get(a.body, result, l.member)
		severity, what := report.SevInfo, "An empty list is answered that the server does not declare."
		for range mcp.Elements(a.body, items) {
			severity, what = report.SevWarning, "The server has a list that it does not declare."
			break
		}
		r.Find(report.Finding{ID: "protocol.undeclared-" + l.capability, Check: "protocol", Severity: severity, What: what,
			Why: "Clients go by the capabilities: what is not declared does not exist for them.", Fix: "Declare " + l.capability + ", or answer " + l.method + " with -32601."}, l.capability)
	}
	return nil
}

// strays judges what servers sent without being asked.
func (d *doctor) strays() {
	o := d.line.odd
	if o == nil {
		return
	}
	if o.logs {
		d.breach("logs", report.SevWarning, "Log messages are sent though no request asked for a level.",
			"In 2026-07-28 logs are for requests with "+mcp.MetaLogLevel+" alone; others show them to nobody, or fail.", "Send notifications/message only for a request that names a level, and from that level on.")
	}
	if len(o.asks) > 0 {
		d.report.Find(report.Finding{ID: "protocol.undeclared-request", Check: "protocol", Severity: report.SevError, What: "The server asks its client what the client has not declared.",
			Why: "A client without that capability cannot answer, and the request hangs or fails.", Fix: "Look at the client's capabilities first; where one is required, refuse with -32021."}, o.asks...)
	}
}

// probeMethod is a method with a name in a header that changes nothing, and its
// member that holds the name.
func (d *doctor) probeMethod() (method, member string) {
	switch r := d.report; {
	case has(r, "prompts"):
		return mcp.MethodPromptsGet, "name"
	case has(r, "resources"):
		return mcp.MethodResourcesRead, "uri"
	}
	return mcp.MethodToolsCall, "name"
}

// nameMismatch sends another name in the header than in the body. Neither exists.
func (d *doctor) nameMismatch(ctx context.Context) error {
	method, member := d.probeMethod()
	id := d.line.next()
	h := d.line.headers(method, noSuch+":///header")
	a, err := d.line.send(ctx, d.line.message(id, method, mcp.AppendString([]byte(`"`+member+`":`), noSuch+":///body")), id, h)
	if err != nil {
		return err
	}
	// "There is none of that name" means that the header was not looked at.
	if code := a.rpcCode(); code == mcp.CodeInvalidParams || code == mcp.CodeResourceNotFound {
		d.breach("name-header", report.SevWarning, "An Mcp-Name header that contradicts the body is accepted.", mirrorWhy, "Answer 400 with error -32020.")
		return nil
	}
	return d.mismatch(a, nil, "name-header", "An Mcp-Name header that contradicts the body is accepted.")
}

// noMeta leaves out what every modern request must carry.
func (d *doctor) noMeta(ctx context.Context) error {
	id := d.line.next()
	a, err := d.line.send(ctx, mcp.AppendRequest(nil, id, mcp.MethodToolsList, []byte(`{}`)), id, d.line.headers(mcp.MethodToolsList, ""))
	if _, ok := resultOf(a, err); ok {
		d.breach("no-meta", report.SevInfo, "A request without the version and the client's capabilities in _meta is accepted.", "The server cannot know what the client can do.", "Answer 400 with error -32602, or -32020 where the header names a version.")
	}
	return err
}

// unknownResource: a resource that does not exist is -32602, in the old era -32002.
func (d *doctor) unknownResource(ctx context.Context) error {
	if !has(d.report, "resources") {
		return nil
	}
	const uri = noSuch + ":///"
	a, err := d.line.call(ctx, mcp.MethodResourcesRead, uri, mcp.AppendString([]byte(`"uri":`), uri))
	if err != nil {
		return err
	}
	code := a.rpcCode()
	switch _, ok := a.result(); {
	case ok:
		d.breach("unknown-resource", report.SevWarning, "A resource that does not exist is answered with a result.", "Models take what they get for the resource's content.", "Refuse unknown URIs with an error.")
	case d.line.era == mcp.Modern && code == mcp.CodeResourceNotFound:
		d.breach("resource-code", report.SevInfo, "An unknown resource is refused with -32002.", "In 2026-07-28 it is -32602.", "Answer -32602.")
	case code != mcp.CodeInvalidParams && code != mcp.CodeResourceNotFound:
		d.breach("resource-code", report.SevInfo, fmt.Sprintf("An unknown resource is refused with error %d.", code), "Clients cannot tell a wrong URI from a server that fails.", "Answer -32602, before 2026-07-28 -32002.")
	}
	return nil
}

// modernGet: GET opens nothing on an endpoint without sessions.
func (d *doctor) modernGet(ctx context.Context) error {
	a, err := d.line.do(ctx, http.MethodGet, nil, nil, d.line.headers("", ""))
	if err == nil && a.status != http.StatusMethodNotAllowed {
		d.breach("get", report.SevInfo, fmt.Sprintf("GET is answered with HTTP %d instead of 405.", a.status), "There is no stream to open in 2026-07-28.", "Answer 405 Method Not Allowed.")
	}
	return err
}

// anyToken sends a token that nobody gave out.
func (d *doctor) anyToken(ctx context.Context, p *probed) {
	if !p.report.OAuth.Required || !p.challenge.Bearer {
		return
	}
	r := d.report
	l := d.line.anonymous()
	l.fields = []catalog.Header{{Name: "Authorization", Value: seal.NewValue("Bearer " + noSuch)}}
	l.era, l.revision = mcp.Modern, mcp.LatestModern
	id := l.next()
	a, err := l.send(ctx, l.message(id, mcp.MethodDiscover, nil), id, l.headers(mcp.MethodDiscover, ""))
	switch {
	case err != nil:
	case a.status == http.StatusUnauthorized:
		if !strings.Contains(a.challenge(), "invalid_token") {
			r.Find(report.Finding{ID: "auth.invalid-token", Check: "auth", Severity: report.SevInfo, What: "A wrong token is refused like a missing one.",
				Why: "Clients cannot tell that theirs has ended, and may not renew it.", Fix: `Add error="invalid_token" to WWW-Authenticate.`})
		}
	case a.status < 300:
		r.Find(report.Finding{ID: "auth.any-token", Check: "auth", Severity: report.SevError, What: "Any token is accepted.",
			Why: "The server asks for a token and does not look at it: everybody gets in.", Fix: "Check signature or introspection, issuer, audience and expiry of every token."})
		l.goodbye(ctx, a)
	default:
		r.Find(report.Finding{ID: "auth.invalid-token-status", Check: "auth", Severity: report.SevWarning, What: fmt.Sprintf("A wrong token is answered with HTTP %d.", a.status),
			Why: "Clients renew their token, or sign in again, at 401 only.", Fix: `Answer 401 with error="invalid_token".`})
	}
}

// welcomed finds a challenge on an answer that was none.
func (d *doctor) welcomed(p *probed) {
	if p.first != nil && p.first.status < 300 && p.first.challenge() != "" {
		d.report.Find(report.Finding{ID: "auth.challenge-on-success", Check: "auth", Severity: report.SevWarning, What: "An answer that succeeded carries WWW-Authenticate.",
			Why: "Some clients begin a sign-in at once.", Fix: "Send the header with 401 and 403 only."})
	}
}
