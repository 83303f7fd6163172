package oauth

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/upstream/discovery"
)

const (
	askTime    = 10 * time.Second
	maxAnswer  = 64 << 10
	maxSignIns = 3 // of one SignIn
)

// Browser shows a person an authorization page and returns the parameters that
// the redirect brought.
type Browser func(ctx context.Context, page string) (url.Values, error)

// Options are what a Client is made of.
type Options struct {
	Guard    *netguard.Guard
	Name     string        // what authorization servers call the client
	Redirect string        // where Browser hears the answer
	Browser  Browser       // nil: there is nobody; only a Machine can sign in
	Given    *Registration // made by hand; nil: Document is used, or the client registers itself
	Document string        // the https URL of the client's metadata document
	Machine  bool          // sign in as Given itself (client credentials), not as a person
	Vouched  Assertion     // sign in with this instead of a person
	Now      func() time.Time
}

// Client signs in at MCP servers. It is safe for concurrent use.
type Client struct {
	Options

	mu    sync.Mutex
	known map[string]*Registration // by issuer
}

// New returns a client.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{Options: o, known: map[string]*Registration{}}
}

// Grant is what a sign-in came to.
type Grant struct {
	Resource string // what the tokens are for
	Issuer   string // "" for a server of 2025-03-26 without metadata
	Client   Registration
	Tokens
}

// Tokens are a token endpoint's answer.
type Tokens struct {
	Access    seal.Value
	Refresh   seal.Value // empty: there is none
	ExpiresIn time.Duration
	Scope     string
}

// Use tries a grant at the MCP server. The challenge it returns is the server's
// answer to the token; nil when it was content.
type Use func(context.Context, *Grant) (*discovery.Challenge, error)

// SignIn signs in at an MCP server until use is content, at most three times.
// scopes are what to ask for beside what the server wants. Its errors are the
// faults of this package and those of use.
func (c *Client) SignIn(ctx context.Context, server string, scopes []string, use Use) (*Grant, error) {
	ch, err := c.Challenge(ctx, server)
	if err != nil {
		return nil, err
	}
	var last *Grant
	for range maxSignIns {
		r, err := c.Find(ctx, server, ch)
		if err != nil {
			return nil, err
		}
		if last != nil && !stepUp(&ch) && r.Issuer.Issuer == last.Issuer {
			return nil, ErrNotAccepted // by the same two as a moment ago
		}
		asked := c.scopes(r, ch, scopes)
		if last != nil && stepUp(&ch) && !more(asked, scopes) {
			return nil, ErrTooFew
		}
		g, err := c.grant(ctx, r, asked)
		if err != nil {
			return nil, err
		}
		again, err := use(ctx, g)
		if err != nil || again == nil {
			return g, err
		}
		last, ch, scopes = g, *again, merge(asked, words(g.Scope))
	}
	if stepUp(&ch) {
		return nil, ErrTooFew
	}
	return nil, ErrNotAccepted
}

func stepUp(ch *discovery.Challenge) bool { return ch.Error == "insufficient_scope" }

// grant asks for tokens in the client's way.
func (c *Client) grant(ctx context.Context, r *Resource, scopes []string) (*Grant, error) {
	switch {
	case c.Machine:
		return c.credentials(ctx, r, scopes)
	case c.Vouched != nil:
		return c.vouched(ctx, r, scopes)
	}
	return c.code(ctx, r, scopes)
}

// http returns a client for a few requests.
func (c *Client) http() *http.Client { return c.Guard.HTTPClient(askTime, maxAnswer) }
