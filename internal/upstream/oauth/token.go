package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"headgate/internal/fault"
	"headgate/internal/netguard"
	"headgate/internal/seal"
)

const (
	maxText = 8 << 10 // of an id, a secret or a token
	maxLife = 10 * 365 * 24 * time.Hour
)

// Renewal is what new tokens are asked for with.
type Renewal struct {
	Endpoint string // the token endpoint
	Issuer   string
	Client   Registration
	Refresh  seal.Value // empty: the client asks for itself (client credentials)
	Resource string
	Scope    string // of client credentials
}

// Renew asks for new tokens. ErrRefused is the authorization server's last word
// on a grant; other errors may pass.
func (c *Client) Renew(ctx context.Context, n Renewal) (*Tokens, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {n.Refresh.Reveal()}, "resource": {n.Resource}}
	if n.Refresh.Empty() {
		form = machine(n.Resource, n.Scope)
	}
	return c.token(ctx, n.Endpoint, n.Issuer, &n.Client, form, bearer, n.Refresh)
}

// credentials signs the client itself in.
func (c *Client) credentials(ctx context.Context, r *Resource, scopes []string) (*Grant, error) {
	if c.Given == nil {
		return nil, ErrClient.Saying("A client that signs in for itself is registered by hand. Give its client id, and its secret or private key.")
	}
	client, err := c.registration(ctx, r)
	if err != nil {
		return nil, err
	}
	scope := strings.Join(scopes, " ")
	t, err := c.token(ctx, r.Issuer.Token, r.Issuer.Issuer, client, machine(r.URI, scope), bearer)
	if err != nil {
		return nil, err
	}
	if t.Scope == "" {
		t.Scope = scope
	}
	return &Grant{Resource: r.URI, Issuer: r.Issuer.Issuer, Client: *client, Tokens: *t}, nil
}

func machine(resource, scope string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}
	if scope != "" {
		form.Set("scope", scope)
	}
	return form
}

// bearer is the type of token that MCP servers take.
const bearer = "Bearer"

// token makes one request to a token endpoint, for a token of a kind. secrets
// are those of the form.
func (c *Client) token(ctx context.Context, endpoint, issuer string, client *Registration, form url.Values, kind string, secrets ...seal.Value) (*Tokens, error) {
	at, err := private(endpoint)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	switch client.method(nil) {
	case methodNone:
		form.Set("client_id", client.ID)
	case methodPost:
		form.Set("client_id", client.ID)
		form.Set("client_secret", client.Secret.Reveal())
	case methodBasic:
		pair := url.QueryEscape(client.ID) + ":" + url.QueryEscape(client.Secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case methodKey:
		assertion, err := client.assertion(issuer, endpoint, c.Now())
		if err != nil {
			return nil, err
		}
		form.Set("client_id", client.ID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, ErrEndpoint.Because(err)
	}
	r.Header = header
	status, text, err := c.ask(r)
	if err != nil {
		return nil, err
	}
	return tokens(status, text, kind, append(secrets, client.Secret))
}

// ask makes a request of one of the client's endpoints and reads the answer.
func (c *Client) ask(r *http.Request) (status int, text []byte, err error) {
	r.Header.Set("Accept", "application/json")
	client := c.http()
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		if fault.CodeOf(err) != "internal" {
			return 0, nil, fault.Of(err)
		}
		return 0, nil, ErrToken.Because(r.Context().Err()) // net's own text repeats the URL
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, ErrToken.Because(r.Context().Err())
	}
	return resp.StatusCode, text, nil
}

// final are the OAuth errors that no repetition changes.
var final = map[string]bool{"invalid_grant": true, "invalid_client": true, "unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true, "invalid_target": true, "access_denied": true}

// tokens judges a token endpoint's answer.
func tokens(status int, text []byte, kind string, secrets []seal.Value) (*Tokens, error) {
	var a struct {
		Access    string      `json:"access_token"`
		Refresh   string      `json:"refresh_token"`
		Type      string      `json:"token_type"`
		ExpiresIn json.Number `json:"expires_in"` // some write it as a text
		Scope     string      `json:"scope"`
		Error     string      `json:"error"`
	}
	bad := json.Unmarshal(text, &a) != nil
	switch {
	case status >= 400 && status < 500 && final[a.Error]:
		return nil, ErrRefused.Saying("The authorization server refused the request for a token%s. Sign in again.", because(text, secrets...)).With("error", a.Error)
	case status != http.StatusOK || bad || a.Access == "":
		return nil, ErrToken.Saying("The authorization server's token endpoint answered %d without a token%s. Try again later, and report it to whoever runs it.", status, because(text, secrets...)).With("status", status)
	case a.Type != "" && !strings.EqualFold(a.Type, kind):
		return nil, ErrToken.Saying("The authorization server gives tokens of another type than %s, which are not supported here. Report it to whoever runs it.", kind)
	case netguard.CheckHeader("Authorization", "Bearer "+a.Access) != nil, len(a.Access) > maxText, len(a.Refresh) > maxText, len(a.Scope) > maxText:
		return nil, ErrToken.Saying("The authorization server's token is too long, or holds characters that a header cannot carry. Report it to whoever runs it.")
	}
	t := &Tokens{Access: seal.NewValue(a.Access), Refresh: seal.NewValue(a.Refresh), Scope: a.Scope}
	if n, err := a.ExpiresIn.Int64(); err == nil && n > 0 {
		t.ExpiresIn = time.Duration(min(n, int64(maxLife/time.Second))) * time.Second
	}
	return t, nil
}

// assertion signs who the client is (RFC 7523), for the authorization server.
func (g *Registration) assertion(issuer, endpoint string, now time.Time) (string, error) {
	if issuer == "" {
		issuer = endpoint
	}
	key, alg, err := parseKey(g.Key)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", ErrKey // the library's text is about the key
	}
	text, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: g.ID, Subject: g.ID, Audience: jwt.Audience{issuer}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute))}).Serialize()
	if err != nil {
		return "", ErrKey
	}
	return text, nil
}

// KeyOK reports whether a private key in PEM form can be used.
func KeyOK(key seal.Value) bool {
	_, _, err := parseKey(key)
	return err == nil
}

func parseKey(v seal.Value) (crypto.Signer, jose.SignatureAlgorithm, error) {
	block, _ := pem.Decode([]byte(v.Reveal()))
	if block == nil {
		return nil, "", ErrKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, "", ErrKey
	}
	switch k := parsed.(type) {
	case *ecdsa.PrivateKey:
		if alg := map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}[k.Curve.Params().BitSize]; alg != "" {
			return k, alg, nil
		}
	case *rsa.PrivateKey:
		return k, jose.RS256, nil
	case ed25519.PrivateKey:
		return k, jose.EdDSA, nil
	}
	return nil, "", ErrKey
}
