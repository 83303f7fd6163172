package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// CheckPassword is checkPassword, for its table of passwords.
var CheckPassword = checkPassword

// Cheap makes hashing cost little, for tests that are not about its cost.
func Cheap(s *Service) {
	s.hasher = newHasher(cap(s.hasher.slots), argon{memory: 64, time: 1, lanes: 1})
}

// Dear undoes Cheap.
func Dear(s *Service) { s.hasher = newHasher(cap(s.hasher.slots), today()) }

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
