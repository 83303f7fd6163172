package diagnosis

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"headgate/internal/diagnosis/discovery"
	"headgate/internal/mcp"
)

// The transports a probe selects.
const (
	streamable = "streamable-http"
	sse        = "sse"
)

// probed is what the probe learned beside its report.
type probed struct {
	report    *Probe
	modern    bool // server/discover was answered
	legacy    bool // initialize was answered
	revisions []string
	challenge discovery.Challenge
	found     *discovery.Found // nil when nobody asked
	first     *answer          // the first answer of all, for the network checks
	err       error            // of the first exchange, when there was no answer
}

// probe asks without credentials: the modern way, the legacy way, and the old
// transport when neither is understood. A server that wants a sign-in is asked
// for its metadata.
func (d *doctor) probe(ctx context.Context) *probed {
	p := &probed{report: &Probe{URL: shown(d.line.url), ProtocolVersion: string(mcp.LatestLegacy), Status: probeError,
		Transport: ProbeTransport{Attempts: []Attempt{}}, OAuth: ProbeOAuth{RegistrationStrategies: []string{}}}}
	anonymous := d.line.anonymous()
	p.discover(ctx, anonymous)
	if p.err == nil && p.report.Status != probeOAuth {
		p.initialize(ctx, anonymous)
	}
	if p.err == nil && p.report.Status == probeReachable {
		p.sse(ctx, anonymous)
	}
	if p.err != nil {
		p.report.Status, p.report.Error = probeError, problemOf(p.err).Message
		return p
	}
	if p.report.Status == probeOAuth || d.alwaysDiscover {
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
		p.err = err
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
			p.report.Transport.Selected, p.report.Status = sse, probeReady
			p.revision(string(mcp.Revision20241105))
		}
		return false
	})
}

// judge reads what an answer's status says of signing in.
func (p *probed) judge(a *answer) {
	c := discovery.ParseChallenge(a.challenge())
	if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && c.Bearer {
		p.report.Status = probeOAuth
		p.report.OAuth.Required = true
		p.report.OAuth.WWWAuthenticate = clip(a.challenge(), 1000)
		p.report.Transport.Selected = streamable
		p.challenge = c
		if a.status != http.StatusUnauthorized {
			p.report.OAuth.ChallengeStatus = a.status
		}
		return
	}
	if p.report.Status == probeError {
		p.report.Status = probeReachable
	}
}

func (p *probed) ready(version string) {
	p.report.Status, p.report.ProtocolVersion, p.report.Transport.Selected = probeReady, version, streamable
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
		a := Attempt{Name: t.Name, Request: AttemptRequest{Method: http.MethodGet, URL: shown(t.URL)}, Error: t.Problem}
		if t.Status != 0 {
			a.DurationMs = ms(t.Duration)
			a.Response = &AttemptResponse{Status: t.Status, Headers: map[string]string{}}
		}
		p.report.Transport.Attempts = append(p.report.Transport.Attempts, a)
	}
	o.DiscoveryError = f.Problem
	if f.Resource != nil {
		o.ResourceMetadataURL, o.ResourceMetadata = f.Resource.URL, compact(f.Resource.Raw)
		o.Optional = !o.Required
	}
	if f.Issuer != nil {
		o.AuthorizationServerMetadataURL, o.AuthorizationServerMetadata = f.Issuer.URL, compact(f.Issuer.Raw)
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
	t := Attempt{Name: name, Request: AttemptRequest{Method: method, URL: shown(at), Body: body}}
	switch {
	case err != nil:
		t.Error = problemOf(err).Message // without a time: there may have been no connection
	default:
		t.DurationMs = ms(a.took)
		t.Response = &AttemptResponse{Status: a.status, Headers: map[string]string{}, ContentType: clip(a.header.Get("Content-Type"), 200)}
		for _, h := range kept {
			if v := a.header.Get(h); v != "" {
				t.Response.Headers[strings.ToLower(h)] = clip(v, 500)
			}
		}
		if a.reply && len(a.body) <= maxNoise*4 {
			t.Response.Body = compact(a.body)
		}
	}
	p.report.Transport.Attempts = append(p.report.Transport.Attempts, t)
}

// compact returns JSON without white space, so that it can stand in a report.
func compact(b []byte) json.RawMessage {
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return nil
	}
	return out.Bytes()
}

// shown is a URL without its query, in which people put secrets.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}
