package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
)

const (
	accessLife    = 15 * time.Minute
	maxToken      = 4096 // bytes
	signingRow    = "signing-keys"
	signingPlace  = "installation:signing-keys"
	kindSigning   = "signing-keys"
	rereadSigning = time.Second
)

// claims are what an access token of ours says.
type claims struct {
	Issuer       string      `json:"iss"`
	Audience     string      `json:"aud"`
	Subject      string      `json:"sub"`
	Session      string      `json:"sid"`
	Organization string      `json:"org"`
	Role         access.Role `json:"role"`
	Email        string      `json:"email"`
	IssuedAt     int64       `json:"iat"`
	NotBefore    int64       `json:"nbf,omitempty"`
	Expires      int64       `json:"exp"`
}

// signer signs and verifies access tokens (Ed25519). A token's header is not
// interpreted: it must be, byte for byte, the one we write for one of our live
// keys, which fixes algorithm and type, and leaves nothing to trick.
type signer struct {
	store  *db.Store
	keys   *seal.Keys
	issuer string
	now    func() time.Time

	mu      sync.RWMutex
	current loadedKey
	headers map[string]ed25519.PublicKey
	readAt  time.Time
}

type signingKey struct {
	ID        string    `json:"id"`
	Seed      []byte    `json:"seed"`
	CreatedAt time.Time `json:"createdAt"`
}

func (k *signingKey) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed) }

func (k *signingKey) header() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"EdDSA","kid":%q,"typ":"at+jwt"}`, k.ID))
}

// loadedKey is a signing key, ready to sign.
type loadedKey struct {
	header  string
	private ed25519.PrivateKey
}

func newSigningKey(now time.Time) signingKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails on supported systems
	return signingKey{ID: id.New("sig"), Seed: seed, CreatedAt: now}
}

// start reads the installation's keys, and makes the first.
func (g *signer) start(ctx context.Context) error {
	err := g.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `INSERT INTO installation (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`,
			signingRow, g.seal([]signingKey{newSigningKey(g.now())}), g.now().UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		return activity.Record(ctx, tx, &access.Principal{Kind: access.System}, activity.Event{Tenant: activity.Installation, Action: "signing_key.create", TargetType: "installation", TargetID: signingRow})
	})
	if err != nil {
		return fmt.Errorf("make the signing key: %w", err)
	}
	g.store.OnChange(func(kind, _ string) {
		if kind == kindSigning {
			g.mu.Lock()
			g.readAt = time.Time{}
			g.headers = nil
			g.mu.Unlock()
		}
	})
	return g.read(ctx)
}

func (g *signer) seal(list []signingKey) []byte {
	plain, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings, bytes and times always marshal
	}
	return g.keys.Seal(signingPlace, plain)
}

func (g *signer) stored(ctx context.Context, q db.Querier) ([]signingKey, error) {
	sealed, err := db.Value[[]byte](ctx, q, `SELECT value FROM installation WHERE name = $1`, signingRow)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	plain, err := g.keys.Open(signingPlace, sealed)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	var list []signingKey
	if err := json.Unmarshal(plain, &list); err != nil || len(list) == 0 {
		return nil, errors.New("the stored signing keys cannot be read")
	}
	return list, nil
}

func (g *signer) read(ctx context.Context) error {
	list, err := g.stored(ctx, g.store)
	if err != nil {
		return err
	}
	headers := map[string]ed25519.PublicKey{}
	for _, k := range list {
		headers[k.header()] = k.private().Public().(ed25519.PublicKey)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current, g.headers, g.readAt = loadedKey{list[0].header(), list[0].private()}, headers, g.now()
	return nil
}

// rotate makes a new key that signs from now on. The one before it verifies
// what it has signed; older ones are forgotten.
func (g *signer) rotate(ctx context.Context, by *access.Principal) error {
	if err := access.Require(by, access.Operate); err != nil {
		return err
	}
	err := g.store.Tx(ctx, func(tx *db.Tx) error {
		// The write comes first: it locks the row on both engines.
		if _, err := db.Exec(ctx, tx, `UPDATE installation SET updated_at = $2 WHERE name = $1`, signingRow, g.now().UnixMilli()); err != nil {
			return err
		}
		list, err := g.stored(ctx, tx)
		if err != nil {
			return err
		}
		fresh := newSigningKey(g.now())
		if _, err := db.Exec(ctx, tx, `UPDATE installation SET value = $2 WHERE name = $1`, signingRow, g.seal([]signingKey{fresh, list[0]})); err != nil {
			return err
		}
		tx.Changed(kindSigning, signingRow)
		return activity.Record(ctx, tx, by, activity.Event{Tenant: activity.Installation, Action: "signing_key.rotate", TargetType: "installation", TargetID: signingRow, Details: map[string]any{"key": fresh.ID}})
	})
	if err != nil {
		return fmt.Errorf("rotate the signing key: %w", err)
	}
	return g.read(ctx)
}

// RotateSigningKey makes a new signing key; nobody is signed out by it.
// Operators only.
func (s *Service) RotateSigningKey(ctx context.Context, by *access.Principal) error {
	return s.signer.rotate(ctx, by)
}

func (g *signer) sign(c claims) string {
	c.Issuer, c.Audience = g.issuer, g.issuer
	body, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	g.mu.RLock()
	key := g.current
	g.mu.RUnlock()
	text := key.header + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key.private, []byte(text)))
}

// public returns the key a header names; nil when it is none of ours. A header
// that is not known may be of a key another replica has just made.
func (g *signer) public(ctx context.Context, header string) ed25519.PublicKey {
	g.mu.RLock()
	key, fresh := g.headers[header], g.now().Sub(g.readAt) < rereadSigning
	g.mu.RUnlock()
	if key != nil || fresh || !looksOurs(header) {
		return key
	}
	if g.read(ctx) != nil {
		return nil
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.headers[header]
}

// looksOurs keeps other issuers' tokens and junk from costing a query.
func looksOurs(header string) bool {
	plain, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return false
	}
	kid, begins := strings.CutPrefix(string(plain), `{"alg":"EdDSA","kid":"`)
	kid, ends := strings.CutSuffix(kid, `","typ":"at+jwt"}`)
	_, ok := id.Parse("sig", kid)
	return begins && ends && ok
}

// verify returns the claims of one of our tokens, expired or not; ok is false
// when the token is none of ours.
func (g *signer) verify(ctx context.Context, token string) (c claims, ok bool) {
	header, rest, _ := strings.Cut(token, ".")
	body, signature, two := strings.Cut(rest, ".")
	if !two {
		return c, false
	}
	key := g.public(ctx, header)
	if key == nil {
		return c, false
	}
	b64 := base64.RawURLEncoding.Strict()
	sum, err := b64.DecodeString(signature)
	if err != nil || !ed25519.Verify(key, []byte(token[:len(header)+1+len(body)]), sum) {
		return c, false
	}
	plain, err := b64.DecodeString(body)
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return c, false
	}
	if c.Issuer != g.issuer || c.Audience != g.issuer || c.Session == "" || c.Subject == "" || c.Expires == 0 || c.IssuedAt == 0 {
		return c, false
	}
	soon := g.now().Add(time.Minute).Unix() // replicas' clocks differ a little
	return c, c.IssuedAt <= soon && c.NotBefore <= soon
}
