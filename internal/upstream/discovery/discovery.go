package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"headgate/internal/fault"
)

const (
	maxDocument = 256 << 10
	maxIssuers  = 3 // that are asked
)

// The names of the attempts, as reports show them.
const (
	ResourceMetadata = "resource_metadata"
	IssuerMetadata   = "authorization_server_metadata"
)

// Resource is protected resource metadata (RFC 9728).
type Resource struct {
	URL           string          `json:"-"`
	Raw           json.RawMessage `json:"-"`
	Resource      string          `json:"resource"`
	Issuers       []string        `json:"authorization_servers"`
	Scopes        []string        `json:"scopes_supported"`
	BearerMethods []string        `json:"bearer_methods_supported"`
}

// Issuer is authorization server metadata (RFC 8414).
type Issuer struct {
	URL           string          `json:"-"`
	Raw           json.RawMessage `json:"-"`
	Issuer        string          `json:"issuer"`
	Authorization string          `json:"authorization_endpoint"`
	Token         string          `json:"token_endpoint"`
	Registration  string          `json:"registration_endpoint"`
	PKCE          []string        `json:"code_challenge_methods_supported"`
	Scopes        []string        `json:"scopes_supported"`
	Grants        []string        `json:"grant_types_supported"`
	AuthMethods   []string        `json:"token_endpoint_auth_methods_supported"`
	ClientDocs    bool            `json:"client_id_metadata_document_supported"`
	IssParameter  bool            `json:"authorization_response_iss_parameter_supported"`
}

// Attempt is one document asked for.
type Attempt struct {
	Name     string
	URL      string
	Status   int // 0: no answer
	Problem  string
	Duration time.Duration
}

// Found is what a discovery came to. Resource and Issuer are nil when there
// is none; Problem then says why, in words for people.
type Found struct {
	Resource *Resource
	Issuer   *Issuer
	Attempts []Attempt
	Problem  string
}

// Discover asks for the metadata of an MCP server: where the challenge points,
// then at the well-known place with the server's path, then at the root; then
// for the metadata of the authorization servers named, until one has some. A
// server of before 2025-06-18 has no resource metadata and is its own authorization server.
func Discover(ctx context.Context, client *http.Client, server string, c Challenge) *Found {
	f := &Found{}
	base, err := url.Parse(server)
	if err != nil || base.Host == "" {
		f.Problem = "The server's URL cannot be read."
		return f
	}
	ask := asker{ctx, client, f}
	for _, at := range resourceURLs(base, c) {
		r := &Resource{URL: at}
		if ask.document(ResourceMetadata, at, &r.Raw, r) {
			f.Resource = r
			break
		}
	}
	issuers := []string{base.Scheme + "://" + base.Host}
	switch {
	case f.Resource == nil:
		f.Problem = "There is no protected resource metadata (RFC 9728)."
	case len(f.Resource.Issuers) == 0:
		f.Problem = "The protected resource metadata names no authorization server."
		return f
	default:
		issuers = f.Resource.Issuers
	}
	for _, issuer := range issuers[:min(len(issuers), maxIssuers)] {
		if ask.issuer(issuer); f.Issuer != nil {
			break
		}
	}
	return f
}

// DiscoverIssuer asks for the metadata of an authorization server alone.
func DiscoverIssuer(ctx context.Context, client *http.Client, issuer string) *Found {
	f := &Found{}
	(&asker{ctx, client, f}).issuer(issuer)
	return f
}

// issuer asks for the metadata of one authorization server.
func (a *asker) issuer(issuer string) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		a.found.Problem = "The authorization server's URL cannot be read."
		return
	}
	for _, at := range issuerURLs(u) {
		m := &Issuer{URL: at}
		if !a.document(IssuerMetadata, at, &m.Raw, m) {
			continue
		}
		if m.Issuer != issuer && strings.TrimSuffix(m.Issuer, "/") != strings.TrimSuffix(issuer, "/") {
			a.note("It names another issuer than the one it was asked for.")
			continue
		}
		a.found.Issuer = m
		if a.found.Resource != nil {
			a.found.Problem = ""
		}
		return
	}
	if a.found.Problem == "" {
		a.found.Problem = "The authorization server has no metadata (RFC 8414) of its own issuer."
	}
}

type asker struct {
	ctx    context.Context
	client *http.Client
	found  *Found
}

// note adds what is wrong to the last attempt.
func (a *asker) note(problem string) { a.found.Attempts[len(a.found.Attempts)-1].Problem = problem }

// document fetches a JSON object and reports whether it is one.
func (a *asker) document(name, at string, raw *json.RawMessage, into any) bool {
	start := time.Now()
	body, status, err := a.get(at)
	try := Attempt{Name: name, URL: at, Status: status, Duration: time.Since(start)}
	switch {
	case err != nil:
		// A fault's message says nothing that would help to map a network.
		try.Problem = fault.Of(err).Message
		if fault.CodeOf(err) == "internal" {
			try.Problem = "No usable answer."
		}
	case status >= 300 && status < 400:
		try.Problem = "It is a redirect, which is not followed."
	case status != http.StatusOK:
		try.Problem = fmt.Sprintf("HTTP status %d.", status)
	case json.Unmarshal(body, into) != nil || !strings.HasPrefix(strings.TrimSpace(string(body)), "{"):
		try.Problem = "It is no JSON object of the expected form."
	}
	a.found.Attempts = append(a.found.Attempts, try)
	*raw = body
	return try.Problem == ""
}

func (a *asker) get(at string) ([]byte, int, error) {
	r, err := http.NewRequestWithContext(a.ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	resp, err := a.client.Do(r)
	if err != nil {
		var blocked *fault.Error
		if errors.As(err, &blocked) {
			return nil, 0, blocked
		}
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err == nil && len(body) > maxDocument {
		err = errors.New("the document is too large")
	}
	return body, resp.StatusCode, err
}

func resourceURLs(server *url.URL, c Challenge) []string {
	var list []string
	if u, err := url.Parse(c.ResourceMetadata); err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") {
		list = append(list, u.String())
	}
	root := server.Scheme + "://" + server.Host + "/.well-known/oauth-protected-resource"
	if path := strings.TrimSuffix(server.EscapedPath(), "/"); path != "" {
		list = append(list, root+path)
	}
	return unique(append(list, root))
}

// issuerURLs are the places of MCP 2025-11-25: OAuth's, then OpenID Connect's,
// path inserted, then appended.
func issuerURLs(issuer *url.URL) []string {
	origin, path := issuer.Scheme+"://"+issuer.Host, strings.TrimSuffix(issuer.EscapedPath(), "/")
	return unique([]string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + "/.well-known/openid-configuration" + path,
		origin + path + "/.well-known/openid-configuration",
	})
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		known := false
		for _, o := range out {
			known = known || o == s
		}
		if !known {
			out = append(out, s)
		}
	}
	return out
}

// Covers reports whether a resource identifier stands for a server's URL:
// exactly, or as an ancestor of it at the same origin, which clients accept.
func Covers(resource, server string) (exact, covers bool) {
	r, err1 := url.Parse(resource)
	s, err2 := url.Parse(server)
	if err1 != nil || err2 != nil || r.Host == "" {
		return false, false
	}
	if resource == server {
		return true, true
	}
	same := strings.EqualFold(r.Scheme, s.Scheme) && strings.EqualFold(r.Host, s.Host)
	rp, sp := strings.TrimSuffix(r.Path, "/"), strings.TrimSuffix(s.Path, "/")
	return same && rp == sp, same && (rp == sp || strings.HasPrefix(sp, rp+"/"))
}
