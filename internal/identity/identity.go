package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
)

// PlatformPool is the pool of people who may belong to several organizations.
// Every other pool is a tenant's id: its end users.
const PlatformPool = "platform"

// The kinds of changes this package announces (db.Tx.Changed), with the id of
// the session or user.
const (
	KindSession  = "session"
	KindUser     = "user"
	KindPassword = "password" // a user's password was set by its owner
)

// SignUp says who may register in the platform pool. Tenants' pools are open
// to whoever holds the tenant's key.
type SignUp string

// The sign-up policies; Closed is the zero value's.
const (
	Closed SignUp = "closed"
	Invite SignUp = "invite"
	Open   SignUp = "open"
)

// Options tune a Service. BaseURL must be set; the rest has defaults.
type Options struct {
	Now     func() time.Time
	Log     *slog.Logger
	SignUp  SignUp
	BaseURL string // public URL of this installation: in links, and the tokens' issuer and audience
	// Outgoing takes a message once its transaction has committed. It must be
	// quick: sign-in answers must not tell by their time whether mail was sent.
	Outgoing func(ctx context.Context, m Message)
	// Complete fills in what other domains know of a principal, such as its
	// default workspace. It runs when a session is first seen, not per request.
	Complete func(ctx context.Context, p *access.Principal) error
	Issuers  []Issuer
	HTTP     *http.Client  // fetches issuers' keys
	Hashing  int           // passwords hashed at once, 19 MiB each
	Access   time.Duration // how long a session's token lasts; 0 means 15 minutes
}

// Client is where a session is started from.
type Client struct {
	IP        netip.Addr
	UserAgent string
}

// Service is the domain of people. Its methods open their own transactions.
type Service struct {
	store   *db.Store
	keys    *seal.Keys
	tenancy *tenancy.Service
	o       Options
	now     func() time.Time
	hasher  *hasher
	signer  *signer
	grants  *grants
	issuers map[string]*issuer
	tokens  *tokenCache
}

// New returns the service. It reads the signing keys, and makes them at first
// start.
func New(ctx context.Context, store *db.Store, keys *seal.Keys, t *tenancy.Service, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SignUp == "" {
		o.SignUp = Closed
	}
	if o.Outgoing == nil {
		o.Outgoing = func(context.Context, Message) {}
	}
	if o.Access <= 0 {
		o.Access = accessLife
	}
	if o.Hashing <= 0 {
		o.Hashing = min(max(2, runtime.GOMAXPROCS(0)/2), 3)
	}
	s := &Service{store: store, keys: keys, tenancy: t, o: o, hasher: newHasher(o.Hashing, today()), tokens: newTokenCache()}
	s.now = func() time.Time { return o.Now().UTC().Truncate(time.Millisecond) }
	s.signer = &signer{store: store, keys: keys, issuer: o.BaseURL, now: s.now}
	if err := s.signer.start(ctx); err != nil {
		return nil, err
	}
	var err error
	if s.issuers, err = newIssuers(o.Issuers, o.HTTP, s.now); err != nil {
		return nil, err
	}
	s.grants = newGrants(s.now, s.loadGrant)
	store.OnChange(s.grants.changed)
	t.OnLeave(s.leave)
	return s, nil
}

// newSecret returns 256 random bits as text that survives URLs.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails on supported systems
	return base64.RawURLEncoding.EncodeToString(b)
}

// secretLength is the length of newSecret's text: anything else is refused
// without a look-up.
const secretLength = 43

// hash returns what the store keeps of a secret. The purpose is part of it, so
// that a link of one kind is none of another.
func (s *Service) hash(purpose, secret string) []byte {
	h, _ := s.keys.Hash(purpose + ":" + secret)
	return h[:]
}

// hashes returns a secret's hash under every pepper.
func (s *Service) hashes(purpose, secret string) [][]byte {
	var list [][]byte
	for _, h := range s.keys.Hashes(purpose + ":" + secret) {
		list = append(list, h[:])
	}
	return list
}

// person returns nil when by is somebody with a session of ours.
func person(by *access.Principal) error {
	if by == nil || by.User == "" || by.ID == "" || by.Kind != access.Session && by.Kind != access.EndUser {
		return ErrNeedSession
	}
	return nil
}
