package oauth

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream/discovery"
)

// Resource is a protected MCP server with its authorization server, as far as
// both are what they say.
type Resource struct {
	URI    string   // what tokens are asked for
	Scopes []string // that its metadata names
	Issuer discovery.Issuer

	legacy bool // of 2025-03-26: without resource metadata
}

// Challenge asks an MCP server without a credential, and returns how it asks
// for one; the zero value when it does not. Servers let different requests
// pass, so a second one follows the first.
func (c *Client) Challenge(ctx context.Context, server string) (discovery.Challenge, error) {
	hello := mcp.AppendRequest(nil, []byte(`"headgate-sign-in"`), mcp.MethodInitialize,
		[]byte(`{"protocolVersion":"`+string(mcp.LatestLegacy)+`","capabilities":{},"clientInfo":{"name":"headgate","version":"1"}}`))
	list := mcp.AppendRequest(nil, []byte(`"headgate-sign-in"`), mcp.MethodToolsList,
		[]byte(`{"_meta":{"`+mcp.MetaProtocolVersion+`":"`+string(mcp.LatestModern)+`","`+mcp.MetaClientCapabilities+`":{},"`+mcp.MetaClientInfo+`":{"name":"headgate","version":"1"}}}`))
	for _, try := range []struct {
		body     []byte
		revision mcp.Revision
		method   string
	}{{hello, "", ""}, {list, mcp.LatestModern, mcp.MethodToolsList}} {
		ch, asked, err := c.challenge(ctx, server, try.body, try.revision, try.method)
		if err != nil || asked {
			return ch, err
		}
	}
	return discovery.Challenge{}, nil
}

func (c *Client) challenge(ctx context.Context, server string, body []byte, revision mcp.Revision, method string) (ch discovery.Challenge, asked bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server, bytes.NewReader(body))
	if err != nil {
		return ch, false, ErrDiscovery.Because(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if revision != "" {
		r.Header.Set(mcp.HeaderProtocolVersion, string(revision))
		r.Header.Set(mcp.HeaderMethod, method)
	}
	client := c.http()
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		return ch, false, unreachable(err)
	}
	_ = resp.Body.Close()
	if id := resp.Header.Get(mcp.HeaderSessionID); id != "" && resp.StatusCode < 300 {
		c.leave(ctx, client, server, id)
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return ch, false, nil
	}
	ch = discovery.ParseChallenge(strings.Join(resp.Header.Values("WWW-Authenticate"), ", "))
	ch.Bearer = true // of what other kind could it be? Some servers forget to say
	return ch, true, nil
}

// leave ends a session that a server has opened.
func (c *Client) leave(ctx context.Context, client *http.Client, server, id string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodDelete, server, nil)
	if err != nil {
		return
	}
	r.Header.Set(mcp.HeaderSessionID, id)
	r.Header.Set(mcp.HeaderProtocolVersion, string(mcp.LatestLegacy))
	if resp, err := client.Do(r); err == nil {
		_ = resp.Body.Close()
	}
}

// Find finds out who signs people in for an MCP server that has answered with a
// challenge. ErrNone when nobody does.
func (c *Client) Find(ctx context.Context, server string, ch discovery.Challenge) (*Resource, error) {
	client := c.http()
	defer client.CloseIdleConnections()
	f := discovery.Discover(ctx, client, server, ch)
	switch {
	case f.Issuer == nil && f.Resource == nil && ch.Bearer && nothingThere(f):
		return fallback(server)
	case f.Issuer == nil && f.Resource == nil && nothingThere(f):
		return nil, ErrNone
	case f.Issuer == nil:
		return nil, ErrDiscovery.Saying("%s %s", ErrDiscovery.Message, f.Problem)
	case f.Resource == nil:
		return &Resource{URI: server, Issuer: *f.Issuer, legacy: true}, nil
	}
	if _, covers := discovery.Covers(f.Resource.Resource, server); !covers {
		return nil, ErrResource
	}
	return &Resource{URI: f.Resource.Resource, Scopes: f.Resource.Scopes, Issuer: *f.Issuer}, nil
}

// FindIssuer returns the metadata of one authorization server.
func (c *Client) FindIssuer(ctx context.Context, issuer string) (*discovery.Issuer, error) {
	client := c.http()
	defer client.CloseIdleConnections()
	f := discovery.DiscoverIssuer(ctx, client, issuer)
	if f.Issuer == nil {
		return nil, ErrDiscovery.Saying("%s %s", ErrDiscovery.Message, f.Problem)
	}
	return f.Issuer, nil
}

// nothingThere reports whether every place answered that it has no metadata. A
// place in trouble is no proof, and the code must not go elsewhere for it.
func nothingThere(f *discovery.Found) bool {
	for _, a := range f.Attempts {
		if a.Status < 400 || a.Status >= 500 || a.Status == http.StatusTooManyRequests {
			return false
		}
	}
	return len(f.Attempts) > 0
}

// fallback are the endpoints of 2025-03-26 for a server without any metadata.
func fallback(server string) (*Resource, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, ErrDiscovery.Because(err)
	}
	origin := u.Scheme + "://" + u.Host
	return &Resource{URI: server, legacy: true, Issuer: discovery.Issuer{Authorization: origin + "/authorize", Token: origin + "/token", Registration: origin + "/register",
		AuthMethods: []string{methodNone, methodPost, methodBasic}}}, nil
}

// private parses the URL of an endpoint that gets codes, secrets or tokens:
// nobody may read along, so it has TLS or is on this machine.
func private(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil {
		return nil, ErrEndpoint
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())) {
		return nil, ErrEndpoint
	}
	return u, nil
}

// unreachable keeps the guard's fault. net's own text repeats the URL, which
// may hold a key.
func unreachable(err error) error {
	if fault.CodeOf(err) != "internal" {
		return fault.Of(err)
	}
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return ErrDiscovery.Saying("No connection: the address does not answer. Check it, and try again.").Because(err)
}
