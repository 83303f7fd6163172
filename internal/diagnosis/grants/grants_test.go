package grants_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/demo"
	"headgate/internal/diagnosis/grants"
	"headgate/internal/id"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
)

type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// house is one person and one protected server.
type house struct {
	*grants.Service
	t      *testing.T
	store  *db.Store
	keys   *seal.Keys
	clock  *clock
	as     *oauthserver.Server
	at     *oauthserver.Resource
	server *catalog.Server
	ann    *access.Principal
	bob    *access.Principal
	binder *grants.Binder
}

// static binds everybody with the same headers.
type static struct{ *catalog.Binding }

func (s static) Bind(context.Context, *catalog.Server, *access.Principal) (*catalog.Binding, error) {
	return s.Binding, nil
}

var shared = static{&catalog.Binding{Identity: "shared", Headers: []catalog.Header{
	{Name: "X-Tenant", Value: seal.NewValue("acme")}, {Name: "authorization", Value: seal.NewValue("Bearer configured")}}}}

func each(t *testing.T, test func(h *house)) {
	t.Helper()
	testkit.EachEngine(t, func(t *testing.T, store *db.Store) { test(newHouse(t, store)) })
}

func newHouse(t *testing.T, store *db.Store) *house {
	h := &house{t: t, store: store, clock: &clock{}, as: oauthserver.New(t)}
	h.clock.ms.Store(time.Now().UnixMilli())
	var err error
	h.keys, _, err = seal.Generate()
	testkit.Must0(t, err)
	h.at = h.as.Protect(demo.Handler("1", time.Now))
	ten, org := id.New("ten"), id.New("org")
	h.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ($1, $1, 'T', 0)`, ten)
	h.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ($1, $1, 'P', 60, 10, 0, '{}', 0)`, ten)
	h.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, $2, $1, 'O', TRUE, $2, 'full', 0)`, org, ten)
	person := func() *access.Principal {
		user := id.New("user")
		h.exec(`INSERT INTO users (id, pool, email, first_name, last_name, created_at) VALUES ($1, 'platform', $1, 'A', 'B', 0)`, user)
		return &access.Principal{Kind: access.Session, ID: id.New("ses"), User: user, Tenant: ten, Organization: org, Role: access.Member, Scopes: access.Every}
	}
	h.ann, h.bob = person(), person()
	h.server = &catalog.Server{ID: id.New("srv"), Organization: org, Workspace: id.New("ws"), URL: h.at.URL, Transport: catalog.HTTP}
	h.Service = h.replica()
	h.binder = h.Binder(shared)
	return h
}

func (h *house) replica() *grants.Service {
	return grants.New(grants.Options{Store: h.store, Keys: h.keys, Guard: netguard.New(netguard.Policy{Loopback: true}), Now: h.clock.Now})
}

func (h *house) exec(text string, args ...any) {
	h.t.Helper()
	testkit.Must(db.Exec(context.Background(), h.store, text, args...))(h.t)
}

// tokens are fresh ones of the authorization server, good for an hour.
func (h *house) tokens() grants.Tokens {
	access, refresh := h.as.Grant(h.at.URL)
	return grants.Tokens{ServerURL: h.at.URL, ClientID: "client", ClientSecret: "secret", Access: access, Refresh: refresh, ExpiresIn: time.Hour}
}

func (h *house) bring(by *access.Principal, t grants.Tokens) *grants.Grant {
	h.t.Helper()
	return testkit.Must(h.Import(h.t.Context(), by, h.server, t))(h.t)
}

// sent is the Authorization header of a person's calls.
func sent(t *testing.T, b *grants.Binder, s *catalog.Server, by *access.Principal) (value, identity string) {
	t.Helper()
	binding := testkit.Must(b.Bind(t.Context(), s, by))(t)
	for _, h := range binding.Headers {
		if strings.EqualFold(h.Name, "Authorization") {
			if value != "" {
				t.Error("two Authorization headers")
			}
			value = h.Value.Reveal()
		}
	}
	return value, binding.Identity
}

func TestGrants(t *testing.T) {
	each(t, func(h *house) {
		t := h.t
		none, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, none, "Bearer configured")
		testkit.Equal(t, h.Granted(t.Context(), h.ann, h.server), false)

		tokens := h.tokens()
		g := h.bring(h.ann, tokens)
		testkit.Equal(t, g.Issuer, h.as.URL)
		testkit.Equal(t, g.Renewable, true)
		testkit.Equal(t, g.ExpiresAt.UnixMilli(), h.clock.Now().Add(time.Hour).UnixMilli())

		mine, identity := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, mine, "Bearer "+tokens.Access)
		theirs, other := sent(t, h.binder, h.server, h.bob)
		testkit.Equal(t, theirs, "Bearer configured")
		if identity == other || identity == "shared" {
			t.Errorf("identities %q and %q", identity, other)
		}
		program, _ := sent(t, h.binder, h.server, &access.Principal{Kind: access.OrganizationKey, Organization: h.ann.Organization})
		testkit.Equal(t, program, "Bearer configured")
		testkit.Equal(t, h.Granted(t.Context(), h.ann, h.server), true)

		moved := &catalog.Server{ID: h.server.ID, Organization: h.server.Organization, URL: "https://elsewhere.example/mcp", Transport: catalog.HTTP}
		elsewhere, _ := sent(t, h.binder, moved, h.ann)
		testkit.Equal(t, elsewhere, "Bearer configured") // a token goes to its URL alone

		next := h.tokens()
		h.bring(h.ann, next)
		mine, again := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, mine, "Bearer "+next.Access)
		if again == identity {
			t.Error("another token has the same identity")
		}
		queries := h.store.Queries()
		sent(t, h.binder, h.server, h.ann)
		sent(t, h.binder, h.server, h.bob)
		testkit.Equal(t, h.store.Queries(), queries) // from memory

		testkit.Must0(t, h.Remove(t.Context(), h.ann, h.server))
		gone, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, gone, "Bearer configured")
		testkit.Fault(t, h.Remove(t.Context(), h.ann, h.server), "grants.none")
		_, err := h.Get(t.Context(), h.ann, h.server)
		testkit.Fault(t, err, "grants.none")
	})
}

func TestErase(t *testing.T) {
	each(t, func(h *house) {
		t := h.t
		h.exec(`INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at) VALUES ($1, $2, 'w', 'W', FALSE, 'online', 'builtin', 1, 0, 0)`, h.server.Workspace, h.server.Organization)
		h.exec(`INSERT INTO services (id, organization_id, slug, name, description, version, private, transport, header_names, era, timeout_ms, config_scope, capabilities, price, read_price, charge_rejected, revision, created_at, updated_at)
			VALUES ('svc_1', $1, 's', 'S', '', '1', TRUE, 'http', '[]', 'auto', 1, 'organization', '[]', 0, 0, TRUE, 1, 0, 0)`, h.server.Organization)
		h.exec(`INSERT INTO servers (id, organization_id, workspace_id, service_id, slug, name, enabled, revision, created_at, updated_at) VALUES ($1, $2, $3, 'svc_1', 's', 'S', TRUE, 1, 0, 0)`, h.server.ID, h.server.Organization, h.server.Workspace)
		tokens := h.tokens()
		h.bring(h.ann, tokens)
		before, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, before, "Bearer "+tokens.Access)
		for _, workspace := range []string{id.New("ws"), h.server.Workspace} {
			testkit.Must0(t, h.store.Tx(t.Context(), func(tx *db.Tx) error { return h.Erase(t.Context(), tx, h.server.Organization, workspace) }))
		}
		after, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, after, "Bearer configured")
	})
}

func TestGrantsAreSealed(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	tokens := h.tokens()
	h.bring(h.ann, tokens)
	blob := testkit.Must(db.Value[[]byte](t.Context(), h.store, `SELECT sealed FROM upstream_grants`))(t)
	for _, secret := range []string{tokens.Access, tokens.Refresh, "secret"} {
		if strings.Contains(string(blob), secret) {
			t.Errorf("the row holds %q", secret)
		}
	}
	t.Run("a row moved to another person does not open", func(t *testing.T) {
		h.exec(`UPDATE upstream_grants SET user_id = $1`, h.bob.User)
		if _, err := h.replica().Binder(shared).Bind(t.Context(), h.server, h.bob); err == nil {
			t.Error("it opened")
		}
	})
}

func TestImportRefuses(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	for _, c := range []struct {
		name, code string
		change     func(*grants.Tokens)
	}{
		{"another server's URL", "grants.other_url", func(t *grants.Tokens) { t.ServerURL = "https://elsewhere.example/mcp" }},
		{"another resource", "grants.other_url", func(t *grants.Tokens) { t.Resource = "https://elsewhere.example/mcp" }},
		{"a token of another type", "grants.bad_tokens", func(t *grants.Tokens) { t.Type = "DPoP" }},
		{"a refresh token without a client", "grants.bad_tokens", func(t *grants.Tokens) { t.ClientID = "" }},
		{"no token", "grants.bad_tokens", func(t *grants.Tokens) { t.Access = "" }},
		{"a token with a line break", "grants.bad_tokens", func(t *grants.Tokens) { t.Access = "a\r\nX-Evil: 1" }},
		{"an endless token", "grants.bad_tokens", func(t *grants.Tokens) { t.Access = strings.Repeat("a", 9000) }},
		{"no URL", "netguard.bad_url", func(t *grants.Tokens) { t.ServerURL = "nonsense" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens := h.tokens()
			c.change(&tokens)
			_, err := h.Import(t.Context(), h.ann, h.server, tokens)
			testkit.Fault(t, err, c.code)
		})
	}
	t.Run("tokens of nobody", func(t *testing.T) {
		_, err := h.Import(t.Context(), &access.Principal{Kind: access.OrganizationKey, Organization: h.ann.Organization}, h.server, h.tokens())
		testkit.Fault(t, err, "grants.no_person")
	})
}

func TestRenewal(t *testing.T) {
	each(t, func(h *house) {
		t := h.t
		first := h.tokens()
		h.bring(h.ann, first)
		h.as.Revoke() // the access token is bad, as one that has ended
		h.clock.Advance(2 * time.Hour)
		// Two replicas and many callers at once: one renewal.
		other := h.replica().Binder(shared)
		var wg sync.WaitGroup
		values := make([]string, 20)
		for i := range values {
			wg.Go(func() {
				b := h.binder
				if i%2 == 1 {
					b = other
				}
				values[i], _ = sent(t, b, h.server, h.ann)
			})
		}
		wg.Wait()
		testkit.Equal(t, h.as.Refreshes(), 1)
		for _, v := range values {
			if v != values[0] || v == "Bearer "+first.Access {
				t.Errorf("sent %q and %q", v, values[0])
			}
		}
		g := testkit.Must(h.Get(t.Context(), h.ann, h.server))(t)
		testkit.Equal(t, g.Problem, "")
		h.clock.Advance(2 * time.Hour)
		again, _ := sent(t, h.binder, h.server, h.ann) // the rotated refresh token is good
		testkit.Equal(t, h.as.Refreshes(), 2)
		if again == values[0] {
			t.Error("the token was not renewed again")
		}
	})
}

func TestRenewalBeforeTheEnd(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	tokens := h.tokens()
	h.bring(h.ann, tokens)
	block, asked := make(chan struct{}), make(chan struct{})
	h.as.OnToken = func(http.ResponseWriter, *http.Request) bool { close(asked); <-block; return false }
	h.clock.Advance(59*time.Minute + 30*time.Second)
	now, _ := sent(t, h.binder, h.server, h.ann)
	testkit.Equal(t, now, "Bearer "+tokens.Access) // nobody waits while the token is good
	<-asked
	close(block)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if v, _ := sent(t, h.binder, h.server, h.ann); v != now {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never renewed")
		}
	}
}

func TestRenewalFails(t *testing.T) {
	t.Run("a refused refresh token ends the grant, and its token is not sent any more", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		tokens := h.tokens()
		tokens.Refresh = "rt-unknown"
		h.bring(h.ann, tokens)
		h.clock.Advance(2 * time.Hour)
		for range 3 {
			v, _ := sent(t, h.binder, h.server, h.ann)
			testkit.Equal(t, v, "Bearer configured")
		}
		testkit.Equal(t, h.as.Refreshes(), 1)
		testkit.Equal(t, h.Granted(t.Context(), h.ann, h.server), false)
		g := testkit.Must(h.Get(t.Context(), h.ann, h.server))(t)
		if !strings.Contains(g.Problem, "invalid_grant") {
			t.Errorf("problem %q", g.Problem)
		}
	})
	t.Run("a server in trouble is asked again later", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		tokens := h.tokens()
		h.bring(h.ann, tokens)
		h.clock.Advance(2 * time.Hour)
		var fails atomic.Int32
		h.as.OnToken = func(w http.ResponseWriter, _ *http.Request) bool {
			if fails.Add(1) > 1 {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		old, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, old, "Bearer "+tokens.Access)
		next, _ := sent(t, h.binder, h.server, h.ann)
		if next == old {
			t.Error("not renewed")
		}
	})
	t.Run("an answer that is no Bearer token is none", func(t *testing.T) {
		for _, body := range []string{`{}`, `[]`, `{"access_token":"a\nb"}`, `{"access_token":"a","token_type":"mac"}`} {
			h := newHouse(t, testkit.SQLite(t))
			tokens := h.tokens()
			h.bring(h.ann, tokens)
			h.as.OnToken = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, body); return true }
			h.clock.Advance(2 * time.Hour)
			v, _ := sent(t, h.binder, h.server, h.ann)
			testkit.Equal(t, v, "Bearer "+tokens.Access)
		}
	})
	t.Run("a refresh token crosses no network in the clear, and goes to no other issuer than at first", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		h.as.Metadata = func(m map[string]any) { m["token_endpoint"] = "http://tokens.example/token" }
		h.bring(h.ann, h.tokens())
		h.as.Metadata = nil
		h.clock.Advance(2 * time.Hour)
		sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, h.as.Refreshes(), 0)
	})
}

func TestRenewalWays(t *testing.T) {
	t.Run("at the authorization server that the tokens are said to be from", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		h.at.Metadata = func(m map[string]any) { m["authorization_servers"] = []string{"https://elsewhere.example"} }
		tokens := h.tokens()
		tokens.Issuer = h.as.URL
		testkit.Equal(t, h.bring(h.ann, tokens).Issuer, h.as.URL)
		h.clock.Advance(2 * time.Hour)
		if v, _ := sent(t, h.binder, h.server, h.ann); v == "Bearer "+tokens.Access {
			t.Error("not renewed")
		}
	})
	t.Run("with the secret in the form, where the authorization server supports only that", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		h.as.Metadata = func(m map[string]any) { m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }
		h.as.OnToken = func(_ http.ResponseWriter, r *http.Request) bool {
			testkit.Equal(t, []string{r.FormValue("client_secret"), r.Header.Get("Authorization")}, []string{"secret", ""})
			return false
		}
		h.bring(h.ann, h.tokens())
		h.clock.Advance(2 * time.Hour)
		sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, h.as.Refreshes(), 1)
	})
	t.Run("a client that signs in for itself does so again", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		tokens := h.tokens()
		tokens.Refresh, tokens.Machine, tokens.Scope = "", true, "mcp"
		g := h.bring(h.ann, tokens)
		testkit.Equal(t, g.Renewable, true)
		h.clock.Advance(2 * time.Hour)
		v, _ := sent(t, h.binder, h.server, h.ann)
		testkit.Equal(t, []any{h.as.Refreshes(), v != "Bearer "+tokens.Access}, []any{0, true})
	})
	t.Run("what cannot be used is refused", func(t *testing.T) {
		h := newHouse(t, testkit.SQLite(t))
		for code, change := range map[string]func(*grants.Tokens){
			"grants.bad_tokens": func(k *grants.Tokens) { k.ClientMethod = "tls_client_auth" },
			"oauth.key":         func(k *grants.Tokens) { k.ClientKey = "none" },
		} {
			tokens := h.tokens()
			change(&tokens)
			_, err := h.Import(t.Context(), h.ann, h.server, tokens)
			testkit.Fault(t, err, code)
		}
		for _, change := range []func(*grants.Tokens){
			func(k *grants.Tokens) { k.Machine = true },
			func(k *grants.Tokens) { k.Machine, k.Refresh, k.ClientSecret = true, "", "" },
			func(k *grants.Tokens) { k.Machine, k.Refresh, k.ClientID = true, "", "" },
		} {
			tokens := h.tokens()
			change(&tokens)
			_, err := h.Import(t.Context(), h.ann, h.server, tokens)
			testkit.Fault(t, err, "grants.bad_tokens")
		}
	})
}
