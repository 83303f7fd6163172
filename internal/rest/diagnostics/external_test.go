package diagnostics_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"headgate/internal/identity"
	"headgate/internal/netguard"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// Sessions of an external issuer open this door when everything about them is
// right, and get 401 before anything else when one thing is not.
func TestExternalSessions(t *testing.T) {
	mine, forged := testkit.Must(rsa.GenerateKey(rand.Reader, 2048))(t), testkit.Must(rsa.GenerateKey(rand.Reader, 2048))(t)
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: mine.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
	}))
	t.Cleanup(jwks.Close)
	const issuer, audience = "https://issuer.example", "headgate"
	h := newHouseIn(t, testkit.SQLite(t), world.Options{HTTP: netguard.New(netguard.Policy{Loopback: true}).HTTPClient(5*time.Second, 1<<20),
		Issuers: []identity.Issuer{{URL: issuer, Audience: audience, Algorithm: "RS256", JWKS: jwks.URL, Provision: true}}})
	sign := func(key any, alg jose.SignatureAlgorithm, claims map[string]any) string {
		t.Helper()
		s := testkit.Must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k1")))(t)
		return testkit.Must(jwt.Signed(s).Claims(claims).Serialize())(t)
	}
	claims := func(change func(map[string]any)) map[string]any {
		m := map[string]any{"iss": issuer, "aud": audience, "sub": "ext-1", "email": "ann@issuer.example", "email_verified": true,
			"iat": h.now.Unix(), "exp": h.now.Add(10 * time.Minute).Unix()}
		if change != nil {
			change(m)
		}
		return m
	}
	me := "/api/v1/me"
	h.as(sign(mine, jose.RS256, claims(nil)), "GET", me, nil).want(200)
	unsigned := "eyJhbGciOiJub25lIn0." + strings.Split(sign(mine, jose.RS256, claims(nil)), ".")[1] + "."
	for name, token := range map[string]string{
		"forged":               sign(forged, jose.RS256, claims(nil)),
		"unsigned":             unsigned,
		"of another issuer":    sign(mine, jose.RS256, claims(func(m map[string]any) { m["iss"] = "https://evil.example" })),
		"for somebody else":    sign(mine, jose.RS256, claims(func(m map[string]any) { m["aud"] = "other" })),
		"of another time":      sign(mine, jose.RS256, claims(func(m map[string]any) { m["exp"] = h.now.Add(-10 * time.Minute).Unix() })),
		"without an end":       sign(mine, jose.RS256, claims(func(m map[string]any) { delete(m, "exp") })),
		"not valid yet":        sign(mine, jose.RS256, claims(func(m map[string]any) { m["nbf"] = h.now.Add(time.Hour).Unix() })),
		"signed another way":   sign(mine, jose.RS512, claims(nil)),
		"signed with a secret": sign([]byte(strings.Repeat("s", 32)), jose.HS256, claims(nil)),
		"malformed":            "a.b",
		"endless":              strings.Repeat("a", 4000),
	} {
		t.Run("a token "+name+" is 401", func(t *testing.T) {
			before := h.Store.Queries()
			h.as(token, "POST", h.on(h.demo, "/doctor"), "[nonsense").refused(401, "UNAUTHORIZED")
			testkit.Equal(t, h.Store.Queries(), before)
		})
	}
}
