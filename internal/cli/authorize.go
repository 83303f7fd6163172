package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"headgate/client"
	"headgate/internal/fault"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/upstream/discovery"
	"headgate/internal/upstream/oauth"
)

type serverAuthorizeCmd struct {
	workspaceFlag
	Name              string         `arg:"" help:"The server."`
	Scope             []string       `sep:" " placeholder:"SCOPE" help:"A permission to ask for, beside those that the server names. Repeatable."`
	ClientID          string         `placeholder:"ID" help:"A client registered by hand, or the https URL of a client's metadata document."`
	ClientSecret      bool           `help:"That client has a secret: it is asked for, or is the first line of the input."`
	PrivateKey        string         `placeholder:"FILE" help:"That client has a private key (PEM, PKCS #8) instead."`
	ClientCredentials bool           `help:"Sign in as that client itself, not as a person."`
	Assertion         string         `placeholder:"FILE" help:"Sign in with this JWT, which that client's platform gave it (workload identity)."`
	IDToken           string         `name:"id-token" placeholder:"FILE" help:"Sign in with this ID token of your organization's identity provider (enterprise-managed authorization)."`
	IdentityProvider  string         `placeholder:"URL" help:"The issuer of --id-token."`
	IdentityClientID  string         `placeholder:"ID" help:"The client that --id-token was issued to."`
	Port              uint16         `placeholder:"PORT" help:"Hear the answer at http://127.0.0.1:PORT/callback; left out, any port."`
	Timeout           time.Duration  `default:"5m" placeholder:"TIME" help:"How long to wait for the person."`
	AllowNetworks     []netip.Prefix `sep:"none" placeholder:"NET" help:"Private networks that the server and its authorization server may be in, such as 10.1.0.0/16. Repeatable."`
}

func (serverAuthorizeCmd) Help() string {
	return `Signs you in (OAuth) at an MCP server that wants it. Open the printed page in a browser on this machine. Headgate
then keeps your tokens sealed, sends them with your calls alone, and renews them. On another machine, forward the
port first: ssh -L 8765:127.0.0.1:8765 …, with --port 8765.

    headgate server authorize crm
    headgate server authorize crm --scope contacts:write
    headgate server authorize crm --client-id abc --client-secret --port 8765
    headgate server authorize crm --client-id robot --client-credentials --private-key robot.pem
    headgate server authorize crm --client-id robot --assertion token.jwt`
}

// Run signs the person in and hands the tokens to the server.
func (c *serverAuthorizeCmd) Run(ctx context.Context, x *env) error {
	given, err := c.given(x)
	if err != nil {
		return err
	}
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	if s.URL == "" || s.Transport == "stdio" || s.Transport == "builtin" {
		return invalid("%s is no server on the network, so there is nowhere to sign in", s.Slug)
	}
	scopes, err := c.scopes(ctx, api, s)
	if err != nil {
		return err
	}
	listener, err := oauth.Listen(int(c.Port))
	if err != nil {
		return wrong(exitConflict, "PORT_IN_USE", "port %d of 127.0.0.1 cannot be listened on: something else uses it.\nTake another --port, or leave it out.", c.Port)
	}
	defer listener.Close()
	o := oauth.Options{Guard: c.guard(s.URL), Name: "Headgate", Redirect: listener.Redirect(), Given: given, Machine: c.ClientCredentials,
		Browser: func(ctx context.Context, page string) (url.Values, error) { return c.wait(ctx, x, listener, page) }}
	if given == nil {
		o.Document = c.ClientID
	}
	if o.Vouched, err = c.vouched(oauth.New(o)); err != nil {
		return err
	}
	keeping := &keepTokens{api: api, server: s, machine: c.ClientCredentials}
	g, err := oauth.New(o).SignIn(ctx, s.URL, scopes, keeping.use)
	if err != nil {
		return c.hinted(err)
	}
	return x.print(keeping.kept, func() {
		x.say("Signed in to %s. Your calls are sent with your token%s.", s.Slug, renewed(&keeping.kept.Tokens))
		if g.Scope != "" {
			x.say("Permissions: %s", g.Scope)
		}
		if keeping.trouble != nil {
			x.hint("The server was asked, and failed: %s\nTry it: headgate server test %s", x.problemOf(keeping.trouble).message, s.Slug)
		}
	})
}

// given is the client that was registered by hand; nil when there is none.
func (c *serverAuthorizeCmd) given(x *env) (*oauth.Registration, error) {
	own := c.ClientSecret || c.PrivateKey != "" || c.ClientCredentials || c.Assertion != "" || c.IDToken != ""
	switch {
	case strings.HasPrefix(c.ClientID, "https://") && !own:
		return nil, nil // a document
	case c.ClientID == "" && own:
		return nil, invalid("which client is it? Give --client-id")
	case c.ClientCredentials && c.Assertion != "", c.ClientCredentials && c.IDToken != "", c.Assertion != "" && c.IDToken != "":
		return nil, invalid("there is one way to sign in. Give one of --client-credentials, --assertion and --id-token")
	case (c.IDToken == "") != (c.IdentityProvider == "") || (c.IDToken == "") != (c.IdentityClientID == ""):
		return nil, invalid("--id-token, --identity-provider and --identity-client-id go together")
	case c.ClientSecret && c.PrivateKey != "":
		return nil, invalid("a client has a secret or a private key. Give one of --client-secret and --private-key")
	case c.ClientCredentials && !c.ClientSecret && c.PrivateKey == "":
		return nil, invalid("a client that signs in for itself has a secret or a private key. Give --client-secret or --private-key")
	case c.ClientID == "":
		return nil, nil
	}
	g := &oauth.Registration{ID: c.ClientID}
	if c.ClientSecret {
		secret, err := x.secret(bufio.NewReader(io.LimitReader(x.in, 16<<10)), "Client secret: ")
		if err != nil {
			return nil, err
		}
		g.Secret = seal.NewValue(secret)
	}
	if c.PrivateKey != "" {
		var err error
		if g.Key, err = secretFile(c.PrivateKey); err != nil {
			return nil, err
		}
		if !oauth.KeyOK(g.Key) {
			return nil, oauth.ErrKey
		}
	}
	return g, nil
}

// vouched is what to sign in with instead of a person; nil when a person does.
func (c *serverAuthorizeCmd) vouched(client *oauth.Client) (oauth.Assertion, error) {
	switch {
	case c.Assertion != "":
		token, err := secretFile(c.Assertion)
		return oauth.Workload(token), err
	case c.IDToken != "":
		token, err := secretFile(c.IDToken)
		return client.Assertion(oauth.Identity{Issuer: c.IdentityProvider, Client: oauth.Registration{ID: c.IdentityClientID}, Token: token}), err
	}
	return nil, nil
}

// secretFile reads a short text that nobody else should see.
func secretFile(path string) (seal.Value, error) {
	text, err := os.ReadFile(path)
	if err != nil || len(text) > 64<<10 {
		return seal.Value{}, invalid("%s cannot be read, or is too long", path)
	}
	return seal.NewValue(strings.TrimSpace(string(text))), nil
}

// scopes are what to ask for: the flags, and what was granted before.
func (c *serverAuthorizeCmd) scopes(ctx context.Context, api *client.Client, s *client.ServerRow) ([]string, error) {
	for _, scope := range c.Scope {
		if !oauth.ScopeOK(scope) {
			return nil, invalid("a --scope holds no spaces, quotes or characters outside ASCII")
		}
	}
	before, _, err := api.GetServerTokens(ctx, s.ID)
	var answered *client.Error
	if errors.As(err, &answered) && answered.Status == 404 {
		return c.Scope, nil
	}
	if err != nil {
		return nil, err
	}
	return append(strings.Fields(before.Tokens.Scope), c.Scope...), nil
}

// guard lets the sign-in reach what the server's own address is: this machine
// only from this machine, and private networks only when told to.
func (c *serverAuthorizeCmd) guard(server string) *netguard.Guard {
	u, err := url.Parse(server)
	if err != nil {
		return netguard.New(netguard.Policy{})
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return netguard.New(netguard.Policy{Allow: c.AllowNetworks, Loopback: u.Hostname() == "localhost" || err == nil && ip.IsLoopback()})
}

// wait shows the page and waits for the browser's answer.
func (c *serverAuthorizeCmd) wait(ctx context.Context, x *env, l *oauth.Loopback, page string) (url.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	_, _ = fmt.Fprintln(x.err, plain(fmt.Sprintf("Open this page in a browser on this machine, and agree there:\n\n    %s\n\nWaiting for its answer at %s, at most %s.", page, l.Redirect(), c.Timeout)))
	return l.Wait(ctx, page)
}

// hinted says what the command can do about a failure.
func (c *serverAuthorizeCmd) hinted(err error) error {
	switch {
	case errors.Is(err, netguard.ErrBlocked):
		return fault.Of(err).Saying("No connection: the address does not exist, does not answer, or lies in a private network. If it does, name the network: --allow-networks 10.1.0.0/16")
	case errors.Is(err, oauth.ErrWaited):
		return fault.Of(err).Saying("Nobody signed in within %s. Run the command again, and open the page at once.", c.Timeout)
	}
	return err
}

func renewed(t *client.TokenGrant) string {
	switch {
	case t.Renewable:
		return ", which is renewed"
	case t.ExpiresAt != nil:
		return " until " + moment(*t.ExpiresAt) + "; sign in again then"
	}
	return ""
}

// keepTokens hands tokens to Headgate and has it try them.
type keepTokens struct {
	api     *client.Client
	server  *client.ServerRow
	machine bool
	kept    *client.GrantData
	trouble error // of the server, with tokens that it may well accept
}

func (k *keepTokens) use(ctx context.Context, g *oauth.Grant) (*discovery.Challenge, error) {
	who := client.ClientInformation{ClientID: g.Client.ID, ClientSecret: optional(g.Client.Secret.Reveal()), PrivateKey: optional(g.Client.Key.Reveal()), TokenEndpointAuthMethod: optional(g.Client.Method)}
	if k.machine {
		who.GrantType = new("client_credentials")
	}
	body := client.ImportTokensBody{ServerURL: k.server.URL, OauthResourceURL: &g.Resource, Issuer: optional(g.Issuer), ClientInformation: &who,
		Tokens: client.TokenSet{AccessToken: g.Access.Reveal(), RefreshToken: optional(g.Refresh.Reveal()), Scope: optional(g.Scope)}}
	if g.ExpiresIn > 0 {
		body.Tokens.ExpiresIn = new(int64(g.ExpiresIn / time.Second))
	}
	kept, _, err := k.api.ImportServerTokens(ctx, k.server.ID, body)
	if err != nil {
		return nil, err
	}
	k.kept, k.trouble = kept, nil
	_, _, err = k.api.TestServer(ctx, k.server.ID)
	var answered *client.Error
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &answered):
		return nil, err
	case answered.Code == "MCP_SERVICE_OAUTH_REQUIRED":
		ch := &discovery.Challenge{Bearer: true, Error: "invalid_token"}
		if scope, ok := answered.Details["scope"].(string); ok {
			ch.Error, ch.Scope = "insufficient_scope", scope
		}
		return ch, nil
	case answered.Status != 403: // who may call may not always test
		k.trouble = err
	}
	return nil, nil
}

// signIn is what is known of the person's own tokens for a server; "" when
// there are none.
func signIn(ctx context.Context, api *client.Client, s *client.ServerRow) string {
	data, _, err := api.GetServerTokens(ctx, s.ID)
	switch {
	case err != nil:
		return "" // none, or no person
	case data.Tokens.Problem != "":
		return "over: " + data.Tokens.Problem + " (headgate server authorize " + s.Slug + ")"
	case data.Tokens.Issuer != "":
		return "at " + data.Tokens.Issuer
	}
	return "yes"
}

type serverDeauthorizeCmd struct {
	workspaceFlag
	Name string `arg:"" help:"The server."`
}

func (serverDeauthorizeCmd) Help() string {
	return `Headgate forgets your tokens for the server. Those of others stay.

    headgate server deauthorize crm`
}

// Run forgets the person's tokens for a server.
func (c *serverDeauthorizeCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	return api.DeleteServerTokens(ctx, s.ID)
}
