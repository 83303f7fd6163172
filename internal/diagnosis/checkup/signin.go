package checkup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"headgate/internal/diagnosis/report"
	"headgate/internal/upstream/discovery"
)

// nowhere is an address that does not exist (RFC 6761), for clients that do not
// exist either.
const nowhere = "https://headgate-doctor.invalid"

// exchanged is an answer of an authorization server.
type exchanged struct {
	status   int
	location *url.URL // where it redirects to; nil for nowhere
	body     []byte
}

// leadsTo reports whether an answer redirects to an address, its query aside.
func (e *exchanged) leadsTo(address string) bool {
	if e.location == nil {
		return false
	}
	u, err := url.Parse(address)
	return err == nil && e.location.Scheme == u.Scheme && e.location.Host == u.Host && e.location.Path == u.Path
}

// member is a text in the answer's JSON.
func (e *exchanged) member(name string) string {
	var m map[string]json.RawMessage
	var text string
	if json.Unmarshal(e.body, &m) == nil {
		_ = json.Unmarshal(m[name], &text)
	}
	return text
}

// ask makes one request of an authorization server, without the credentials.
func (d *doctor) ask(ctx context.Context, method, at string, body []byte, h http.Header) (*exchanged, error) {
	r, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = h
	resp, err := d.line.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	e := &exchanged{status: resp.StatusCode}
	if where := resp.Header.Get("Location"); where != "" && e.status >= 300 && e.status < 400 {
		e.location, _ = r.URL.Parse(where)
	}
	e.body, err = io.ReadAll(io.LimitReader(resp.Body, maxNoise*4))
	return e, err
}

// challengeOf is the code challenge of a sign-in that never goes on: that of the
// verifier in RFC 7636, appendix B.
const (
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challengeOf = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	stateSent   = "headgate-doctor-state"
)

// authorize asks for a code, as a browser would, and follows nothing.
func (d *doctor) authorize(ctx context.Context, i *discovery.Issuer, client, redirect, responseType string) (*exchanged, error) {
	u, err := url.Parse(i.Authorization)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	for name, value := range map[string]string{"response_type": responseType, "client_id": client, "redirect_uri": redirect, "state": stateSent,
		"code_challenge": challengeOf, "code_challenge_method": "S256", "resource": report.PublicURL(d.line.url)} {
		q.Set(name, value)
	}
	if d.scope != "" {
		q.Set("scope", d.scope)
	}
	u.RawQuery = q.Encode()
	return d.ask(ctx, http.MethodGet, u.String(), nil, http.Header{"Accept": {"text/html"}})
}

// signIn finds out what an authorization server does with clients that it does
// not know. It must refuse them, so nothing changes there.
func (d *doctor) signIn(ctx context.Context, i *discovery.Issuer) {
	ctx, cancel := context.WithTimeout(ctx, d.line.patience)
	defer cancel()
	if i.Authorization != "" {
		there := d.strangers(ctx, i, noSuch, "open-redirect", "The authorization server sends the browser of an unknown client to whatever address it names.",
			"Anybody can make links of this server that lead to a page of theirs, and codes may follow.", "Show an error page when client_id or redirect_uri is not known (RFC 6749, 4.1.2.1).")
		if there && i.ClientDocs {
			d.strangers(ctx, i, nowhere+"/client.json", "client-document", "A client whose metadata document does not exist is sent on to the address it names.",
				"The document is what says which addresses are the client's; without it anybody is that client.", "Fetch the document, and compare client_id and redirect_uri with it, before anything else.")
		}
	}
	if i.Token != "" {
		d.codes(ctx, i)
	}
}

// strangers asks for a sign-in as a client that nobody knows. It reports whether
// there is somebody to ask.
func (d *doctor) strangers(ctx context.Context, i *discovery.Issuer, client, id, what, why, fix string) bool {
	e, err := d.authorize(ctx, i, client, nowhere+"/callback", "code")
	switch {
	case err != nil:
		d.unanswered("authorization_endpoint", err)
		return false
	case e.leadsTo(nowhere + "/callback"):
		d.flaw(id, report.SevError, what, why, fix)
	case e.status == http.StatusNotFound, e.status == http.StatusMethodNotAllowed:
		d.flaw("endpoint-missing", report.SevError, "An endpoint that the authorization server names is not there.", "No client can finish a sign-in.", "Correct the metadata, or serve the endpoint.", "authorization_endpoint")
		return false
	case e.status >= 500:
		d.flaw("endpoint-fails", report.SevWarning, "An endpoint of the authorization server fails when it should refuse.", "Nobody is told what is wrong with their client.", "Answer a client that is not known with 400 or 401.", fmt.Sprintf("authorization_endpoint %d", e.status))
	}
	return true
}

// codes brings a code that nobody gave out.
func (d *doctor) codes(ctx context.Context, i *discovery.Issuer) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {noSuch}, "client_id": {noSuch}, "redirect_uri": {nowhere + "/callback"}, "code_verifier": {verifier}, "resource": {report.PublicURL(d.line.url)}}
	e, err := d.ask(ctx, http.MethodPost, i.Token, []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}})
	switch {
	case err != nil:
		d.unanswered("token_endpoint", err)
	case e.status < 300:
		d.flaw("any-code", report.SevError, "The token endpoint answers a code that nobody gave out with success.", "Everybody gets in.", "Refuse codes, clients and verifiers that do not belong together with 400 and error invalid_grant.")
	case e.status == http.StatusNotFound, e.status == http.StatusMethodNotAllowed:
		d.flaw("endpoint-missing", report.SevError, "An endpoint that the authorization server names is not there.", "No client can finish a sign-in.", "Correct the metadata, or serve the endpoint.", "token_endpoint")
	case e.status >= 500:
		d.flaw("endpoint-fails", report.SevWarning, "An endpoint of the authorization server fails when it should refuse.", "Nobody is told what is wrong with their client.", "Answer a client that is not known with 400 or 401.", fmt.Sprintf("token_endpoint %d", e.status))
	case e.member("error") == "":
		d.flaw("token-errors", report.SevWarning, "The token endpoint does not say in JSON what is wrong.", "Clients cannot tell a code that has ended from a client that is not known, and do not know what to do next.", `Answer {"error": "invalid_grant"} or another word of RFC 6749, 5.2.`)
	}
}

// unanswered says that an endpoint cannot be reached. The authorization endpoint
// is a browser's to visit, which may be elsewhere.
func (d *doctor) unanswered(endpoint string, err error) {
	severity := report.SevError
	if endpoint == "authorization_endpoint" {
		severity = report.SevWarning
	}
	d.flaw("endpoint-silent", severity, "An endpoint of the authorization server cannot be reached from here. "+problemOf(err).Message, "No client can finish a sign-in.", "Look whether the address in the metadata is right and open to everybody who signs in.", endpoint)
}

// flaw is a finding about signing in.
func (d *doctor) flaw(id, severity, what, why, fix string, subjects ...string) {
	d.report.Find(report.Finding{ID: "auth." + id, Check: "auth", Severity: severity, What: what, Why: why, Fix: fix}, subjects...)
}

// registration registers a client, tries what it may, and takes it back. It
// leaves something behind where the server cannot be asked to forget, so it runs
// only for who asked for it.
func (d *doctor) registration(ctx context.Context, p *probed) {
	r := d.report
	if !d.Register {
		return
	}
	if p.found == nil || p.found.Issuer == nil || p.found.Issuer.Registration == "" {
		r.Note("registration", report.Skipped, "No authorization server that clients can register with was found.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*d.line.patience)
	defer cancel()
	i := p.found.Issuer
	c := d.register(ctx, i, "http://127.0.0.1:8912/callback", "native")
	if c == nil {
		r.Note("registration", r.Worst("registration"), "No client could be registered.")
		return
	}
	defer func() {
		r.Note("registration", r.Worst("registration"), "A client was registered, and tried: "+strings.Join(c.tried, ", ")+".")
	}()
	defer d.forget(ctx, c)
	if i.Authorization != "" {
		d.welcome(ctx, i, c)
		d.foreignRedirect(ctx, i, c)
		d.errorRedirect(ctx, i, c)
	}
	d.plainRedirect(ctx, i, c)
}

// registered is a client that was made for this run.
type registered struct {
	ID       string   `json:"client_id"`
	Manage   string   `json:"registration_client_uri"`
	Token    string   `json:"registration_access_token"`
	Redirect []string `json:"redirect_uris"`
	redirect string
	tried    []string
}

// defect is a finding about registering.
func (d *doctor) defect(id, severity, what, why, fix string, subjects ...string) {
	d.report.Find(report.Finding{ID: "registration." + id, Check: "registration", Severity: severity, What: what, Why: why, Fix: fix}, subjects...)
}

// apply asks for a registration.
func (d *doctor) apply(ctx context.Context, i *discovery.Issuer, redirect, kind string) (*exchanged, *registered, error) {
	body, err := json.Marshal(map[string]any{"client_name": "Headgate doctor", "redirect_uris": []string{redirect}, "application_type": kind,
		"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none"})
	if err != nil {
		return nil, nil, err
	}
	e, err := d.ask(ctx, http.MethodPost, i.Registration, body, http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}})
	if err != nil {
		return nil, nil, err
	}
	c := &registered{redirect: redirect}
	if e.status >= 300 || json.Unmarshal(e.body, c) != nil || c.ID == "" {
		return e, nil, nil
	}
	return e, c, nil
}

func (d *doctor) register(ctx context.Context, i *discovery.Issuer, redirect, kind string) *registered {
	e, c, err := d.apply(ctx, i, redirect, kind)
	switch {
	case err != nil:
		d.defect("silent", report.SevError, "The registration endpoint cannot be reached. "+problemOf(err).Message, "Clients that register themselves cannot sign anybody in.", "Correct registration_endpoint in the metadata, or leave it out.")
	case e.status == http.StatusUnauthorized, e.status == http.StatusForbidden:
		d.defect("closed", report.SevWarning, fmt.Sprintf("Registration is offered and refused with HTTP %d: not everybody may.", e.status), "MCP clients take the offer for open and stop at its refusal.", "Leave registration_endpoint out of the metadata, or let clients register without a token.")
	case c == nil:
		d.defect("fails", report.SevError, fmt.Sprintf("A public client with a loopback address cannot register: HTTP %d.", e.status), "Desktop and command-line clients cannot sign anybody in.",
			"Register clients with application_type native, PKCE and no secret (RFC 7591, RFC 8252).", report.Clip(strings.TrimSpace(e.member("error")+" "+e.member("error_description")), 200))
	default:
		c.tried = append(c.tried, "the registration")
		if e.status != http.StatusCreated {
			d.defect("status", report.SevInfo, fmt.Sprintf("A registration is answered with HTTP %d instead of 201.", e.status), "Strict clients take it for a failure.", "Answer 201 Created.")
		}
		if len(c.Redirect) != 1 || c.Redirect[0] != redirect {
			d.defect("changed", report.SevWarning, "A registration does not come back with the redirect address that was asked for.", "A client cannot know which address it may use.", "Return all that was registered (RFC 7591, 3.2.1).")
		}
	}
	return c
}

// welcome begins a sign-in as the registered client, with PKCE and a resource.
func (d *doctor) welcome(ctx context.Context, i *discovery.Issuer, c *registered) {
	e, err := d.authorize(ctx, i, c.ID, c.redirect, "code")
	if err != nil {
		d.unanswered("authorization_endpoint", err)
		return
	}
	c.tried = append(c.tried, "a sign-in for this resource")
	reason := ""
	if e.leadsTo(c.redirect) {
		reason = e.location.Query().Get("error")
	} else if e.status >= 400 {
		reason = fmt.Sprintf("HTTP %d", e.status)
	}
	switch reason {
	case "":
	case "login_required", "interaction_required", "consent_required", "account_selection_required", "access_denied":
	case "invalid_target":
		d.defect("resource", report.SevError, "The authorization server does not know this MCP server as a resource (invalid_target).", "Clients must name the resource with every sign-in (RFC 8707), so none succeeds.", "Accept the resource of the protected resource metadata, and put it into the token's audience.")
	default:
		d.defect("refused", report.SevError, "A client that has just been registered cannot begin a sign-in.", "Registration is of no use to anybody.", "Let registered clients in with exactly the redirect address they registered, PKCE and a resource.", report.Clip(reason, 100))
	}
}

// foreignRedirect asks for a sign-in with an address that was not registered.
func (d *doctor) foreignRedirect(ctx context.Context, i *discovery.Issuer, c *registered) {
	e, err := d.authorize(ctx, i, c.ID, nowhere+"/callback", "code")
	if err != nil {
		return // said by welcome
	}
	c.tried = append(c.tried, "a redirect address of another")
	if e.leadsTo(nowhere + "/callback") {
		d.defect("redirect-unchecked", report.SevError, "A redirect address that the client did not register is used.", "Whoever knows a client's id gets its users' codes sent to a place of theirs.", "Compare redirect_uri with the registered ones, character by character, and show an error page when it is none.")
	}
}

// errorRedirect makes a mistake that has to come back to the client.
func (d *doctor) errorRedirect(ctx context.Context, i *discovery.Issuer, c *registered) {
	e, err := d.authorize(ctx, i, c.ID, c.redirect, noSuch)
	if err != nil || !e.leadsTo(c.redirect) {
		return // a sign-in may come first
	}
	c.tried = append(c.tried, "an error that comes back")
	q := e.location.Query()
	if q.Get("error") == "" {
		d.defect("no-error", report.SevWarning, "A request for something that is no code comes back without an error.", "The client waits for what never comes.", "Redirect with error=unsupported_response_type.")
	}
	if q.Get("state") != stateSent {
		d.defect("state", report.SevError, "An answer comes back without the client's state.", "The client must refuse it: it may be forged.", "Return state unchanged with every redirect, errors included.")
	}
	if i.IssParameter && q.Get("iss") != i.Issuer {
		d.defect("iss", report.SevError, "The authorization server says that it sends iss, and sends none or another.", "Clients must refuse such an answer (RFC 9207).", "Send iss, exactly the issuer of the metadata, with every redirect, errors included.")
	}
}

// plainRedirect registers an address that crosses the network in the clear.
func (d *doctor) plainRedirect(ctx context.Context, i *discovery.Issuer, c *registered) {
	_, other, err := d.apply(ctx, i, "http://headgate-doctor.invalid/callback", "web")
	if err != nil {
		return
	}
	c.tried = append(c.tried, "an address without TLS")
	if other != nil {
		d.defect("plain-redirect", report.SevWarning, "A redirect address is registered that is neither https nor of this machine.", "Codes cross the network in the clear.", "Refuse it with error invalid_redirect_uri.")
		d.forget(ctx, other)
	}
}

// forget takes a registration back (RFC 7592).
func (d *doctor) forget(ctx context.Context, c *registered) {
	if c.Manage != "" && c.Token != "" {
		// Of its own time: what was made is taken back though the run is over.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.line.patience/2)
		defer cancel()
		e, err := d.ask(ctx, http.MethodDelete, c.Manage, nil, http.Header{"Authorization": {"Bearer " + c.Token}})
		if err == nil && e.status < 300 {
			return
		}
	}
	d.defect("left", report.SevInfo, "A registration of this run is left behind: the server offers no way to take it back, or refused.", "Every client that registers leaves one for ever.", "Remove it by hand. Offer registration_client_uri (RFC 7592), or let registrations end that nobody uses.", c.ID)
}
