package identity

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/fault"
)

// Authenticate returns who an access token stands for: one of ours, or of a
// configured issuer. It fails with ErrTokenExpired, ErrTokenInvalid or
// ErrNoEmail; with tenancy.ErrSuspended when the organization is suspended, and
// with ErrUnavailable when the store does not answer.
// The first use of a token costs a signature check, the first of a session a
// query; then it answers from memory.
func (s *Service) Authenticate(ctx context.Context, token string) (*access.Principal, error) {
	// Go's base64 decoder skips line breaks: two texts would be one token.
	if len(token) > maxToken || token == "" || strings.ContainsAny(token, "\r\n") {
		return nil, ErrTokenInvalid
	}
	digest := sha256.Sum256([]byte(token))
	now := s.now()
	v, ok := s.tokens.get(digest, now)
	if !ok {
		c, ours := s.signer.verify(ctx, token)
		if !ours {
			var err error
			if v, err = s.verifyExternal(ctx, token); err != nil {
				return nil, closed(err)
			}
		} else {
			v = verified{ref: c.Session, user: c.Subject, organization: c.Organization, expires: time.Unix(c.Expires, 0), keep: time.Unix(c.Expires, 0)}
		}
		if now.Before(v.expires) {
			s.tokens.put(digest, v, now)
		}
	}
	if !now.Before(v.expires) {
		return nil, ErrTokenExpired
	}
	g, err := s.grants.get(ctx, v.ref)
	if err != nil {
		return nil, closed(err)
	}
	switch {
	case !g.expires.IsZero() && !now.Before(g.expires): // an external identity lives as long as its token
		return nil, errEnded
	case v.user != "" && v.user != g.principal.User:
		return nil, ErrTokenInvalid
	case v.organization != "" && v.organization != g.principal.Organization:
		return nil, ErrTokenExpired.Saying("The session has switched to another organization. Refresh the token.")
	}
	if !s.store.Current() {
		return nil, db.ErrAlone // it may have ended elsewhere
	}
	p := g.principal
	p.ExpiresAt = v.expires
	return &p, nil
}

// closed turns a failure of the store into a refusal: what cannot be checked
// is not let in, and is not the token's fault.
func closed(err error) error {
	if fault.Of(err).Kind == fault.Internal {
		return ErrUnavailable.After(time.Second).Because(err)
	}
	return err
}

const maxTokens = 50_000

// verified is what a token whose signature was checked says.
type verified struct {
	ref                string // of the grant: a session, or an external identity
	user, organization string // "" when the token does not say
	expires            time.Time
	keep               time.Time // how long the check counts
}

// tokenCache remembers the tokens whose signature was good, by their hash.
type tokenCache struct {
	mu   sync.RWMutex
	good map[[sha256.Size]byte]verified
}

func newTokenCache() *tokenCache { return &tokenCache{good: map[[sha256.Size]byte]verified{}} }

func (c *tokenCache) get(digest [sha256.Size]byte, now time.Time) (verified, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.good[digest]
	return v, ok && now.Before(v.keep)
}

// put remembers a token. A full cache drops what has expired, or else
// whichever the map's random order meets first.
func (c *tokenCache) put(digest [sha256.Size]byte, v verified, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.good) >= maxTokens {
		scanned := 0
		for d, old := range c.good {
			if scanned++; scanned > 64 {
				break
			}
			if !now.Before(old.keep) || scanned == 64 {
				delete(c.good, d)
			}
		}
	}
	c.good[digest] = v
}
