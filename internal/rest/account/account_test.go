package account_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/call"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/identity"
	"headgate/internal/mcp"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/account"
	"headgate/internal/rest/resttest"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
	"headgate/internal/upstream"
)

func TestMain(m *testing.M) { os.Exit(resttest.Main(m)) }

type house struct {
	*world.World
	t    testing.TB
	door *rest.Door
}

func newHouse(t testing.TB, s *db.Store, o world.Options) *house {
	h := &house{World: world.New(t, s, o), t: t}
	h.door = account.New(account.Options{Version: "test", Store: h.Store, Identity: h.Identity, Tenancy: h.Tenancy, APIKeys: h.APIKeys, Credits: h.Credits, Limiter: h.Limiter,
		Addresses: quota.Limit{PerMinute: 6000, Burst: 1000}, Idempotency: h.Replay, Keys: h.Keys, Now: h.Now})
	testkit.Must0(t, h.door.Check())
	return h
}

// as sends a request with a Bearer token, or with the given header whole.
func (h *house) as(token, method, path string, headers ...string) (int, map[string]any, string) {
	h.t.Helper()
	r := httptest.NewRequest(method, "/api/mcp"+path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := resttest.Serve(h.t, h.door, r)
	var body map[string]any
	testkit.Must0(h.t, json.Unmarshal(w.Body.Bytes(), &body))
	return w.Code, body, w.Body.String()
}

// want checks a status and the whole of some members.
func (h *house) want(token, method, path string, status int, members map[string]any) map[string]any {
	h.t.Helper()
	code, body, raw := h.as(token, method, path)
	if code != status {
		h.t.Fatalf("%s %s: status %d, want %d: %s", method, path, code, status, raw)
	}
	for name, want := range members {
		testkit.Equal(h.t, body[name], want)
	}
	return body
}

func detail(code, message string) map[string]any {
	d := map[string]any{"code": code}
	if message != "" {
		d["message"] = message
	}
	return map[string]any{"detail": d}
}

func TestAccount(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		p := h.Tenant("ada")
		t.Run("before it is enabled each operation says so in its own words", func(t *testing.T) {
			h.want(p.Token, "GET", "/account", 404, detail("mcp_not_enabled", "MCP is not enabled for your account. Click 'Enable MCP' to get started."))
			h.want(p.Token, "POST", "/regenerate-key", 404, detail("mcp_not_enabled", "MCP is not enabled for your account."))
			h.want(p.Token, "GET", "/usage", 404, detail("mcp_not_enabled", ""))
			h.want(p.Token, "GET", "/usage/summary", 404, detail("mcp_not_enabled", ""))
		})
		var key string
		t.Run("enable gives 50 credits and a key, once", func(t *testing.T) {
			body := h.want(p.Token, "POST", "/enable", 200, map[string]any{"success": true, "message": "MCP enabled successfully! Store your API key securely - it won't be shown again."})
			key = body["mcp_api_key"].(string)
			a := body["account"].(map[string]any)
			created := a["created_at"]
			testkit.Equal(t, a, map[string]any{"id": a["id"], "user_email": "ada@example.com", "display_name": "First Last", "mcp_key_prefix": key[:12], "credits_balance": 50.0, "credits_tier": "free",
				"credits_monthly_allocation": 50.0, "is_active": true, "last_connected_at": nil, "total_tool_calls": 0.0, "total_credits_used": 0.0, "stripe_subscription_status": nil, "created_at": created})
			if n, isNumber := a["id"].(float64); !isNumber || n != float64(int64(n)) {
				t.Errorf("id %v", a["id"])
			}
			h.want(p.Token, "GET", "/account", 200, a)
			h.want(p.Token, "POST", "/enable", 400, detail("already_enabled", "MCP is already enabled for your account."))
		})
		t.Run("the ledger begins with the grant", func(t *testing.T) {
			c := testkit.Must(h.Credits.Of(t.Context(), p.Organization.ID, p.ID))(t)
			entries := testkit.Must(h.Credits.Entries(t.Context(), c.ID, 10, 0))(t)
			if e := entries[0]; len(entries) != 1 || e.Type != "monthly_refill" || e.Amount != 50 || e.Before != 0 || e.After != 50 || e.ReferenceType != "system" || c.AllowRawRecords {
				t.Errorf("%+v", entries)
			}
		})
		t.Run("the key is a row of the organization's list, which the operator can revoke", func(t *testing.T) {
			keys, _, err := h.APIKeys.List(t.Context(), apikey.Filter{Organization: p.Organization.ID, Kinds: []access.Kind{access.AccountKey}})
			if err != nil || len(keys) != 1 || keys[0].User != p.ID {
				t.Errorf("%+v %v", keys, err)
			}
		})
		t.Run("regenerating kills the old key at once", func(t *testing.T) {
			addr := netip.MustParseAddr("192.0.2.1")
			testkit.Must(h.APIKeys.Authenticate(t.Context(), key, addr))(t)
			body := h.want(p.Token, "POST", "/regenerate-key", 200, map[string]any{"success": true, "message": "MCP API key regenerated successfully! Store it securely - it won't be shown again."})
			fresh := body["mcp_api_key"].(string)
			testkit.Equal(t, body["mcp_key_prefix"], any(fresh[:12]))
			_, err := h.APIKeys.Authenticate(t.Context(), key, addr)
			testkit.Fault(t, err, "apikey.revoked")
			by := testkit.Must(h.APIKeys.Authenticate(t.Context(), fresh, addr))(t)
			if c := testkit.Must(h.Credits.Of(t.Context(), p.Organization.ID, p.ID))(t); by.Account != c.ID {
				t.Errorf("pays from %q", by.Account)
			}
			key = fresh
		})
		t.Run("calls are charged to it, and told", func(t *testing.T) { h.shows(t, p, key) })
		t.Run("an operator switches it off: the key is refused, the person sees why, a new key is no way round", func(t *testing.T) {
			addr, operator := netip.MustParseAddr("192.0.2.1"), &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}
			c := testkit.Must(h.Credits.Of(t.Context(), p.Organization.ID, p.ID))(t)
			set := func(on bool) {
				testkit.Must(h.Credits.Update(t.Context(), operator, c.ID, credit.AccountChange{Active: &on}))(t)
			}
			set(false)
			_, err := h.APIKeys.Authenticate(t.Context(), key, addr)
			testkit.Fault(t, err, "apikey.account_off")
			h.want(p.Token, "GET", "/account", 200, map[string]any{"is_active": false})
			fresh := h.want(p.Token, "POST", "/regenerate-key", 200, map[string]any{"success": true})["mcp_api_key"].(string)
			_, err = h.APIKeys.Authenticate(t.Context(), fresh, addr)
			testkit.Fault(t, err, "apikey.account_off")
			set(true)
			testkit.Must(h.APIKeys.Authenticate(t.Context(), fresh, addr))(t)
		})
	})
}

// shows makes calls with an account's key and reads them back.
func (h *house) shows(t *testing.T, p *world.Person, key string) {
	by := testkit.Must(h.APIKeys.Authenticate(t.Context(), key, netip.MustParseAddr("192.0.2.1")))(t)
	d := h.Demo(p.Organization, "demo")
	ws := testkit.Must(h.Resolver.Workspace(t.Context(), p.Organization.ID, d.Workspace))(t)
	server, _ := ws.Server("demo")
	use := func(name, arguments string) {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + name + `","arguments":` + arguments + `}}`
		a, err := h.Calls.Do(t.Context(), &call.Request{CallID: id.NewRaw(), Door: "gateway", Request: upstream.Request{Server: server, By: by, Revision: mcp.LatestLegacy,
			Method: mcp.MethodToolsCall, Name: name, ID: []byte("1"), Body: []byte(body)}}, quiet{})
		testkit.Must0(t, err)
		a.Release()
	}
	use("echo", `{"text":"x"}`)
	use("echo", `{"text":"y"}`)
	use("now", `{"zone":"Nowhere"}`)
	u := h.want(p.Token, "GET", "/usage?days=1", 200, map[string]any{"total_calls": 3.0, "period_days": 1.0})
	first := u["tool_calls"].([]any)[0].(map[string]any)
	for _, name := range strings.Fields("request_id tool_name credits_cost credits_charged success is_backend_error error_code latency_ms created_at") {
		if _, there := first[name]; !there {
			t.Errorf("a call has no %s", name)
		}
	}
	if first["tool_name"] != "now" || first["success"] != false || first["error_code"] != "tool_error" || first["credits_charged"] != 1.0 {
		t.Errorf("%v", first)
	}
	h.want(p.Token, "GET", "/usage?tool_name=echo&success_only=true&limit=1&offset=1", 200, map[string]any{"total_calls": 2.0, "period_days": 7.0})
	s := h.want(p.Token, "GET", "/usage/summary", 200, map[string]any{"credits_balance": 47.0, "credits_tier": "free", "credits_monthly_allocation": 50.0, "credits_used_today": 3.0,
		"credits_used_this_month": 3.0, "total_calls_today": 3.0, "total_calls_this_month": 3.0, "success_rate": 66.7,
		"tool_breakdown": []any{map[string]any{"tool": "echo", "calls": 2.0, "credits": 2.0}, map[string]any{"tool": "now", "calls": 1.0, "credits": 1.0}}})
	now := time.Now().UTC()
	left := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now.Truncate(24*time.Hour)) / (24 * time.Hour)
	testkit.Equal(t, s["days_until_refill"], any(float64(left)))
	h.want(p.Token, "GET", "/account", 200, map[string]any{"total_tool_calls": 3.0, "total_credits_used": 3.0, "credits_balance": 47.0})
}

type quiet struct{}

func (quiet) Event([]byte, *mcp.Envelope) error { return nil }

func TestSummaryOfNothing(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	p := h.Tenant("ada")
	h.want(p.Token, "POST", "/enable", 200, nil)
	h.want(p.Token, "GET", "/usage/summary", 200, map[string]any{"success_rate": 100.0, "avg_latency_ms": 0.0, "tool_breakdown": []any{}, "total_calls_today": 0.0, "credits_used_this_month": 0.0})
	h.want(p.Token, "GET", "/usage", 200, map[string]any{"total_calls": 0.0, "period_days": 7.0, "tool_calls": []any{}})
}

func TestValuesOutOfRange(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{})
	p := h.Tenant("ada")
	h.want(p.Token, "POST", "/enable", 200, nil)
	for _, q := range []string{"days=0", "days=91", "days=x", "limit=0", "limit=501", "offset=-1", "success_only=maybe", "dayz=1"} {
		code, body, raw := h.as(p.Token, "GET", "/usage?"+q)
		d, _ := body["detail"].(map[string]any)
		if code != 422 || d["code"] == nil || d["message"] == nil {
			t.Errorf("%s: %d %s", q, code, raw)
		}
	}
	for _, q := range []string{"days=1", "days=90", "limit=1", "limit=500", "offset=0"} {
		h.want(p.Token, "GET", "/usage?"+q, 200, nil)
	}
}

func TestBadCredentials(t *testing.T) {
	now := time.Now()
	h := newHouse(t, testkit.SQLite(t), world.Options{Now: func() time.Time { return now }})
	p := h.Tenant("ada")
	_, personal := h.Key(p.Organization, access.PersonalKey, p.ID)
	for _, c := range []struct{ header, text string }{
		{"", "Missing Authorization header"}, {"Authorization: Basic eDp5", "Invalid Authorization header format"}, {"Authorization: Bearer", "Invalid Authorization header format"},
		{"Authorization: " + p.Token, "Invalid Authorization header format"}, {"Authorization: Bearer junk", "Invalid token"}, {"Authorization: Bearer " + p.Token + "x", "Invalid token"},
		{"Authorization: Bearer " + personal, "Invalid token"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		code, body, _ := h.as("", "GET", "/account", headers...)
		if code != 401 || body["detail"] != c.text {
			t.Errorf("%q: %d %v, want %q", c.header, code, body, c.text)
		}
	}
	t.Run("keys do not make keys", func(t *testing.T) {
		for _, key := range []string{personal, "mcp_sk_garbage", "mcp_garbage", "sk_x"} {
			code, body, _ := h.as(key, "POST", "/enable")
			if d, _ := body["detail"].(map[string]any); code != 403 || d["code"] != "forbidden" {
				t.Errorf("%s: %d %v", key, code, body)
			}
		}
	})
	t.Run("an expired token says so", func(t *testing.T) {
		now = now.Add(time.Hour)
		h.want(p.Token, "GET", "/account", 401, map[string]any{"detail": "Token expired"})
	})
}

func TestEnableAtOnce(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		p := h.Tenant("ada")
		before := testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM accounts`))(t)
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				code, body, raw := h.as(p.Token, "POST", "/enable")
				word := "enabled"
				if code != 200 {
					d, _ := body["detail"].(map[string]any)
					word, _ = d["code"].(string)
				}
				mu.Lock()
				defer mu.Unlock()
				if got[word]++; word != "enabled" && word != "already_enabled" {
					t.Errorf("%d %s", code, raw)
				}
			})
		}
		wg.Wait()
		testkit.Equal(t, got, map[string]int{"enabled": 1, "already_enabled": 99})
		count := func(query string, args ...any) int64 {
			return testkit.Must(db.Value[int64](context.Background(), s, query, args...))(t)
		}
		c := testkit.Must(h.Credits.Of(t.Context(), p.Organization.ID, p.ID))(t)
		if n := count(`SELECT COUNT(*) FROM accounts`) - before; n != 1 || c.Balance() != 50 {
			t.Errorf("%d accounts, balance %d", n, c.Balance())
		}
		if n := count(`SELECT COUNT(*) FROM entries WHERE account_id = $1`, c.ID); n != 1 {
			t.Errorf("%d entries", n)
		}
		if n := count(`SELECT COUNT(*) FROM keys WHERE account_id = $1`, c.ID); n != 1 {
			t.Errorf("%d keys", n)
		}
	})
}

const issuerSecret = "an HS256 secret of more than thirty-two bytes"

// issuer is one of somebody else's, whose tokens outside makes.
var issuer = identity.Issuer{URL: "https://main.example", Audience: "headgate", Algorithm: "HS256", Secret: seal.NewValue(issuerSecret), TrustEmail: true, Provision: true}

// outside is a token of the issuer with these claims.
func outside(t *testing.T, claims map[string]any) string {
	all := map[string]any{"iss": issuer.URL, "aud": issuer.Audience, "sub": "u-1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(testkit.Must(json.Marshal(v))(t)) }
	signed := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(all)
	mac := hmac.New(sha256.New, []byte(issuerSecret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func TestExternalIssuer(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t), world.Options{Issuers: []identity.Issuer{issuer}})
	token := func(claims map[string]any) string { return outside(t, claims) }
	h.want(token(map[string]any{"email": "Ada@Example.com"}), "POST", "/enable", 200, map[string]any{"success": true})
	h.want(token(map[string]any{"email": "ada@example.com"}), "GET", "/account", 200, map[string]any{"user_email": "ada@example.com", "credits_balance": 50.0})
	h.want(token(map[string]any{"sub": "u-2"}), "GET", "/account", 401, map[string]any{"detail": "Invalid token: missing email"})
	h.want(token(map[string]any{"email": "ada@example.com", "exp": time.Now().Add(-time.Hour).Unix()}), "GET", "/account", 401, map[string]any{"detail": "Token expired"})
	h.want(token(map[string]any{"email": "ada@example.com", "aud": "other"}), "GET", "/account", 401, map[string]any{"detail": "Invalid token"})
}

// A server's failure is told and not charged (security.md B03, at this door).
func TestBackendFailure(t *testing.T) {
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "boom", http.StatusInternalServerError)
	})
	h := newHouse(t, testkit.SQLite(t), world.Options{Builtins: upstream.Builtins{"broken": broken}})
	p := h.Tenant("ada")
	key := h.want(p.Token, "POST", "/enable", 200, nil)["mcp_api_key"].(string)
	by := testkit.Must(h.APIKeys.Authenticate(t.Context(), key, netip.MustParseAddr("192.0.2.1")))(t)
	d := h.Builtin(p.Organization, "broken", "broken")
	ws := testkit.Must(h.Resolver.Workspace(t.Context(), p.Organization.ID, d.Workspace))(t)
	server, _ := ws.Server("broken")
	_, err := h.Calls.Do(t.Context(), &call.Request{CallID: id.NewRaw(), Door: "gateway", Request: upstream.Request{Server: server, By: by, Revision: mcp.LatestLegacy,
		Method: mcp.MethodToolsCall, Name: "echo", ID: []byte("1"), Body: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`)}}, quiet{})
	testkit.Fault(t, err, upstream.ErrFailed.Code)
	u := h.want(p.Token, "GET", "/usage", 200, map[string]any{"total_calls": 1.0})
	one := u["tool_calls"].([]any)[0].(map[string]any)
	testkit.Equal(t, []any{one["success"], one["is_backend_error"], one["credits_cost"], one["credits_charged"]}, []any{false, true, 1.0, 0.0})
	if code, _ := one["error_code"].(string); code == "" {
		t.Errorf("no error_code in %v", one)
	}
	h.want(p.Token, "GET", "/usage?success_only=true", 200, map[string]any{"total_calls": 0.0, "tool_calls": []any{}})
	h.want(p.Token, "GET", "/usage/summary", 200, map[string]any{"credits_balance": 50.0, "credits_used_today": 0.0, "total_calls_today": 1.0, "success_rate": 0.0})
	h.want(p.Token, "GET", "/account", 200, map[string]any{"credits_balance": 50.0, "total_credits_used": 0.0})
}
