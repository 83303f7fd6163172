package grants

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/upstream/discovery"
	"headgate/internal/upstream/oauth"
)

const (
	changed    = "grant" // the kind of changes this package announces
	askTime    = 10 * time.Second
	leaseTime  = 30 * time.Second // longer than a renewal may take
	early      = time.Minute      // before the end a token is renewed
	maxToken   = 8 << 10
	maxEntries = 100_000
)

// Options are what a Service needs.
type Options struct {
	Store *db.Store
	Keys  *seal.Keys
	Guard *netguard.Guard
	Ask   Ask // nil: everybody may bring tokens
	Now   func() time.Time
	Log   *slog.Logger
}

// Ask is asked whether somebody may bring, replace or forget tokens now.
type Ask func(ctx context.Context, q db.Querier, by *access.Principal) error

// Service keeps grants.
type Service struct {
	Options
	known   sync.Map // key to *entry
	entries atomic.Int64
	epoch   atomic.Uint64 // counts changes
	client  *oauth.Client
	loads   singleflight.Group
	renews  singleflight.Group
}

// entry is what is known of a key; grant is nil when there is none.
type entry struct {
	*grant
	bound atomic.Pointer[boundTo]
}

// New returns the service. From then on it hears of the store's changes.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ask == nil {
		o.Ask = func(context.Context, db.Querier, *access.Principal) error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{Options: o, client: oauth.New(oauth.Options{Guard: o.Guard, Now: o.Now})}
	o.Store.OnChange(func(kind, ref string) {
		if kind != changed {
			return
		}
		s.epoch.Add(1)
		if part := strings.Split(ref, ":"); len(part) == 4 {
			s.forget(key{part[1], part[2], part[3]})
		}
	})
	return s
}

func (s *Service) forget(k key) {
	if _, ok := s.known.LoadAndDelete(k); ok {
		s.entries.Add(-1)
	}
}

// Tokens is what somebody brings.
type Tokens struct {
	ServerURL    string
	Resource     string // "" is the server's URL
	Issuer       string // who issued them; "": found out
	ClientID     string
	ClientSecret string
	ClientKey    string // a private key in PEM form, instead of a secret
	ClientMethod string // token_endpoint_auth_method; "": what the issuer supports
	Machine      bool   // the client signs in for itself (client credentials)
	Access       string
	Refresh      string
	ExpiresIn    time.Duration // 0: nobody said
	Type         string        // "" or Bearer
	Scope        string
}

// Grant is what may be shown of a grant.
type Grant struct {
	Server    string
	Issuer    string
	Scope     string
	Renewable bool
	ExpiresAt time.Time // of the access token
	Problem   string    // why it is not used any more
	CreatedAt time.Time
	UpdatedAt time.Time
}

func (g *grant) shown() *Grant {
	return &Grant{Server: g.server, Issuer: g.issuer, Scope: g.scope, Renewable: g.renewable(), ExpiresAt: g.expiresAt,
		Problem: g.problem, CreatedAt: g.createdAt, UpdatedAt: g.updatedAt}
}

// Import keeps the tokens a person brings for a server, over older ones. The
// authorization server is looked up now, so that a server that changes its
// metadata later cannot send the refresh token elsewhere; when it cannot be
// found, that happens at the first renewal.
func (s *Service) Import(ctx context.Context, by *access.Principal, server *catalog.Server, t Tokens) (*Grant, error) {
	if by.User == "" || server.ID == "" {
		return nil, ErrNoPerson
	}
	if err := s.check(server, &t); err != nil {
		return nil, err
	}
	if err := s.Ask(ctx, s.Store, by); err != nil { // before anybody is asked for metadata
		return nil, err
	}
	g := &grant{key: key{by.Organization, by.User, server.ID}, serverURL: server.URL, resource: t.Resource, clientID: t.ClientID, scope: t.Scope,
		issuer: t.Issuer, expiresAt: s.end(t.ExpiresIn), secrets: secrets{Access: t.Access, Refresh: t.Refresh, Client: t.ClientSecret, Key: t.ClientKey, Method: t.ClientMethod, Machine: t.Machine}}
	if g.renewable() {
		s.find(ctx, g)
	}
	err := s.Store.Tx(ctx, func(tx *db.Tx) error {
		if err := s.put(ctx, tx, g); err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Workspace: server.Workspace, Action: "grant.import", TargetType: "server", TargetID: server.ID,
			Details: map[string]any{"issuer": g.issuer, "renewable": g.renewable(), "scope": t.Scope}})
	})
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, by, server)
}

func (s *Service) check(server *catalog.Server, t *Tokens) error {
	u, err := s.Guard.CheckURL(t.ServerURL)
	if err != nil {
		return err
	}
	if u.String() != server.URL {
		return ErrURL
	}
	if t.Resource == "" {
		t.Resource = server.URL
	} else if _, covers := discovery.Covers(t.Resource, server.URL); !covers {
		return ErrURL.Saying("The tokens' resource is not the server's URL, nor a parent of it.")
	}
	switch {
	case t.Type != "" && !strings.EqualFold(t.Type, "Bearer"):
		return ErrTokens.Saying("Only tokens of type Bearer can be sent along.")
	case t.Refresh != "" && t.ClientID == "":
		return ErrTokens.Saying("A refresh token is used with the client id it was issued to. Send clientInformation.clientId.")
	case t.Machine && (t.ClientID == "" || t.ClientSecret == "" && t.ClientKey == "" || t.Refresh != ""):
		return ErrTokens.Saying("A client that signs in for itself has a client id, a secret or a private key, and no refresh token.")
	case !oauth.MethodOK(t.ClientMethod):
		return ErrTokens.Saying("This token_endpoint_auth_method is not supported. Use none, client_secret_basic, client_secret_post or private_key_jwt.")
	case t.ClientKey != "" && !oauth.KeyOK(seal.NewValue(t.ClientKey)):
		return oauth.ErrKey
	case t.Access == "" || netguard.CheckHeader("Authorization", "Bearer "+t.Access) != nil:
		return ErrTokens.Saying("The access token is empty or holds characters that a header cannot carry.")
	}
	for _, text := range []string{t.Access, t.Refresh, t.ClientID, t.ClientSecret, t.ClientKey, t.Issuer, t.Scope} {
		if len(text) > maxToken {
			return ErrTokens.Saying("A token is at most %d characters long.", maxToken)
		}
	}
	return nil
}

// Get shows what a person has brought for a server, or ErrNone.
func (s *Service) Get(ctx context.Context, by *access.Principal, server *catalog.Server) (*Grant, error) {
	if by.User == "" {
		return nil, ErrNoPerson
	}
	g, err := s.read(ctx, s.Store, key{by.Organization, by.User, server.ID})
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, ErrNone
	}
	return g.shown(), nil
}

// Remove forgets what a person has brought for a server.
func (s *Service) Remove(ctx context.Context, by *access.Principal, server *catalog.Server) error {
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		n, err := remove(ctx, tx, key{by.Organization, by.User, server.ID})
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNone
		}
		if err := s.Ask(ctx, tx, by); err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Workspace: server.Workspace, Action: "grant.remove", TargetType: "server", TargetID: server.ID})
	})
}

// Granted reports whether the person's calls to a server carry a token they
// have brought.
func (s *Service) Granted(ctx context.Context, by *access.Principal, server *catalog.Server) bool {
	e, err := s.current(ctx, key{by.Organization, by.User, server.ID})
	return err == nil && e.usable(server)
}

func (e *entry) usable(server *catalog.Server) bool {
	return e.grant != nil && e.problem == "" && e.serverURL == server.URL
}

// current returns what is known of a key, from memory where it is known.
func (s *Service) current(ctx context.Context, k key) (*entry, error) {
	if v, ok := s.known.Load(k); ok {
		return v.(*entry), nil
	}
	v, err, _ := s.loads.Do(k.place(), func() (any, error) {
		for try := 0; ; try++ {
			epoch := s.epoch.Load()
			g, err := s.read(context.WithoutCancel(ctx), s.Store, k)
			if err != nil {
				return nil, err
			}
			e := &entry{grant: g}
			s.keep(k, e)
			// A change that came meanwhile may have been announced before the entry was there.
			if epoch == s.epoch.Load() || try == 3 {
				return e, nil
			}
			s.forget(k)
		}
	})
	if err != nil {
		return nil, err
	}
	return v.(*entry), nil
}

func (s *Service) keep(k key, e *entry) {
	if s.entries.Add(1) > maxEntries {
		s.known.Clear()
		s.entries.Store(1)
	}
	if _, was := s.known.Swap(k, e); was {
		s.entries.Add(-1)
	}
}

var errNoEndpoint = errors.New("the authorization server is not known")

// find looks the authorization server up: the one that the tokens are said to
// be from, else the one that the server names.
func (s *Service) find(ctx context.Context, g *grant) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var issuer *discovery.Issuer
	if g.issuer != "" {
		issuer, _ = s.client.FindIssuer(ctx, g.issuer)
	} else if r, err := s.client.Find(ctx, g.serverURL, discovery.Challenge{Bearer: true}); err == nil {
		issuer = &r.Issuer
	}
	if issuer == nil || issuer.Token == "" {
		return // tried again at the first renewal
	}
	g.issuer, g.endpoint = issuer.Issuer, issuer.Token
	g.secrets.Method = oauth.Registration{Secret: seal.NewValue(g.secrets.Client), Key: seal.NewValue(g.secrets.Key), Method: g.secrets.Method}.At(issuer).Method
}
