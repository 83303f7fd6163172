package oauth

import (
	"context"
	"net/url"
	"strings"

	"headgate/internal/seal"
)

// Assertion returns a JWT with which somebody else vouches for a person or a
// workload to the authorization server of a resource.
type Assertion func(ctx context.Context, r *Resource) (seal.Value, error)

// Workload is an Assertion that is there already: what a platform gives its
// workloads (workload identity federation).
func Workload(token seal.Value) Assertion {
	return func(context.Context, *Resource) (seal.Value, error) { return token, nil }
}

// Identity is a person's sign-in at their organization's identity provider,
// which decides what they may use (enterprise-managed authorization).
type Identity struct {
	Issuer string // the identity provider
	Client Registration
	Token  seal.Value // the ID token that it gave Client for the person
}

// Assertion has the identity provider vouch for the person (ID-JAG, by token
// exchange, RFC 8693).
func (c *Client) Assertion(i Identity) Assertion {
	return func(ctx context.Context, r *Resource) (seal.Value, error) {
		provider, err := c.FindIssuer(ctx, i.Issuer)
		if err != nil {
			return seal.Value{}, err
		}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {"urn:ietf:params:oauth:token-type:id-jag"},
			"subject_token": {i.Token.Reveal()}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
			"audience": {r.Issuer.Issuer}, "resource": {r.URI}}
		client := i.Client.At(provider)
		t, err := c.token(ctx, provider.Token, provider.Issuer, &client, form, "N_A", i.Token)
		if err != nil {
			return seal.Value{}, err
		}
		return t.Access, nil
	}
}

// vouched signs in with an assertion (RFC 7523). It is tried once: what the
// authorization server thinks of it will not change.
func (c *Client) vouched(ctx context.Context, r *Resource, scopes []string) (*Grant, error) {
	if c.Given == nil {
		return nil, ErrClient.Saying("Give the client id that the authorization server knows the client by.")
	}
	client, err := c.registration(ctx, r)
	if err != nil {
		return nil, err
	}
	assertion, err := c.Vouched(ctx, r)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion.Reveal()}, "resource": {r.URI}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	t, err := c.token(ctx, r.Issuer.Token, r.Issuer.Issuer, client, form, bearer, assertion)
	if err != nil {
		return nil, err
	}
	if t.Scope == "" {
		t.Scope = strings.Join(scopes, " ")
	}
	return &Grant{Resource: r.URI, Issuer: r.Issuer.Issuer, Client: *client, Tokens: *t}, nil
}
