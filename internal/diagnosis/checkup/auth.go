package checkup

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"headgate/internal/diagnosis/report"
	"headgate/internal/upstream/discovery"
)

// auth judges how the server asks for a sign-in, and the token it gets.
func (d *doctor) auth(ctx context.Context, p *probed) {
	r := d.report
	o := p.report.OAuth
	d.welcomed(p)
	switch {
	case p.first == nil:
		r.Note("auth", report.Skipped, "There was no connection.")
		return
	case p.found == nil:
		d.token(p.challenge)
		r.Note("auth", r.Worst("auth"), "No sign-in is asked for.")
		return
	}
	if p.found.Resource == nil && p.found.Issuer == nil && r.Connection.Status == report.Connected {
		// It takes the configured credentials and has no OAuth: a choice, not a mistake.
		r.Find(report.Finding{ID: "auth.no-oauth", Check: "auth", Severity: report.SevInfo, What: "The server wants credentials and offers no sign-in (OAuth).",
			Why: "People have to get a key from somewhere and paste it.", Fix: "Offer OAuth with protected resource metadata (RFC 9728) where people use the server."})
		r.Note("auth", report.OK, "The configured credentials are accepted.")
		return
	}
	d.scope = p.challenge.Scope
	if d.scope == "" && p.found.Resource != nil {
		d.scope = strings.Join(p.found.Resource.Scopes, " ")
	}
	d.challenge(p)
	d.anyToken(ctx, p)
	d.resource(p.found)
	d.issuer(p.found)
	if p.found.Issuer != nil {
		d.signIn(ctx, p.found.Issuer)
	}
	d.token(p.challenge)
	if r.Connection.Status != report.Connected && len(d.line.fields) == 0 {
		r.Find(report.Finding{ID: "auth.sign-in", Check: "auth", Severity: report.SevInfo, What: "A sign-in is missing, so nothing behind it was looked at.",
			Why: "Until then no call reaches the server.", Fix: "Register the server and sign in to it (headgate server authorize), bring tokens of your own (oauth/import-tokens), or send a header with a token; then examine it again."})
	}
	detail := "A sign-in is needed."
	if !o.Required {
		detail = "A sign-in is possible, but not needed."
	}
	r.Note("auth", r.Worst("auth"), detail)
}

// challenge judges the 401.
func (d *doctor) challenge(p *probed) {
	r, o := d.report, p.report.OAuth
	if !o.Required {
		return
	}
	if o.ChallengeStatus != 0 {
		r.Find(report.Finding{ID: "auth.challenge-status", Check: "auth", Severity: report.SevWarning, What: fmt.Sprintf("The sign-in is asked for with HTTP %d.", o.ChallengeStatus),
			Why: "Clients begin a sign-in at 401 only.", Fix: "Answer requests without a token with 401."})
	}
	switch {
	case !p.challenge.Bearer:
		r.Find(report.Finding{ID: "auth.no-challenge", Check: "auth", Severity: report.SevError, What: "The refusal has no WWW-Authenticate: Bearer header.",
			Why: "A client cannot know that OAuth is meant, nor where to begin.", Fix: `Send WWW-Authenticate: Bearer resource_metadata="…" with the 401.`})
	case p.challenge.ResourceMetadata == "":
		r.Find(report.Finding{ID: "auth.no-pointer", Check: "auth", Severity: report.SevWarning, What: "The challenge does not point to the resource metadata.",
			Why: "Clients have to guess its address.", Fix: `Add resource_metadata="…" to WWW-Authenticate (RFC 9728).`})
	}
}

// resource judges RFC 9728 metadata.
func (d *doctor) resource(f *discovery.Found) {
	r := d.report
	if f.Resource == nil {
		r.Find(report.Finding{ID: "auth.no-resource-metadata", Check: "auth", Severity: report.SevWarning, What: "There is no protected resource metadata.",
			Why: "Clients of 2025-06-18 and later find the authorization server through it.", Fix: "Serve /.well-known/oauth-protected-resource with the path of the MCP endpoint (RFC 9728)."})
		return
	}
	exact, covers := discovery.Covers(f.Resource.Resource, report.PublicURL(d.line.url))
	switch {
	case !covers:
		r.Find(report.Finding{ID: "auth.resource-mismatch", Check: "auth", Severity: report.SevError, What: "The metadata's resource is not this server's URL.",
			Why: "Clients must refuse metadata of another resource, and tokens would be for another audience.", Fix: "Set resource to exactly the URL people enter."}, f.Resource.Resource)
	case !exact:
		r.Find(report.Finding{ID: "auth.resource-parent", Check: "auth", Severity: report.SevInfo, What: "The metadata's resource is a parent of this server's URL.",
			Why: "Some clients compare exactly.", Fix: "Set resource to exactly the URL people enter."}, f.Resource.Resource)
	}
	if slices.Contains(f.Resource.Scopes, "offline_access") {
		r.Find(report.Finding{ID: "auth.offline-scope", Check: "auth", Severity: report.SevInfo, What: "scopes_supported of the resource lists offline_access.",
			Why: "It is the client's business with the authorization server, not a scope of the resource.", Fix: "Take it out of the resource metadata."})
	}
}

// issuer judges RFC 8414 metadata.
func (d *doctor) issuer(f *discovery.Found) {
	r := d.report
	if f.Issuer == nil {
		r.Find(report.Finding{ID: "auth.no-issuer-metadata", Check: "auth", Severity: report.SevError, What: "The authorization server's metadata was not found.",
			Why: "No client can begin a sign-in. " + f.Problem, Fix: "Serve RFC 8414 metadata whose issuer is the URL in authorization_servers."})
		return
	}
	i := f.Issuer
	if !slices.Contains(i.PKCE, "S256") {
		r.Find(report.Finding{ID: "auth.no-pkce", Check: "auth", Severity: report.SevError, What: "The authorization server does not advertise PKCE with S256.",
			Why: "MCP clients must refuse to go on without it.", Fix: `Support it, and say "code_challenge_methods_supported": ["S256"].`})
	}
	for name, at := range map[string]string{"authorization_endpoint": i.Authorization, "token_endpoint": i.Token} {
		u, err := url.Parse(at)
		switch {
		case at == "" || err != nil || u.Host == "":
			r.Find(report.Finding{ID: "auth.no-endpoint", Check: "auth", Severity: report.SevError, What: "The authorization server's metadata lacks an endpoint.",
				Why: "No client can finish a sign-in.", Fix: "Name authorization_endpoint and token_endpoint."}, name)
		case u.Scheme != "https" && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127."):
			r.Find(report.Finding{ID: "auth.plain-endpoint", Check: "auth", Severity: report.SevError, What: "An endpoint of the authorization server is not https.",
				Why: "Codes and tokens would cross the network in the clear.", Fix: "Serve it by https."}, name)
		}
	}
	if i.Registration == "" && !i.ClientDocs {
		r.Find(report.Finding{ID: "auth.no-registration", Check: "auth", Severity: report.SevWarning, What: "Clients cannot register themselves.",
			Why: "Each client's maker or user has to ask for a client id.", Fix: "Support client id metadata documents (client_id_metadata_document_supported)."})
	}
	if !i.IssParameter {
		r.Find(report.Finding{ID: "auth.no-iss", Check: "auth", Severity: report.SevInfo, What: "The authorization server does not say that it sends iss (RFC 9207).",
			Why: "Without it a client of several servers can be made to confuse them.", Fix: "Send iss with every redirect and advertise authorization_response_iss_parameter_supported."})
	}
}

// token looks into a JWT that is sent along: whom it is for and how long it
// lives. Its signature is the server's to judge; an opaque token says nothing.
func (d *doctor) token(c discovery.Challenge) {
	claims, ok := jwtClaims(d.line)
	if !ok {
		return
	}
	r := d.report
	if exp := time.Unix(claims.Expires, 0); claims.Expires != 0 && exp.Before(d.Now()) {
		r.Find(report.Finding{ID: "auth.token-expired", Check: "auth", Severity: report.SevError, What: "The token has expired.",
			Why: "The server refuses it.", Fix: "Sign in again, or import a refresh token too."})
	}
	var missing []string
	for _, scope := range strings.Fields(c.Scope) {
		if claims.Scope != "" && !slices.Contains(strings.Fields(claims.Scope), scope) {
			missing = append(missing, scope)
		}
	}
	if missing != nil {
		r.Find(report.Finding{ID: "auth.token-scope", Check: "auth", Severity: report.SevWarning, What: "The token lacks scopes that the server asks for.",
			Why: "Some of the server's tools will be refused.", Fix: "Sign in again and ask for these scopes."}, missing...)
	}
	if len(claims.Audience) == 0 {
		return
	}
	for _, a := range claims.Audience {
		if _, covers := discovery.Covers(a, report.PublicURL(d.line.url)); covers {
			return
		}
	}
	r.Find(report.Finding{ID: "auth.token-audience", Check: "auth", Severity: report.SevWarning, What: "The token is for another audience than this server's URL.",
		Why: "A server that checks its audience refuses it; one that does not takes tokens meant for others.", Fix: "Ask for the token with resource set to the server's URL (RFC 8707)."}, claims.Audience...)
}

type claims struct {
	Audience audience `json:"aud"`
	Expires  int64    `json:"exp"`
	Scope    string   `json:"scope"`
}

type audience []string

// UnmarshalJSON takes a text or a list of texts.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

func jwtClaims(l *line) (c claims, ok bool) {
	for _, f := range l.fields {
		token, isBearer := strings.CutPrefix(f.Value.Reveal(), "Bearer ")
		parts := strings.Split(token, ".")
		if !strings.EqualFold(f.Name, "Authorization") || !isBearer || len(parts) != 3 {
			continue
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		return c, err == nil && json.Unmarshal(text, &c) == nil
	}
	return c, false
}
