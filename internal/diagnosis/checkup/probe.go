package checkup

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
	"headgate/internal/upstream/discovery"
)

// The transports a probe selects.
const (
	streamable = "streamable-http"
	sse        = "sse"
)

// probed is what the probe learned beside its report.
type probed struct {
	report    *report.Probe
	modern    bool // server/discover was answered
	legacy    bool // initialize was answered
	revisions []string
	challenge discovery.Challenge
	found     *discovery.Found // nil when nobody asked
	first     *answer          // the first answer of all, for the network checks
	err       error            // of the first exchange, when there was no answer
	problem   *report.Problem  // words err
}

// probe asks without credentials: the modern way, the legacy way, and the old
// transport when neither is understood. A server that wants a sign-in is asked
// for its metadata.
func (d *doctor) probe(ctx context.Context) *probed {
	p := &probed{report: &report.Probe{URL: report.PublicURL(d.line.url), ProtocolVersion: string(mcp.LatestLegacy), Status: report.ProbedError,
		Transport: report.ProbeTransport{Attempts: []report.Attempt{}}, OAuth: report.ProbeOAuth{RegistrationStrategies: []string{}}}}
	anonymous := d.line.anonymous()
	p.discover(ctx, anonymous)
	if p.err == nil && p.report.Status != report.ProbedOAuth {
		p.initialize(ctx, anonymous)
	}
	if p.err == nil && p.report.Status == report.ProbedReachable {
		p.sse(ctx, anonymous)
	}
	if p.err != nil {
		p.problem = problemOf(p.err)
		p.report.Status, p.report.Error = report.ProbedError, p.problem.Message
		return p
	}
	if p.report.Status == report.ProbedOAuth {
		p.metadata(ctx, d.line)
	}
	return p
}

func (p *probed) discover(ctx context.Context, l *line) {
	l.era, l.revision = mcp.Modern, mcp.LatestModern
	id := l.next()
	body := l.message(id, mcp.MethodDiscover, nil)
	a, err := l.send(ctx, body, id, l.headers(mcp.MethodDiscover, ""))
	p.attempt("streamable_discover", http.MethodPost, l.url, body, a, err)
	if err != nil {
		// Some old servers let an unknown method hang; initialize tells.
		if problemOf(err).Code != codeTimeout {
			p.err = err
		}
		return
	}
	l.step("discover", a)
	p.first = a
	p.judge(a)
	result, ok := a.result()
	if !ok {
		return
	}
	versions, _ := mcp.Get(a.body, result, "supportedVersions")
	for v := range mcp.Elements(a.body, versions) {
		text, _ := mcp.String(a.body, v)
		p.revision(text)
		if r, known := mcp.Known(text); known && r.Era() == mcp.Modern {
			p.modern = true
		}
	}
	if p.modern {
		p.ready(string(mcp.LatestModern))
	}
}

func (p *probed) initialize(ctx context.Context, l *line) {
	l.era, l.revision = mcp.Legacy, ""
	id := l.next()
	body := initializeBody(id)
	a, err := l.send(ctx, body, id, http.Header{})
	p.attempt("streamable_initialize", http.MethodPost, l.url, body, a, err)
	if err != nil {
		if !p.modern {
			p.err = err
		}
		return
	}
	l.step("initialize", a)
	p.judge(a)
	result, ok := a.result()
	if !ok {
		return
	}
	v, _ := mcp.Get(a.body, result, "protocolVersion")
	text, _ := mcp.String(a.body, v)
	if r, known := mcp.Known(text); known && r.Era() == mcp.Legacy {
		p.legacy = true
		p.revision(text)
		p.ready(text)
	}
	l.goodbye(ctx, a)
}

func initializeBody(id []byte) []byte {
	return mcp.AppendRequest(nil, id, mcp.MethodInitialize,
		[]byte(`{"protocolVersion":"`+string(mcp.LatestLegacy)+`","capabilities":{},"clientInfo":`+clientInfo+`}`))
}

// goodbye ends a session that an answer has opened. Nobody minds if it fails.
func (l *line) goodbye(ctx context.Context, a *answer) {
	session := a.header.Get(mcp.HeaderSessionID)
	if session == "" {
		return
	}
	h := http.Header{}
	h.Set(mcp.HeaderSessionID, session)
	_, _ = l.do(ctx, http.MethodDelete, nil, nil, h)
}

// sse looks for the transport of 2024-11-05: a stream whose first event names
// the address to post to.
func (p *probed) sse(ctx context.Context, l *line) {
	ctx, cancel := context.WithTimeout(ctx, l.patience/2)
	defer cancel()
	a := &answer{}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := l.client.Do(r)
	if err != nil {
		p.attempt("sse_probe", http.MethodGet, l.url, nil, nil, err)
		return
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	p.attempt("sse_probe", http.MethodGet, l.url, nil, a, nil)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return
	}
	_ = events(resp.Body, func(name string, _ []byte) bool {
		if name == "endpoint" {
			p.report.Transport.Selected, p.report.Status = sse, report.ProbedReady
			p.revision(string(mcp.Revision20241105))
		}
		return false
	})
}

// judge reads what an answer's status says of signing in.
func (p *probed) judge(a *answer) {
	c := discovery.ParseChallenge(a.challenge())
	if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && c.Bearer {
		p.report.Status = report.ProbedOAuth
		p.report.OAuth.Required = true
		p.report.OAuth.WWWAuthenticate = report.Clip(a.challenge(), 1000)
		p.report.Transport.Selected = streamable
		p.challenge = c
		if a.status != http.StatusUnauthorized {
			p.report.OAuth.ChallengeStatus = a.status
		}
		return
	}
	if p.report.Status == report.ProbedError {
		p.report.Status = report.ProbedReachable
	}
}

func (p *probed) ready(version string) {
	p.report.Status, p.report.ProtocolVersion, p.report.Transport.Selected = report.ProbedReady, version, streamable
}

func (p *probed) revision(text string) {
	if text != "" && len(text) <= 32 && len(p.revisions) < 16 && !slices.Contains(p.revisions, text) {
		p.revisions = append(p.revisions, text)
	}
}

// metadata finds out who signs people in.
func (p *probed) metadata(ctx context.Context, l *line) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	f := discovery.Discover(ctx, l.client, l.url, p.challenge)
	p.found = f
	o := &p.report.OAuth
	for _, t := range f.Attempts {
		a := report.Attempt{Name: t.Name, Request: report.AttemptRequest{Method: http.MethodGet, URL: report.PublicURL(t.URL)}, Error: t.Problem}
		if t.Status != 0 {
			a.DurationMs = ms(t.Duration)
			a.Response = &report.AttemptResponse{Status: t.Status, Headers: map[string]string{}}
		}
		p.report.Transport.Attempts = append(p.report.Transport.Attempts, a)
	}
	o.DiscoveryError = f.Problem
	if f.Resource != nil {
		o.ResourceMetadataURL, o.ResourceMetadata = f.Resource.URL, Compact(f.Resource.Raw)
		o.Optional = !o.Required
	}
	if f.Issuer != nil {
		o.AuthorizationServerMetadataURL, o.AuthorizationServerMetadata = f.Issuer.URL, Compact(f.Issuer.Raw)
		if f.Issuer.ClientDocs {
			o.RegistrationStrategies = append(o.RegistrationStrategies, "cimd")
		}
		if f.Issuer.Registration != "" {
			o.RegistrationStrategies = append(o.RegistrationStrategies, "dcr")
		}
		o.RegistrationStrategies = append(o.RegistrationStrategies, "preregistered")
	}
}

// kept are the headers of an answer that a report shows.
var kept = []string{"Content-Type", "Www-Authenticate", "Mcp-Protocol-Version", "Retry-After", "Allow", "Cache-Control", "X-Accel-Buffering", "Date"}

// attempt notes an exchange.
func (p *probed) attempt(name, method, at string, body []byte, a *answer, err error) {
	t := report.Attempt{Name: name, Request: report.AttemptRequest{Method: method, URL: report.PublicURL(at), Body: body}}
	switch {
	case err != nil:
		t.Error = problemOf(err).Message // without a time: there may have been no connection
	default:
		t.DurationMs = ms(a.took)
		t.Response = &report.AttemptResponse{Status: a.status, Headers: map[string]string{}, ContentType: report.Clip(a.header.Get("Content-Type"), 200)}
		for _, h := range kept {
			if v := a.header.Get(h); v != "" {
				t.Response.Headers[strings.ToLower(h)] = report.Clip(v, 500)
			}
		}
		if a.reply && len(a.body) <= maxNoise*4 {
			t.Response.Body = Compact(a.body)
		}
	}
	p.report.Transport.Attempts = append(p.report.Transport.Attempts, t)
}

// Compact returns JSON without white space, so that it can stand in a report.
func Compact(b []byte) json.RawMessage {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return nil
	}
	return out.Bytes()
}
