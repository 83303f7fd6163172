package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"headgate/internal/netguard"
	"headgate/internal/seal"
)

// code signs a person in: authorization code with PKCE.
func (c *Client) code(ctx context.Context, r *Resource, scopes []string) (*Grant, error) {
	if c.Browser == nil {
		return nil, ErrRefused.Saying("This sign-in needs a person with a browser.")
	}
	if !slices.Contains(r.Issuer.PKCE, "S256") && (!r.legacy || len(r.Issuer.PKCE) > 0) {
		return nil, ErrPKCE // servers of 2025-03-26 had to support it and did not have to say so
	}
	page, err := c.page(r.Issuer.Authorization)
	if err != nil {
		return nil, err
	}
	if _, err := private(r.Issuer.Token); err != nil {
		return nil, err
	}
	client, err := c.registration(ctx, r)
	if err != nil {
		return nil, err
	}
	state, verifier := rand.Text()+rand.Text(), rand.Text()+rand.Text() // 52 characters each
	sum := sha256.Sum256([]byte(verifier))
	q := page.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": client.ID, "redirect_uri": c.Redirect, "state": state, "resource": r.URI,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	if len(scopes) > 0 {
		q.Set("scope", strings.Join(scopes, " "))
	}
	if slices.Contains(scopes, offline) {
		q.Set("prompt", "consent") // OpenID Connect gives no refresh token without
	}
	page.RawQuery = q.Encode()
	answer, err := c.Browser(ctx, page.String())
	if err != nil {
		return nil, err
	}
	code, err := judge(answer, state, r)
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.Redirect}, "code_verifier": {verifier}, "resource": {r.URI}}
	t, err := c.token(ctx, r.Issuer.Token, r.Issuer.Issuer, client, form, bearer, seal.NewValue(code), seal.NewValue(verifier))
	if err != nil {
		return nil, err
	}
	if t.Scope == "" {
		t.Scope = strings.Join(scopes, " ") // as asked (RFC 6749, 5.1)
	}
	return &Grant{Resource: r.URI, Issuer: r.Issuer.Issuer, Client: *client, Tokens: *t}, nil
}

// page parses the URL of a page that a person is sent to. The guard will not
// dial it, but a stranger must not send people into closed networks either.
func (c *Client) page(raw string) (*url.URL, error) {
	u, err := private(raw)
	if err != nil {
		return nil, err
	}
	if _, err := c.Guard.CheckURL(u.String()); errors.Is(err, netguard.ErrBlocked) {
		return nil, err
	} else if err != nil {
		return nil, ErrEndpoint.Because(err)
	}
	if u.Hostname() == "localhost" {
		return u, c.Guard.CheckAddr(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return u, nil
}

// judge takes the code out of a redirect, if it answers this sign-in: what does
// not is neither used nor repeated, its error texts included (RFC 9207).
func judge(answer url.Values, state string, r *Resource) (code string, err error) {
	for _, name := range []string{"state", "iss", "code", "error"} {
		if len(answer[name]) > 1 {
			return "", ErrResponse
		}
	}
	iss, told := answer.Get("iss"), answer.Has("iss")
	switch {
	case subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(state)) != 1:
		return "", ErrResponse
	case told && iss != r.Issuer.Issuer, !told && r.Issuer.IssParameter:
		return "", ErrResponse.Saying("The answer comes from another authorization server than the one that was asked, so its code is not used. Sign in again, and report it if it stays.")
	case answer.Get("error") != "":
		return "", ErrDenied.Saying("The authorization server did not grant the sign-in%s.", reason(answer.Get("error"), answer.Get("error_description")))
	case answer.Get("code") == "":
		return "", ErrResponse
	}
	return answer.Get("code"), nil
}
