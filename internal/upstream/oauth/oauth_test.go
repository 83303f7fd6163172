package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"headgate/internal/fault"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
	"headgate/internal/upstream/discovery"
	"headgate/internal/upstream/oauth"
)

// house is an authorization server, an MCP server that wants its tokens, and a
// client whose person agrees at once.
type house struct {
	as     *oauthserver.Server
	at     *oauthserver.Resource
	pages  []url.Values // that the person was shown
	client oauth.Options
}

func newHouse(t *testing.T) *house {
	h := &house{as: oauthserver.New(t)}
	h.at = h.as.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.client = oauth.Options{Guard: netguard.New(netguard.Policy{Loopback: true}), Name: "Headgate", Redirect: "http://127.0.0.1:1/callback", Browser: h.agree}
	return h
}

// agree follows a page's redirect as a browser does, but for going there.
func (h *house) agree(ctx context.Context, page string) (url.Values, error) {
	u, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	h.pages = append(h.pages, u.Query())
	return oauthserver.Agree(ctx, page)
}

// try asks the MCP server with a grant's token.
func (h *house) try(ctx context.Context, g *oauth.Grant) (*discovery.Challenge, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.at.URL, strings.NewReader(`{"method":"tools/list"}`))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+g.Access.Reveal())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil, nil
	}
	ch := discovery.ParseChallenge(resp.Header.Get("WWW-Authenticate"))
	return &ch, nil
}

func (h *house) signIn(t *testing.T, scopes ...string) (*oauth.Grant, error) {
	t.Helper()
	return oauth.New(h.client).SignIn(t.Context(), h.at.URL, scopes, h.try)
}

func TestSignIn(t *testing.T) {
	t.Run("a person signs in, and the token is good and can be renewed", func(t *testing.T) {
		h := newHouse(t)
		g := testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, []string{g.Resource, g.Issuer, g.Scope}, []string{h.at.URL, h.as.URL, "mcp"})
		testkit.Equal(t, h.at.Seen(), []string{g.Access.Reveal()})
		page := h.pages[0]
		testkit.Equal(t, []string{page.Get("resource"), page.Get("scope"), page.Get("code_challenge_method"), page.Get("redirect_uri")},
			[]string{h.at.URL, "mcp", "S256", h.client.Redirect})
		h.as.Revoke()
		n := testkit.Must(oauth.New(h.client).Renew(t.Context(), oauth.Renewal{Endpoint: h.as.URL + "/token", Issuer: g.Issuer, Client: g.Client, Refresh: g.Refresh, Resource: g.Resource}))(t)
		g.Tokens = *n
		if again, err := h.try(t.Context(), g); again != nil || err != nil {
			t.Errorf("%+v %v", again, err)
		}
	})
	t.Run("each way in which a client shows who it is", func(t *testing.T) {
		for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
			h := newHouse(t)
			h.as.Metadata = func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{method} }
			g := testkit.Must(h.signIn(t))(t)
			testkit.Equal(t, g.Client.Method, method)
		}
	})
	t.Run("what was registered by hand goes before a document, and that before registering", func(t *testing.T) {
		h := newHouse(t)
		h.client.Document = "https://headgate.example/client.json"
		h.as.Documents = []string{h.client.Document}
		testkit.Must(h.signIn(t))(t)
		h.client.Given = &oauth.Registration{ID: "client", Secret: seal.NewValue("secret")}
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, []string{h.pages[0].Get("client_id"), h.pages[1].Get("client_id")}, []string{h.client.Document, "client"})
		testkit.Equal(t, h.as.Clients(), 1)
		h.as.Metadata = func(m map[string]any) { m["client_id_metadata_document_supported"] = false }
		h.client.Given = nil
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, h.as.Clients(), 2)
	})
	t.Run("a step-up asks for what was granted too, with the same client", func(t *testing.T) {
		h := newHouse(t)
		h.at.Needs = func(map[string]any) string { return "write" }
		g := testkit.Must(h.signIn(t, "read"))(t)
		testkit.Equal(t, []string{h.pages[0].Get("scope"), h.pages[1].Get("scope")}, []string{"read mcp", "read mcp write"})
		testkit.Equal(t, g.Scope, "read mcp write")
		testkit.Equal(t, h.as.Clients(), 2)
	})
	t.Run("a step-up that asks for nothing new is the last", func(t *testing.T) {
		h := newHouse(t)
		h.at.Needs = func(map[string]any) string { return "write" }
		h.as.Grants = func(string) string { return "mcp" }
		_, err := h.signIn(t)
		testkit.Fault(t, err, "oauth.too_few_permissions")
		testkit.Equal(t, len(h.pages), 2)
	})
	t.Run("a server that always wants more is asked three times", func(t *testing.T) {
		h := newHouse(t)
		n := 0
		h.at.Needs = func(map[string]any) string { n++; return fmt.Sprintf("more%d", n) }
		_, err := h.signIn(t)
		testkit.Fault(t, err, "oauth.too_few_permissions")
		testkit.Equal(t, len(h.pages), 3)
	})
	t.Run("a token that its own server refuses is not asked for again", func(t *testing.T) {
		h := newHouse(t)
		h.as.OnToken = func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, `{"access_token":"at-foreign"}`)
			return true
		}
		_, err := h.signIn(t)
		testkit.Fault(t, err, "oauth.not_accepted")
		testkit.Equal(t, len(h.pages), 1)
	})
	t.Run("another authorization server gets a registration of its own", func(t *testing.T) {
		h, other := newHouse(t), newHouse(t)
		later := other.as.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		h.at.Metadata = func(m map[string]any) {
			if len(h.pages) > 0 {
				m["authorization_servers"] = []string{other.as.URL}
			}
		}
		_, err := oauth.New(h.client).SignIn(t.Context(), h.at.URL, nil, func(ctx context.Context, g *oauth.Grant) (*discovery.Challenge, error) {
			if g.Issuer == other.as.URL {
				return nil, nil
			}
			return &discovery.Challenge{Bearer: true, Error: "invalid_token"}, nil
		})
		testkit.Must0(t, err)
		testkit.Equal(t, []int{h.as.Clients(), other.as.Clients(), len(h.pages)}, []int{2, 2, 2})
		_ = later
	})
	t.Run("a client registered by hand is used at no other authorization server", func(t *testing.T) {
		h, other := newHouse(t), newHouse(t)
		h.at.Metadata = func(m map[string]any) {
			if len(h.pages) > 0 {
				m["authorization_servers"] = []string{other.as.URL}
			}
		}
		h.client.Given = &oauth.Registration{ID: "client", Secret: seal.NewValue("secret")}
		_, err := oauth.New(h.client).SignIn(t.Context(), h.at.URL, nil, func(context.Context, *oauth.Grant) (*discovery.Challenge, error) {
			return &discovery.Challenge{Bearer: true, Error: "invalid_token"}, nil
		})
		testkit.Fault(t, err, "oauth.other_issuer")
	})
	t.Run("refresh tokens are asked for where that has a scope", func(t *testing.T) {
		h := newHouse(t)
		h.as.Metadata = func(m map[string]any) { m["scopes_supported"] = []string{"mcp", "offline_access"} }
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, []string{h.pages[0].Get("scope"), h.pages[0].Get("prompt")}, []string{"mcp offline_access", "consent"})
	})
}

func TestMachine(t *testing.T) {
	t.Run("a client signs in for itself with its secret, and again", func(t *testing.T) {
		h := newHouse(t)
		h.client.Machine, h.client.Browser, h.client.Given = true, nil, &oauth.Registration{ID: "client", Secret: seal.NewValue("secret")}
		g := testkit.Must(h.signIn(t))(t)
		h.as.Revoke()
		n := testkit.Must(oauth.New(h.client).Renew(t.Context(), oauth.Renewal{Endpoint: h.as.URL + "/token", Issuer: g.Issuer, Client: g.Client, Resource: g.Resource, Scope: g.Scope}))(t)
		testkit.Equal(t, n.Scope, "mcp")
	})
	t.Run("or with a key, in a statement for that authorization server alone", func(t *testing.T) {
		h := newHouse(t)
		key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: testkit.Must(x509.MarshalPKCS8PrivateKey(key))(t)})
		h.client.Machine, h.client.Given = true, &oauth.Registration{ID: "robot", Key: seal.NewValue(string(text))}
		var claims jwt.Claims
		h.as.OnToken = func(w http.ResponseWriter, r *http.Request) bool {
			if parsed, err := jwt.ParseSigned(r.FormValue("client_assertion"), []jose.SignatureAlgorithm{jose.ES256}); err != nil || parsed.Claims(key.Public(), &claims) != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			access, _ := h.as.Grant(r.FormValue("resource"))
			fmt.Fprintf(w, `{"access_token":%q}`, access)
			return true
		}
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, []any{claims.Issuer, claims.Subject, claims.Audience}, []any{"robot", "robot", jwt.Audience{h.as.URL}})
		if left := time.Until(claims.Expiry.Time()); left > time.Minute+time.Second || claims.ID == "" {
			t.Errorf("good for %v, id %q", left, claims.ID)
		}
	})
	t.Run("a key that is none is said to be so", func(t *testing.T) {
		h := newHouse(t)
		h.client.Machine, h.client.Given = true, &oauth.Registration{ID: "robot", Key: seal.NewValue("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----")}
		_, err := h.signIn(t)
		testkit.Fault(t, err, "oauth.key")
	})
}

func TestVouched(t *testing.T) {
	type asked struct{ Grant, Assertion, Audience, Resource, Client string }
	serve := func(h *house, refuse string) *[]asked {
		var list []asked
		h.as.OnToken = func(w http.ResponseWriter, r *http.Request) bool {
			_, kind, _ := strings.Cut(r.FormValue("grant_type"), "grant-type:")
			list = append(list, asked{kind, r.FormValue("assertion") + r.FormValue("subject_token"), r.FormValue("audience"), r.FormValue("resource"), r.FormValue("client_id")})
			access, _ := h.as.Grant(h.at.URL)
			switch {
			case refuse == kind:
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"invalid_grant"}`)
			case kind == "token-exchange":
				fmt.Fprint(w, `{"access_token":"jag","token_type":"N_A","issued_token_type":"urn:ietf:params:oauth:token-type:id-jag"}`)
			default:
				fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer"}`, access)
			}
			return true
		}
		return &list
	}
	t.Run("a workload with what its platform gave it", func(t *testing.T) {
		h := newHouse(t)
		list := serve(h, "")
		h.client.Given, h.client.Vouched = &oauth.Registration{ID: "robot"}, oauth.Workload(seal.NewValue("jwt"))
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, *list, []asked{{"jwt-bearer", "jwt", "", h.at.URL, "robot"}})
	})
	t.Run("a person with what their identity provider says, for that authorization server alone", func(t *testing.T) {
		h := newHouse(t)
		list := serve(h, "")
		h.client.Given = &oauth.Registration{ID: "robot"}
		h.client.Vouched = oauth.New(h.client).Assertion(oauth.Identity{Issuer: h.as.URL, Client: oauth.Registration{ID: "sso"}, Token: seal.NewValue("idt")})
		testkit.Must(h.signIn(t))(t)
		testkit.Equal(t, *list, []asked{{"token-exchange", "idt", h.as.URL, h.at.URL, "sso"}, {"jwt-bearer", "jag", "", h.at.URL, "robot"}})
	})
	t.Run("what is refused is not tried again, nor in another way", func(t *testing.T) {
		for _, refuse := range []string{"token-exchange", "jwt-bearer"} {
			h := newHouse(t)
			list := serve(h, refuse)
			h.client.Given = &oauth.Registration{ID: "robot"}
			h.client.Vouched = oauth.New(h.client).Assertion(oauth.Identity{Issuer: h.as.URL, Client: oauth.Registration{ID: "sso"}, Token: seal.NewValue("idt")})
			_, err := h.signIn(t)
			testkit.Fault(t, err, "oauth.refused")
			testkit.Equal(t, []any{(*list)[len(*list)-1].Grant, len(h.pages)}, []any{refuse, 0})
		}
	})
}

// TestRefusals: what a stranger may have put into metadata and redirects gets
// no code, no secret and no page.
func TestRefusals(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	for _, c := range []struct {
		name     string
		resource func(map[string]any)
		issuer   func(map[string]any)
		answer   func(q, answer url.Values)
		code     string
		pages    int
	}{
		{"a resource that is another server", set("resource", "https://evil.example/mcp"), nil, nil, "oauth.other_resource", 0},
		{"a resource without a name", set("resource", ""), nil, nil, "oauth.other_resource", 0},
		{"metadata of another issuer", nil, set("issuer", "https://evil.example"), nil, "oauth.discovery", 0},
		{"no authorization server", set("authorization_servers", []string{}), nil, nil, "oauth.discovery", 0},
		{"an authorization server that is no URL", set("authorization_servers", []string{"javascript:alert(1)"}), nil, nil, "oauth.discovery", 0},
		{"no PKCE", nil, set("code_challenge_methods_supported", nil), nil, "oauth.no_pkce", 0},
		{"PKCE that hides nothing", nil, set("code_challenge_methods_supported", []string{"plain"}), nil, "oauth.no_pkce", 0},
		{"a script as the page", nil, set("authorization_endpoint", "javascript:alert(1)"), nil, "oauth.endpoint", 0},
		{"a file as the page", nil, set("authorization_endpoint", "file:///etc/passwd"), nil, "oauth.endpoint", 0},
		{"a page in the clear", nil, set("authorization_endpoint", "http://as.example/authorize"), nil, "oauth.endpoint", 0},
		{"a page in a closed network", nil, set("authorization_endpoint", "https://169.254.169.254/"), nil, "netguard.blocked", 0},
		{"a page for a shell", nil, set("authorization_endpoint", "https://$(id).example/"), nil, "oauth.endpoint", 0},
		{"a token endpoint in the clear", nil, set("token_endpoint", "http://as.example/token"), nil, "oauth.endpoint", 0},
		{"a registration endpoint in the clear", nil, set("registration_endpoint", "http://as.example/register"), nil, "oauth.endpoint", 0},
		{"nowhere to register", nil, set("registration_endpoint", ""), nil, "oauth.no_client", 0},
		{"a token endpoint in a closed network", nil, set("token_endpoint", "https://169.254.169.254/token"), nil, "netguard.blocked", 1},
		{"another state", nil, nil, func(_, a url.Values) { a.Set("state", "other") }, "oauth.response", 1},
		{"no state", nil, nil, func(_, a url.Values) { a.Del("state") }, "oauth.response", 1},
		{"two codes", nil, nil, func(_, a url.Values) { a.Add("code", "other") }, "oauth.response", 1},
		{"no code", nil, nil, func(_, a url.Values) { a.Del("code") }, "oauth.response", 1},
		{"another iss", nil, nil, func(_, a url.Values) { a.Set("iss", "https://evil.example") }, "oauth.response", 1},
		{"an iss with a slash more", nil, nil, func(_, a url.Values) { a.Set("iss", a.Get("iss")+"/") }, "oauth.response", 1},
		{"an empty iss", nil, nil, func(_, a url.Values) { a.Set("iss", "") }, "oauth.response", 1},
		{"no iss, though it was promised", nil, nil, func(_, a url.Values) { a.Del("iss") }, "oauth.response", 1},
		{"another iss, though none was promised", nil, set("authorization_response_iss_parameter_supported", false),
			func(_, a url.Values) { a.Set("iss", "https://evil.example") }, "oauth.response", 1},
		{"an error of another iss is not repeated", nil, nil,
			func(_, a url.Values) {
				a.Set("iss", "https://evil.example")
				a.Set("error", "access_denied")
				a.Set("error_description", "call 555")
			}, "oauth.response", 1},
		{"a person who says no", nil, nil, func(_, a url.Values) { a.Del("code"); a.Set("error", "access_denied") }, "oauth.denied", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.at.Metadata, h.as.Metadata, h.as.OnAuthorize = c.resource, c.issuer, c.answer
			var asked bool
			h.as.OnToken = func(http.ResponseWriter, *http.Request) bool { asked = true; return false }
			_, err := h.signIn(t)
			testkit.Fault(t, err, c.code)
			testkit.Equal(t, len(h.pages), c.pages)
			testkit.Equal(t, asked, false)
			if strings.Contains(err.Error(), "555") {
				t.Error("a stranger's text is repeated:", err)
			}
		})
	}
	t.Run("a page on this machine where that is closed", func(t *testing.T) {
		for _, page := range []string{"http://[::1]:8099/authorize", "http://127.0.0.2:8099/authorize"} {
			h := newHouse(t)
			h.client.Guard = netguard.New(netguard.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}) // where the servers of the test are
			h.as.Metadata = set("authorization_endpoint", page)
			_, err := h.signIn(t)
			testkit.Fault(t, err, "netguard.blocked")
			testkit.Equal(t, len(h.pages), 0)
		}
	})
	t.Run("no iss is good where none was promised", func(t *testing.T) {
		h := newHouse(t)
		h.as.Metadata = set("authorization_response_iss_parameter_supported", false)
		h.as.OnAuthorize = func(_, a url.Values) { a.Del("iss") }
		testkit.Must(h.signIn(t))(t)
	})
	t.Run("a server without a sign-in has none", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		defer s.Close()
		_, err := oauth.New(newHouse(t).client).SignIn(t.Context(), s.URL+"/mcp", nil, nil)
		testkit.Fault(t, err, "oauth.none")
	})
}

// TestTokenAnswers: an answer that is no Bearer token is none, and what is said
// of it repeats no secret.
func TestTokenAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		code   string
	}{
		{"no token", 200, `{}`, "oauth.token"},
		{"a list", 200, `[]`, "oauth.token"},
		{"a page", 200, `<html>`, "oauth.token"},
		{"a token that ends a header", 200, `{"access_token":"a\nb"}`, "oauth.token"},
		{"another type", 200, `{"access_token":"a","token_type":"DPoP"}`, "oauth.token"},
		{"one that is too long", 200, `{"access_token":"` + strings.Repeat("a", 9000) + `"}`, "oauth.token"},
		{"an endless answer", 200, `{"access_token":"` + strings.Repeat("a", 100_000) + `"}`, "oauth.token"},
		{"a redirect", 302, ``, "oauth.token"},
		{"trouble", 502, `{"error":"invalid_grant"}`, "oauth.token"},
		{"a refusal that may pass", 400, `{"error":"temporarily_unavailable"}`, "oauth.token"},
		{"a final refusal", 400, `{"error":"invalid_grant","error_description":"It is used up."}`, "oauth.refused"},
		{"a refusal that repeats the secret", 401, `{"error":"invalid_client","error_description":"not SECRET"}`, "oauth.refused"},
		{"a refusal that drives the terminal", 400, `{"error":"invalid_grant","error_description":"\u001b[2J"}`, "oauth.refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
				fmt.Fprint(w, strings.ReplaceAll(c.body, "SECRET", r.FormValue("refresh_token")))
			}))
			defer s.Close()
			_, err := oauth.New(newHouse(t).client).Renew(t.Context(), oauth.Renewal{Endpoint: s.URL, Client: oauth.Registration{ID: "client", Secret: seal.NewValue("s3cr3t")}, Refresh: seal.NewValue("rt-hidden")})
			testkit.Fault(t, err, c.code)
			if text := err.Error(); strings.Contains(text, "rt-hidden") || strings.Contains(text, "s3cr3t") || strings.ContainsRune(text, 0x1b) || strings.Contains(text, s.URL) {
				t.Error(text)
			}
		})
	}
	t.Run("no secret is printed with a grant", func(t *testing.T) {
		h := newHouse(t)
		g := testkit.Must(h.signIn(t))(t)
		text, _ := json.Marshal(g)
		for _, shown := range []string{fmt.Sprintf("%v %+v %#v", g, g, *g), string(text)} {
			if strings.Contains(shown, g.Access.Reveal()) || strings.Contains(shown, g.Refresh.Reveal()) {
				t.Error(shown)
			}
		}
	})
	t.Run("a lifetime may be a text, and what is none is not one", func(t *testing.T) {
		for body, want := range map[string]time.Duration{`"60"`: time.Minute, `60`: time.Minute, `-5`: 0, `0`: 0, `1e99`: 0} {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"access_token":"a","expires_in":%s}`, body)
			}))
			g := testkit.Must(oauth.New(newHouse(t).client).Renew(t.Context(), oauth.Renewal{Endpoint: s.URL, Refresh: seal.NewValue("r")}))(t)
			testkit.Equal(t, g.ExpiresIn, want)
			s.Close()
		}
	})
}

// TestOldServers are of 2025-03-26: their own authorization servers.
func TestOldServers(t *testing.T) {
	serve := func(t *testing.T, metadata bool, trouble int) (*httptest.Server, *[]string) {
		var asked []string
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			switch {
			case r.URL.Path == "/mcp":
				w.WriteHeader(http.StatusUnauthorized)
			case metadata && r.URL.Path == "/.well-known/oauth-authorization-server":
				fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"registration_endpoint":%q}`, s.URL, s.URL+"/authorize", s.URL+"/token", s.URL+"/register")
			case r.URL.Path == "/register":
				w.WriteHeader(http.StatusCreated)
				fmt.Fprint(w, `{"client_id":"c"}`)
			case r.URL.Path == "/authorize":
				q := r.URL.Query()
				http.Redirect(w, r, q.Get("redirect_uri")+"?code=x&state="+q.Get("state"), http.StatusFound)
			case r.URL.Path == "/token":
				fmt.Fprint(w, `{"access_token":"a"}`)
			default:
				w.WriteHeader(trouble)
			}
		}))
		t.Cleanup(s.Close)
		return s, &asked
	}
	content := func(context.Context, *oauth.Grant) (*discovery.Challenge, error) { return nil, nil }
	t.Run("metadata at the root", func(t *testing.T) {
		s, _ := serve(t, true, 404)
		g := testkit.Must(oauth.New(newHouse(t).client).SignIn(t.Context(), s.URL+"/mcp", nil, content))(t)
		testkit.Equal(t, g.Issuer, s.URL)
	})
	t.Run("no metadata at all", func(t *testing.T) {
		s, _ := serve(t, false, 404)
		g := testkit.Must(oauth.New(newHouse(t).client).SignIn(t.Context(), s.URL+"/mcp", nil, content))(t)
		testkit.Equal(t, []string{g.Resource, g.Issuer, g.Access.Reveal()}, []string{s.URL + "/mcp", "", "a"})
	})
	t.Run("a server in trouble is not taken for one", func(t *testing.T) {
		s, asked := serve(t, false, 503)
		_, err := oauth.New(newHouse(t).client).SignIn(t.Context(), s.URL+"/mcp", nil, content)
		testkit.Fault(t, err, "oauth.discovery")
		if slices.Contains(*asked, "/register") {
			t.Error(*asked)
		}
	})
}

func TestLoopback(t *testing.T) {
	open := func(t *testing.T) *oauth.Loopback {
		l := testkit.Must(oauth.Listen(0))(t)
		t.Cleanup(l.Close)
		return l
	}
	get := func(t *testing.T, l *oauth.Loopback, query, host string) int {
		r := testkit.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, l.Redirect()+query, nil))(t)
		if host != "" {
			r.Host = host
		}
		resp := testkit.Must(http.DefaultClient.Do(r))(t)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	wait := func(ctx context.Context, l *oauth.Loopback) (chan url.Values, chan error) {
		got, failed := make(chan url.Values, 1), make(chan error, 1)
		begun := make(chan struct{})
		go func() {
			close(begun)
			v, err := l.Wait(ctx, "https://as.example/authorize?state=good")
			got <- v
			failed <- err
		}()
		<-begun
		return got, failed
	}
	t.Run("only the redirect with the state is heard, once", func(t *testing.T) {
		l := open(t)
		got, failed := wait(t.Context(), l)
		testkit.Equal(t, []int{get(t, l, "?state=bad&code=x", ""), get(t, l, "?code=x", ""), get(t, l, "?state=good&code=x", "evil.example"), get(t, l, "/more?state=good&code=x", "")},
			[]int{400, 400, 404, 404})
		for get(t, l, "?state=good&code=right", "") != http.StatusOK { // the wait may begin a moment later
		}
		testkit.Equal(t, (<-got).Get("code"), "right")
		testkit.Must0(t, <-failed)
		testkit.Equal(t, get(t, l, "?state=good&code=x", ""), 400)
	})
	t.Run("a wait that is too long says so, one that is broken off ends", func(t *testing.T) {
		l := open(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, failed := wait(ctx, l)
		testkit.Fault(t, <-failed, "oauth.waited")
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		_, failed = wait(ctx, l)
		if err := <-failed; !errors.Is(err, context.Canceled) || fault.CodeOf(err) != "internal" {
			t.Error(err)
		}
	})
}
