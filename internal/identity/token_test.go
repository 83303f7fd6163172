package identity_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/testkit"
)

var b64 = base64.RawURLEncoding

func TestAccessToken(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	tokens, p := w.person("ada@example.com")
	t.Run("says what its contract names, for 15 minutes", func(t *testing.T) {
		parts := strings.Split(tokens.Access, ".")
		var header, claims map[string]any
		testkit.Must0(t, json.Unmarshal(testkit.Must(b64.DecodeString(parts[0]))(t), &header))
		testkit.Must0(t, json.Unmarshal(testkit.Must(b64.DecodeString(parts[1]))(t), &claims))
		delete(header, "kid")
		testkit.Equal(t, header, map[string]any{"alg": "EdDSA", "typ": "at+jwt"})
		now := float64(w.clock().Unix())
		testkit.Equal(t, claims, map[string]any{"iss": base, "aud": base, "sub": p.User, "sid": tokens.Session, "org": p.Organization, "role": "owner", "email": "ada@example.com", "iat": now, "exp": now + 900})
	})
	t.Run("is answered from memory after the first use", func(t *testing.T) {
		w.who(tokens.Access)
		before := w.store.Queries()
		for range 100 {
			w.who(tokens.Access)
		}
		testkit.Equal(t, w.store.Queries()-before, int64(0))
	})
	t.Run("expires to the second", func(t *testing.T) {
		w.pass(15*time.Minute - time.Millisecond)
		w.who(tokens.Access)
		w.pass(time.Millisecond)
		w.refused(tokens.Access, "identity.token_expired")
	})
	t.Run("survives a restart", func(t *testing.T) {
		fresh := w.login("ada@example.com")
		testkit.Must(w.service().Authenticate(t.Context(), fresh.Access))(t)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Run("of verified tokens", func(t *testing.T) {
		if n := identity.CachedTokens(60_000, func(int) time.Duration { return time.Minute }); n > 50_000 {
			t.Errorf("%d are kept", n)
		}
		if n := identity.CachedTokens(60_000, func(i int) time.Duration { return -time.Duration(i % 2) }); n > 50_000 {
			t.Errorf("%d are kept", n)
		}
	})
	t.Run("of sessions, and a forgotten one's streams end rather than go on unwatched", func(t *testing.T) {
		kept, told := identity.KnownGrants(t.Context(), 50_100)
		testkit.Equal(t, []int{kept, told}, []int{50_000, 100})
	})
}

func TestSigningKeys(t *testing.T) {
	each(t, func(w *world) {
		other := w.service()
		first := w.login(w.register("ada@example.com").Email)
		w.Run("only operators rotate", func(t *testing.T) {
			testkit.Fault(t, fault.Of(w.svc.RotateSigningKey(t.Context(), w.who(first.Access))), "access.denied")
		})
		w.Run("a rotation signs nobody out, on no replica", func(t *testing.T) {
			testkit.Must0(t, w.svc.RotateSigningKey(t.Context(), operator))
			second := w.login("ada@example.com")
			w.pass(time.Second)
			for _, svc := range []*identity.Service{w.svc, other, w.service()} {
				testkit.Must(svc.Authenticate(t.Context(), first.Access))(t)
				testkit.Must(svc.Authenticate(t.Context(), second.Access))(t)
			}
		})
		w.Run("the key before the last is forgotten", func(t *testing.T) {
			testkit.Must0(t, w.svc.RotateSigningKey(t.Context(), operator))
			_, err := w.service().Authenticate(t.Context(), first.Access)
			testkit.Fault(t, err, "identity.token_invalid")
		})
		w.Run("keys are sealed in the store", func(t *testing.T) {
			stored := testkit.Must(db.Value[[]byte](t.Context(), w.store, `SELECT value FROM installation WHERE name = 'signing-keys'`))(t)
			if strings.Contains(string(stored), "seed") {
				t.Error("readable")
			}
		})
	})
}

// K08. Every forgery is refused alike, without a query, and fast.
func TestForgedTokens(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	tokens, _ := w.person("ada@example.com")
	good := strings.Split(tokens.Access, ".")
	public := identity.PublicKey(w.svc)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must0(t, err)
	kid := strings.Split(string(testkit.Must(b64.DecodeString(good[0]))(t)), `"`)[7]

	under := func(header string, sign func(text string) []byte) string {
		text := b64.EncodeToString([]byte(header)) + "." + good[1]
		return text + "." + b64.EncodeToString(sign(text))
	}
	byStranger := func(text string) []byte { return ed25519.Sign(stranger, []byte(text)) }
	byPublic := func(text string) []byte {
		m := hmac.New(sha256.New, public)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	unsigned := func(string) []byte { return nil }
	strangerKey := `{"kty":"OKP","crv":"Ed25519","x":"` + b64.EncodeToString(stranger.Public().(ed25519.PublicKey)) + `"}`
	ours := func(header string, change func(map[string]any)) string {
		return identity.Resign(w.svc, tokens.Access, header, change)
	}
	same := func(map[string]any) {}
	now := float64(w.clock().Unix())

	for name, token := range map[string]string{
		"none":                       under(`{"alg":"none","kid":"`+kid+`","typ":"at+jwt"}`, unsigned),
		"NONE":                       under(`{"alg":"NONE","kid":"`+kid+`","typ":"at+jwt"}`, unsigned),
		"our header, no signature":   good[0] + "." + good[1] + ".",
		"HMAC with the public key":   under(`{"alg":"HS256","kid":"`+kid+`","typ":"at+jwt"}`, byPublic),
		"a stranger's key":           under(`{"alg":"EdDSA","kid":"`+kid+`","typ":"at+jwt"}`, byStranger),
		"an unknown kid":             under(`{"alg":"EdDSA","kid":"sig_01jc0000000000000000000000","typ":"at+jwt"}`, byStranger),
		"kid is a path":              under(`{"alg":"EdDSA","kid":"../../dev/null","typ":"at+jwt"}`, byStranger),
		"kid is SQL":                 under(`{"alg":"EdDSA","kid":"x' UNION SELECT 'k","typ":"at+jwt"}`, byStranger),
		"kid is a URL":               under(`{"alg":"EdDSA","kid":"https://evil.example/k","typ":"at+jwt"}`, byStranger),
		"jku":                        under(`{"alg":"EdDSA","jku":"https://evil.example/k","kid":"`+kid+`","typ":"at+jwt"}`, byStranger),
		"jwk":                        under(`{"alg":"EdDSA","jwk":`+strangerKey+`,"kid":"`+kid+`","typ":"at+jwt"}`, byStranger),
		"x5u":                        under(`{"alg":"EdDSA","kid":"`+kid+`","typ":"at+jwt","x5u":"https://evil.example/k"}`, byStranger),
		"crit, signed by us":         ours(`{"alg":"EdDSA","crit":["b64"],"b64":false,"kid":"`+kid+`","typ":"at+jwt"}`, same),
		"wrong typ, signed by us":    ours(`{"alg":"EdDSA","kid":"`+kid+`","typ":"JWT"}`, same),
		"no typ, signed by us":       ours(`{"alg":"EdDSA","kid":"`+kid+`"}`, same),
		"another issuer":             ours("", func(m map[string]any) { m["iss"] = "https://evil.example" }),
		"another audience":           ours("", func(m map[string]any) { m["aud"] = "https://evil.example" }),
		"no audience":                ours("", func(m map[string]any) { delete(m, "aud") }),
		"no exp":                     ours("", func(m map[string]any) { delete(m, "exp") }),
		"exp is text":                ours("", func(m map[string]any) { m["exp"] = "tomorrow" }),
		"nbf in the future":          ours("", func(m map[string]any) { m["nbf"] = now + 3600 }),
		"iat in the future":          ours("", func(m map[string]any) { m["iat"] = now + 3600 }),
		"no session":                 ours("", func(m map[string]any) { delete(m, "sid") }),
		"another's session":          ours("", func(m map[string]any) { m["sub"] = "user_other" }),
		"a changed claim":            good[0] + "." + b64.EncodeToString([]byte(`{"role":"owner"}`)) + "." + good[2],
		"a refresh token":            tokens.Refresh,
		"a signature with more bits": tokens.Access[:len(tokens.Access)-1] + string(tokens.Access[len(tokens.Access)-1]+1),
		"a line break":               tokens.Access + "\n",
		"four parts":                 tokens.Access + ".x",
		"two parts":                  good[0] + "." + good[1],
		"nothing":                    "",
		"100,000 dots":               strings.Repeat(".", 100_000),
		"4 KiB of dots":              strings.Repeat(".", 4096),
		"over 4 KiB":                 tokens.Access + strings.Repeat("A", 4096),
	} {
		t.Run(name, func(t *testing.T) {
			before, start := w.store.Queries(), time.Now()
			_, err := w.svc.Authenticate(t.Context(), token)
			testkit.Fault(t, err, "identity.token_invalid")
			if n := w.store.Queries() - before; n > 1 {
				t.Errorf("cost %d queries", n)
			}
			if d := time.Since(start); d > 100*time.Millisecond {
				t.Errorf("took %v", d)
			}
		})
	}
	w.who(tokens.Access)
}
