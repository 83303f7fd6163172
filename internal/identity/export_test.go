package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
)

// CheckPassword is checkPassword, for its table of passwords.
var CheckPassword = checkPassword

// Cheap makes hashing cost little, for tests that are not about its cost.
func Cheap(s *Service) {
	s.hasher = newHasher(cap(s.hasher.slots), argon{memory: 64, time: 1, lanes: 1})
}

// Dear undoes Cheap.
func Dear(s *Service) { s.hasher = newHasher(cap(s.hasher.slots), today()) }

// CachedTokens puts n tokens that expire after the given times into a cache of
// verified ones and returns how many it holds then.
func CachedTokens(n int, life func(i int) time.Duration) int {
	c, now := newTokenCache(), time.Now()
	for i := range n {
		until := now.Add(life(i))
		c.put(sha256.Sum256(fmt.Append(nil, i)), verified{expires: until, keep: until}, now)
	}
	return len(c.good)
}

// KnownGrants makes n sessions known and returns how many are kept, and how
// many of the others' streams have been told.
func KnownGrants(ctx context.Context, n int) (kept, told int) {
	var all []*grant
	g := newGrants(time.Now, func(context.Context, string) (*grant, error) {
		all = append(all, &grant{done: access.NewDone()})
		return all[len(all)-1], nil
	})
	for i := range n {
		_, _ = g.get(ctx, fmt.Sprint(i))
	}
	for _, x := range all {
		if !x.principal.Live(time.Now()) {
			told++
		}
	}
	return len(g.known), told
}

// PublicKey returns the key that verifies today's tokens.
func PublicKey(s *Service) []byte { return s.signer.headers[s.signer.current.header] }

// Resign changes a token's claims and signs it again with our key, under the
// given header ("" keeps ours).
func Resign(s *Service, token, header string, change func(map[string]any)) string {
	parts := strings.Split(token, ".")
	if header != "" {
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(header))
	}
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	m := map[string]any{}
	_ = json.Unmarshal(body, &m)
	change(m)
	body, _ = json.Marshal(m)
	text := parts[0] + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.signer.current.private, []byte(text)))
}
