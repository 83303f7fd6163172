package diagnostics

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/rest"
)

type importTokens struct {
	InServer
	Body ImportTokensBody
}

// ImportTokensBody is tokens that somebody brings for a server.
type ImportTokensBody struct {
	ServerURL   string             `json:"serverUrl" minLength:"1" maxLength:"2048" doc:"The server's own URL: tokens go nowhere else."`
	ResourceURL string             `json:"oauthResourceUrl,omitempty" maxLength:"2048"`
	Issuer      string             `json:"issuer,omitempty" maxLength:"2048" doc:"The authorization server that issued them; left out, the one that the server names."`
	Client      *ClientInformation `json:"clientInformation,omitempty"`
	Tokens      TokenSet           `json:"tokens"`
}

// ClientInformation is the OAuth client that the tokens were issued to.
type ClientInformation struct {
	ClientID     string `json:"clientId" minLength:"1" maxLength:"2048"`
	ClientSecret string `json:"clientSecret,omitempty" maxLength:"8192"`
	PrivateKey   string `json:"privateKey,omitempty" maxLength:"8192" doc:"In PEM form (PKCS #8), for private_key_jwt instead of a secret."`
	AuthMethod   string `json:"tokenEndpointAuthMethod,omitempty" enum:"none,client_secret_basic,client_secret_post,private_key_jwt" doc:"Left out, what the authorization server supports."`
	GrantType    string `json:"grantType,omitempty" enum:"authorization_code,client_credentials" doc:"client_credentials: the client signs in for itself, and new tokens are asked for in the same way. Left out, authorization_code."`
}

// TokenSet is a token endpoint's answer, in its own words.
type TokenSet struct {
	AccessToken  string `json:"access_token" minLength:"1" maxLength:"8192"`
	RefreshToken string `json:"refresh_token,omitempty" maxLength:"8192"`
	ExpiresIn    int64  `json:"expires_in,omitempty" minimum:"0" maximum:"315360000"`
	TokenType    string `json:"token_type,omitempty" maxLength:"32"`
	Scope        string `json:"scope,omitempty" maxLength:"8192"`
	IDToken      string `json:"id_token,omitempty" maxLength:"16384" doc:"Not used and not kept."`
}

func (b *ImportTokensBody) tokens() grants.Tokens {
	t := grants.Tokens{ServerURL: b.ServerURL, Resource: b.ResourceURL, Issuer: b.Issuer, Access: b.Tokens.AccessToken, Refresh: b.Tokens.RefreshToken,
		ExpiresIn: time.Duration(b.Tokens.ExpiresIn) * time.Second, Type: b.Tokens.TokenType, Scope: b.Tokens.Scope}
	if b.Client != nil {
		t.ClientID, t.ClientSecret, t.ClientKey = b.Client.ClientID, b.Client.ClientSecret, b.Client.PrivateKey
		t.ClientMethod, t.Machine = b.Client.AuthMethod, b.Client.GrantType == "client_credentials"
	}
	return t
}

type imported struct {
	Imported  bool      `json:"imported" enum:"true"`
	ExpiresAt rest.Time `json:"expiresAt" nullable:"true"`
}

type tokenGrant struct {
	Issuer    string    `json:"issuer,omitempty"`
	Scope     string    `json:"scope,omitempty"`
	Renewable bool      `json:"renewable"`
	ExpiresAt rest.Time `json:"expiresAt" nullable:"true"`
	Problem   string    `json:"problem,omitempty" doc:"Why it is not used any more: sign in again."`
	CreatedAt rest.Time `json:"createdAt"`
	UpdatedAt rest.Time `json:"updatedAt"`
}

func grantOf(g *grants.Grant) *tokenGrant {
	return &tokenGrant{g.Issuer, g.Scope, g.Renewable, rest.At(g.ExpiresAt), g.Problem, rest.At(g.CreatedAt), rest.At(g.UpdatedAt)}
}

func (a *api) tokens() {
	tags := []string{"oauth"}
	rest.Handle(a.door, rest.Op{Method: "POST", Path: oneServer + "/oauth/import-tokens", ID: "importServerTokens", Summary: "Bring your tokens for a server", Tags: tags,
		Detail: "Sealed, sent with your calls alone, and renewed here. They are never read back.", Permission: access.Call}, a.importTokens)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: oneServer + "/oauth/tokens", ID: "getServerTokens", Summary: "What is known of your tokens for a server", Tags: tags, Permission: access.Call}, a.getTokens)
	rest.Handle(a.door, rest.Op{Method: "DELETE", Path: oneServer + "/oauth/tokens", ID: "deleteServerTokens", Summary: "Forget your tokens for a server", Tags: tags, Permission: access.Call}, a.deleteTokens)
}

func (a *api) importTokens(ctx context.Context, in *importTokens) (*imported, error) {
	_, s, err := a.server(ctx, in.InServer)
	if err != nil {
		return nil, err
	}
	g, err := a.Grants.Import(ctx, rest.Principal(ctx), s, in.Body.tokens())
	if err != nil {
		return nil, address(err)
	}
	return &imported{true, rest.At(g.ExpiresAt)}, nil
}

func (a *api) getTokens(ctx context.Context, in *InServer) (*tokenGrant, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	g, err := a.Grants.Get(ctx, rest.Principal(ctx), s)
	if err != nil {
		return nil, err
	}
	return grantOf(g), nil
}

func (a *api) deleteTokens(ctx context.Context, in *InServer) (*rest.None, error) {
	_, s, err := a.server(ctx, *in)
	if err != nil {
		return nil, err
	}
	return nil, a.Grants.Remove(ctx, rest.Principal(ctx), s)
}
