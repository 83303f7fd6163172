package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

const (
	issuerURL = "https://login.example"
	legacyURL = "main-backend"
	secret    = "a shared secret of more than 32 bytes"
)

// provider is an issuer with a real key set on loopback.
type provider struct {
	private map[string]*ecdsa.PrivateKey
	server  *httptest.Server
	fetches atomic.Int32
	down    atomic.Bool
}

func newProvider(t testing.TB) *provider {
	p := &provider{private: map[string]*ecdsa.PrivateKey{}}
	p.add("k1")
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		if p.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		set := jose.JSONWebKeySet{}
		for kid, k := range p.private {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": append([]any{map[string]string{"kty": "new kind", "kid": "odd"}}, list(set.Keys)...)})
	}))
	t.Cleanup(p.server.Close)
	return p
}

func list(keys []jose.JSONWebKey) (all []any) {
	for _, k := range keys {
		all = append(all, k)
	}
	return all
}

func (p *provider) add(kid string) {
	p.private[kid], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, headers map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	signer := testkit.Must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: headers}))(t)
	return testkit.Must(jwt.Signed(signer).Claims(claims).Serialize())(t)
}

// external is a world that believes the provider, and a legacy back end that
// signs with a shared secret.
type external struct {
	*world
	*provider
}

func eachExternal(t *testing.T, test func(x *external)) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		p := newProvider(t)
		w := newWorld(t, s, func(o *identity.Options) {
			o.HTTP = p.server.Client()
			o.Issuers = []identity.Issuer{
				{URL: issuerURL, Audience: "headgate", Algorithm: "ES256", JWKS: p.server.URL, Provision: true},
				{URL: legacyURL, Audience: "mcp", Algorithm: "HS256", Secret: seal.NewValue(secret), TrustEmail: true},
			}
		})
		test(&external{w, p})
	})
}

func (x *external) claims(change map[string]any) map[string]any {
	now := x.clock().Unix()
	c := map[string]any{"iss": issuerURL, "aud": "headgate", "sub": "s1", "email": "ada@example.com", "email_verified": true, "iat": now, "exp": now + 600}
	maps.Copy(c, change)
	for k, v := range c {
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func (x *external) token(change map[string]any) string {
	x.Helper()
	return sign(x, jose.ES256, x.private["k1"], map[jose.HeaderKey]any{"kid": "k1"}, x.claims(change))
}

func TestExternalTokens(t *testing.T) {
	eachExternal(t, func(x *external) {
		x.Run("a person nobody has met gets a user and a tenant of their own", func(t *testing.T) {
			p := x.who(x.token(map[string]any{"sub": "new", "email": "New@Example.com", "given_name": "Nova"}))
			testkit.Equal(t, []any{p.Kind, p.Role, p.Name}, []any{access.Session, access.Owner, "new@example.com"})
			u := testkit.Must(x.svc.User(t.Context(), p.User))(t)
			testkit.Equal(t, []any{u.FirstName, u.EmailVerifiedAt}, []any{"Nova", x.clock()})
		})
		x.Run("the next token of the same subject is the same user, whatever its address", func(t *testing.T) {
			again := x.who(x.token(map[string]any{"sub": "new", "email": "changed@example.com"}))
			testkit.Equal(t, again.Name, "new@example.com")
		})
		x.Run("is answered from memory after the first use", func(t *testing.T) {
			token := x.token(map[string]any{"sub": "new"})
			x.who(token)
			before := x.store.Queries()
			x.who(token)
			testkit.Equal(t, x.store.Queries(), before)
		})
		x.Run("suspension ends it at once", func(t *testing.T) {
			token := x.token(map[string]any{"sub": "gone", "email": "gone@example.com"})
			p := x.who(token)
			testkit.Must0(t, x.svc.Suspend(t.Context(), operator, p.User))
			x.refused(token, "identity.suspended")
			closed(t, p)
		})
		x.Run("parallel first uses make one user", func(t *testing.T) {
			before := x.count(`SELECT COUNT(*) FROM tenants`)
			users := make([]string, 12)
			var wg sync.WaitGroup
			for i := range users {
				token := x.token(map[string]any{"sub": "crowd", "email": "crowd@example.com", "n": i})
				wg.Go(func() {
					p, err := x.svc.Authenticate(t.Context(), token)
					if err != nil {
						t.Error(err)
						return
					}
					users[i] = p.User
				})
			}
			wg.Wait()
			testkit.Equal(t, []int64{int64(len(slices.Compact(users))), x.count(`SELECT COUNT(*) FROM tenants`) - before}, []int64{1, 1})
		})
		x.Run("has no session of ours to manage", func(t *testing.T) {
			p := x.who(x.token(map[string]any{"sub": "new"}))
			testkit.Fault(t, x.svc.Logout(t.Context(), p), "identity.session_needed")
		})
	})
}

func TestExternalForgeries(t *testing.T) {
	eachExternal(t, func(x *external) {
		stranger := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(x)
		now := x.clock().Unix()
		for name, c := range map[string]struct{ token, code string }{
			"expired":                {x.token(map[string]any{"exp": now - 61}), "identity.token_expired"},
			"no exp":                 {x.token(map[string]any{"exp": nil}), "identity.token_invalid"},
			"nbf in the future":      {x.token(map[string]any{"nbf": now + 3600}), "identity.token_invalid"},
			"iat in the future":      {x.token(map[string]any{"iat": now + 3600}), "identity.token_invalid"},
			"wrong audience":         {x.token(map[string]any{"aud": "another"}), "identity.token_invalid"},
			"no audience":            {x.token(map[string]any{"aud": nil}), "identity.token_invalid"},
			"unknown issuer":         {x.token(map[string]any{"iss": "https://evil.example"}), "identity.token_invalid"},
			"no issuer":              {x.token(map[string]any{"iss": nil}), "identity.token_invalid"},
			"no e-mail":              {x.token(map[string]any{"email": nil}), "identity.no_email"},
			"e-mail is none":         {x.token(map[string]any{"email": "nonsense"}), "identity.no_email"},
			"a stranger's key":       {sign(x, jose.ES256, stranger, map[jose.HeaderKey]any{"kid": "k1"}, x.claims(nil)), "identity.token_invalid"},
			"an unknown key":         {sign(x, jose.ES256, stranger, map[jose.HeaderKey]any{"kid": "k9"}, x.claims(nil)), "identity.token_invalid"},
			"another algorithm":      {sign(x, jose.HS256, []byte(secret), map[jose.HeaderKey]any{"kid": "k1"}, x.claims(nil)), "identity.token_invalid"},
			"another type":           {sign(x, jose.ES256, x.private["k1"], map[jose.HeaderKey]any{"kid": "k1", "typ": "dpop+jwt"}, x.claims(nil)), "identity.token_invalid"},
			"a critical extension":   {sign(x, jose.ES256, x.private["k1"], map[jose.HeaderKey]any{"kid": "k1", "crit": []string{"exp"}}, x.claims(nil)), "identity.token_invalid"},
			"an embedded key":        {sign(x, jose.ES256, stranger, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Public()}}, x.claims(nil)), "identity.token_invalid"},
			"an endless subject":     {x.token(map[string]any{"sub": strings.Repeat("s", 256)}), "identity.token_invalid"},
			"the wrong issuer's key": {sign(x, jose.HS256, []byte(secret), nil, x.claims(map[string]any{"iss": legacyURL})), "identity.token_invalid"},
		} {
			x.Run(name, func(t *testing.T) {
				_, err := x.svc.Authenticate(t.Context(), c.token)
				testkit.Fault(t, err, c.code)
			})
		}
		x.Run("forged key ids do not make us hammer the issuer", func(t *testing.T) {
			x.who(x.token(map[string]any{"sub": "new", "email": "new@example.com"}))
			before := x.fetches.Load()
			for range 50 {
				x.refused(sign(t, jose.ES256, stranger, map[jose.HeaderKey]any{"kid": rand.Text()}, x.claims(nil)), "identity.token_invalid")
			}
			if n := x.fetches.Load() - before; n > 1 {
				t.Errorf("%d fetches", n)
			}
		})
	})
}

// K11: an address proves nothing by itself.
func TestExternalLinks(t *testing.T) {
	eachExternal(t, func(x *external) {
		legacy := func(change map[string]any) string {
			c := x.claims(map[string]any{"iss": legacyURL, "aud": "mcp"})
			maps.Copy(c, change)
			return sign(x, jose.HS256, []byte(secret), nil, c)
		}
		u := x.register("ada@example.com")
		x.Run("not to a user who has not proven the address", func(t *testing.T) {
			x.refused(x.token(nil), "identity.link_refused")
		})
		testkit.Must(x.svc.VerifyEmail(x.Context(), x.link(u.Email)))(x)
		x.Run("not by an issuer that has not verified it", func(t *testing.T) {
			for _, v := range []any{false, nil, "false", 1, "yes"} {
				x.refused(x.token(map[string]any{"email_verified": v}), "identity.link_refused")
			}
		})
		x.Run("not by a look-alike address", func(t *testing.T) {
			testkit.Equal(t, x.who(x.token(map[string]any{"sub": "s2", "email": "\u0430da@example.com"})).User == u.ID, false) // Cyrillic a
			x.refused(x.token(map[string]any{"sub": "s3", "email": "ada@example.com\u200b"}), "identity.no_email")
		})
		x.Run("when both have proven it, in any spelling", func(t *testing.T) {
			testkit.Equal(t, x.who(x.token(map[string]any{"email": "ADA@example.com"})).User, u.ID)
		})
		x.Run("not a second identity by address alone", func(t *testing.T) {
			x.refused(legacy(map[string]any{"sub": "other"}), "identity.link_refused")
			x.refused(x.token(map[string]any{"sub": "impostor"}), "identity.link_refused")
		})
		x.Run("a trusted back end needs no flag; a subject that is an address will do", func(t *testing.T) {
			bob := x.register("bob@example.com")
			testkit.Must(x.svc.VerifyEmail(x.Context(), x.link(bob.Email)))(t)
			testkit.Equal(t, x.who(legacy(map[string]any{"sub": "Bob@Example.com", "email": "", "email_verified": false})).User, bob.ID)
		})
		x.Run("without permission to provision, strangers stay out", func(t *testing.T) {
			x.refused(legacy(map[string]any{"sub": "carol@example.com", "email": ""}), "identity.not_registered")
		})
	})
}

func TestIssuerKeys(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	p := newProvider(t)
	w.svc = w.service(func(o *identity.Options) {
		o.HTTP, o.Issuers = p.server.Client(), []identity.Issuer{{URL: issuerURL, Audience: "headgate", Algorithm: "ES256", JWKS: p.server.URL, Provision: true}}
	})
	x := &external{w, p}
	with := func(kid, sub string) string {
		return sign(t, jose.ES256, p.private[kid], map[jose.HeaderKey]any{"kid": kid}, x.claims(map[string]any{"sub": sub, "email": sub + "@example.com"}))
	}
	t.Run("while they cannot be fetched the token is neither good nor bad", func(t *testing.T) {
		p.down.Store(true)
		w.refused(with("k1", "a"), "identity.issuer_down")
		p.down.Store(false)
		w.pass(10 * time.Second)
		w.who(with("k1", "a"))
	})
	t.Run("a new key is found", func(t *testing.T) {
		p.add("k2")
		w.pass(10 * time.Second)
		w.who(with("k2", "b"))
	})
	t.Run("known keys hold while the issuer is away", func(t *testing.T) {
		p.down.Store(true)
		w.pass(2 * time.Hour)
		w.who(with("k1", "c"))
	})
	t.Run("a key withdrawn is refused within the hour", func(t *testing.T) {
		p.down.Store(false)
		w.pass(time.Hour + time.Second)
		late := with("k1", "d")
		delete(p.private, "k1")
		w.refused(late, "identity.token_invalid")
	})
}

func TestIssuerSettings(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	good := identity.Issuer{URL: issuerURL, Audience: "a", Algorithm: "ES256", JWKS: "https://login.example/keys"}
	for name, change := range map[string]func(i *identity.Issuer){
		"no URL":              func(i *identity.Issuer) { i.URL = "" },
		"no audience":         func(i *identity.Issuer) { i.Audience = "" },
		"algorithm none":      func(i *identity.Issuer) { i.Algorithm = "none" },
		"no algorithm":        func(i *identity.Issuer) { i.Algorithm = "" },
		"no keys":             func(i *identity.Issuer) { i.JWKS = "" },
		"a weak secret":       func(i *identity.Issuer) { i.Algorithm, i.JWKS, i.Secret = "HS256", "", seal.NewValue("changeme") },
		"a secret and keys":   func(i *identity.Issuer) { i.Algorithm, i.Secret = "HS256", seal.NewValue(secret) },
		"HS256 and no secret": func(i *identity.Issuer) { i.Algorithm, i.JWKS = "HS256", "" },
	} {
		t.Run(name+" is refused at start", func(t *testing.T) {
			bad := good
			change(&bad)
			_, err := identity.New(t.Context(), w.store, w.keys, w.tenancy, identity.Options{BaseURL: base, HTTP: http.DefaultClient, Issuers: []identity.Issuer{bad}})
			if err == nil || strings.Contains(err.Error(), "changeme") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestExternalOrganization(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	_, owner := w.person("owner@example.com")
	p := newProvider(t)
	w.svc = w.service(func(o *identity.Options) {
		o.HTTP, o.Issuers = p.server.Client(), []identity.Issuer{{URL: issuerURL, Audience: "headgate", Algorithm: "ES256", JWKS: p.server.URL, Provision: true, Organization: owner.Organization}}
	})
	x := &external{w, p}
	who := x.who(x.token(nil))
	testkit.Equal(t, []any{who.Organization, who.Role}, []any{owner.Organization, access.Member})
	testkit.Equal(t, testkit.Must(w.tenancy.Counts(t.Context(), owner.Organization))(t), tenancy.Counts{Users: 2})
}
