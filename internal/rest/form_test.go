package rest_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/testkit"
)

// TestForms is design.md section 6, door by door.
func TestForms(t *testing.T) {
	forms := map[string]rest.Form{
		"platform": rest.PlatformForm(map[string]string{"identity.expired": "AUTH_TOKEN_EXPIRED"}), "diagnostics": rest.DiagnosticsForm(nil),
		"app": rest.AppForm(nil), "account": rest.AccountForm(map[string]string{"account.off": "mcp_not_enabled"},
			map[string]string{"identity.expired": "Token expired", rest.ErrNoCredential.Code: "Missing Authorization header"}),
	}
	full := fault.New(fault.Conflict, "thing.exists", "Taken.").With("slug", "a")
	for _, c := range []struct {
		form   string
		fault  *fault.Error
		status int
		body   string
	}{
		{"platform", full, 409, `{"success":false,"error":{"code":"CONFLICT","message":"Taken.","details":{"slug":"a"}}}`},
		{"platform", kind(fault.Upstream), 500, `{"success":false,"error":{"code":"MCP_SERVICE_ERROR","message":"m","details":{}}}`},
		{"platform", kind(fault.Timeout), 500, `{"success":false,"error":{"code":"MCP_SERVICE_ERROR","message":"m","details":{}}}`},
		{"platform", kind(fault.UpstreamAuth), 401, `{"success":false,"error":{"code":"MCP_SERVICE_OAUTH_REQUIRED","message":"m","details":{}}}`},
		{"platform", kind(fault.Unconfigured), 400, `{"success":false,"error":{"code":"MCP_SERVICE_UNCONFIGURED","message":"m","details":{}}}`},
		{"platform", kind(fault.Unpaid), 402, `{"success":false,"error":{"code":"PAYMENT_REQUIRED","message":"m","details":{}}}`},
		{"platform", kind(fault.Gone), 410, `{"success":false,"error":{"code":"GONE","message":"m","details":{}}}`},
		{"platform", kind(fault.Unsupported), 422, `{"success":false,"error":{"code":"FEATURE_NOT_SUPPORTED","message":"m","details":{}}}`},
		{"platform", kind(fault.BadCredential), 401, `{"success":false,"error":{"code":"AUTH_TOKEN_INVALID","message":"m","details":{}}}`},
		{"platform", fault.New(fault.BadCredential, "identity.expired", "m"), 401, `{"success":false,"error":{"code":"AUTH_TOKEN_EXPIRED","message":"m","details":{}}}`},
		{"diagnostics", full, 409, `{"code":"CONFLICT","message":"Taken.","details":{"slug":"a"}}`},
		{"diagnostics", kind(fault.Upstream), 502, `{"code":"SERVER_UNREACHABLE","message":"m"}`},
		{"diagnostics", kind(fault.Timeout), 504, `{"code":"TIMEOUT","message":"m"}`},
		{"diagnostics", kind(fault.Unpaid), 403, `{"code":"FORBIDDEN","message":"m"}`},
		{"diagnostics", kind(fault.Gone), 404, `{"code":"NOT_FOUND","message":"m"}`},
		{"diagnostics", kind(fault.Unconfigured), 400, `{"code":"VALIDATION_ERROR","message":"m"}`},
		{"diagnostics", kind(fault.UpstreamAuth), 401, `{"code":"OAUTH_REQUIRED","message":"m"}`},
		{"app", full, 409, `{"error":{"code":"CONFLICT","message":"Taken.","details":{"slug":"a"}}}`},
		{"app", kind(fault.Unpaid), 402, `{"error":{"code":"PAYMENT_REQUIRED","message":"m"}}`},
		{"account", full, 409, `{"detail":{"code":"conflict","message":"Taken."}}`},
		{"account", fault.New(fault.NotFound, "account.off", ""), 404, `{"detail":{"code":"mcp_not_enabled"}}`},
		{"account", kind(fault.BadCredential), 401, `{"detail":"Invalid token"}`},
		{"account", rest.ErrNoCredential, 401, `{"detail":"Missing Authorization header"}`},
		{"account", fault.New(fault.BadCredential, "identity.expired", "m"), 401, `{"detail":"Token expired"}`},
		{"account", kind(fault.Invalid), 400, `{"detail":{"code":"validation_error","message":"m"}}`},
		{"account", rest.ErrInvalid.Saying("m"), 422, `{"detail":{"code":"validation_error","message":"m"}}`},
		{"account", rest.ErrUnreadable.Saying("m"), 400, `{"detail":{"code":"validation_error","message":"m"}}`},
	} {
		t.Run(c.form+" words "+c.fault.Code, func(t *testing.T) {
			status, body := forms[c.form].Answer(c.fault)
			text, err := json.Marshal(body)
			testkit.Must0(t, err)
			testkit.Equal(t, string(text), c.body)
			testkit.Equal(t, status, c.status)
		})
	}
	t.Run("every kind has a word on every door", func(t *testing.T) {
		for name, form := range forms {
			for k := fault.Internal; k <= fault.MediaType; k++ {
				if form.Code(kind(k)) == "" {
					t.Errorf("%s has none for kind %d", name, k)
				}
			}
		}
	})
}

func kind(k fault.Kind) *fault.Error { return fault.New(k, "x.y", "m") }

// TestDoors sends the same wrong requests to a door of each form.
func TestDoors(t *testing.T) {
	for _, c := range []struct {
		name                        string
		form                        rest.Form
		noCredential, invalid, path string
		invalidStatus               int
	}{
		{"diagnostics", rest.DiagnosticsForm(nil), `{"code":"UNAUTHORIZED",`, `{"code":"VALIDATION_ERROR",`, `{"code":"NOT_FOUND",`, 400},
		{"app", rest.AppForm(nil), `{"error":{"code":"UNAUTHORIZED",`, `{"error":{"code":"VALIDATION_ERROR",`, `{"error":{"code":"NOT_FOUND",`, 400},
		{"account", rest.AccountForm(nil, nil), `{"detail":"Invalid token"}`, `{"detail":{"code":"validation_error","message":"The request does not fit this operation: query.limit:`, `{"detail":{"code":"not_found",`, 422},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, func(cfg *rest.Config) { cfg.Form = c.form })
			for _, want := range []struct {
				method, path, credential string
				status                   int
				body                     string
			}{
				{"GET", "/v1/things", "-Authorization", 401, c.noCredential},
				{"GET", "/v1/things?limit=101", "X: ", c.invalidStatus, c.invalid},
				{"GET", "/v1/nothing", "X: ", 404, c.path},
				{"PUT", "/v1/things", "X: ", 405, ""},
			} {
				w := f.call(want.method, want.path, "", want.credential)
				if w.Code != want.status || !strings.HasPrefix(w.Body.String(), want.body) || !json.Valid(w.Body.Bytes()) {
					t.Errorf("%s %s: %d %s", want.method, want.path, w.Code, w.Body)
				}
			}
			if w := f.call("POST", "/v1/things", "["); w.Code != 400 {
				t.Errorf("a broken body: %d %s", w.Code, w.Body)
			}
			doc, err := f.Document()
			testkit.Must0(t, err)
			if want := `"422"`; strings.Contains(string(doc), want) != (c.invalidStatus == 422) {
				t.Error("the document's statuses are not the door's")
			}
		})
	}
}

// TestCredentials is K04, K05 and the ways of design.md section 3.
func TestCredentials(t *testing.T) {
	key := "sk_live_" + strings.Repeat("a1B2", 9)
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"Bearer", []string{"Authorization: Bearer " + ownerKey}, 200},
		{"ApiKey", []string{"Authorization: ApiKey " + ownerKey}, 200},
		{"a scheme in another case", []string{"Authorization: bEARER " + ownerKey}, 200},
		{"X-API-Key", []string{"-Authorization", "X-API-Key: " + ownerKey}, 200},
		{"the cookie", []string{"-Authorization", "Cookie: a=b; __Host-session=" + session}, 200},
		{"another cookie", []string{"-Authorization", "Cookie: session=" + session}, 401},
		{"the same one twice over", []string{"Authorization: Bearer " + ownerKey, "X-API-Key: " + ownerKey}, 200},
		{"two that disagree", []string{"Authorization: Bearer " + ownerKey, "X-API-Key: " + viewerKey}, 400},
		{"a key and a token", []string{"Authorization: Bearer " + session, "X-API-Key: " + ownerKey}, 400},
		{"a key and a cookie", []string{"Authorization: Bearer " + ownerKey, "Cookie: __Host-session=" + session}, 400},
		{"Authorization twice", []string{"+Authorization: Bearer " + ownerKey}, 400},
		{"X-API-Key twice", []string{"-Authorization", "X-API-Key: " + ownerKey, "+X-API-Key: " + ownerKey}, 400},
		{"the cookie twice", []string{"-Authorization", "Cookie: __Host-session=a; __Host-session=b"}, 400},
		{"two joined by a comma", []string{"Authorization: Bearer " + ownerKey + ",Bearer x"}, 401},
		{"Basic", []string{"Authorization: Basic YTpi"}, 401},
		{"a bare key", []string{"Authorization: " + ownerKey}, 401},
		{"an empty one", []string{"Authorization: Bearer "}, 401},
		{"an empty header", []string{"Authorization: "}, 401},
		{"two spaces", []string{"Authorization: Bearer  " + ownerKey}, 401},
		{"one with a tab", []string{"Authorization: Bearer " + ownerKey + "\t"}, 401},
		{"one outside ASCII", []string{"Authorization: Bearer kéy"}, 401},
		{"an endless one", []string{"Authorization: Bearer " + strings.Repeat("a", 4097)}, 401},
		{"SQL", []string{"Authorization: Bearer ' OR 1=1 --"}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			w := f.call("GET", "/v1/things", "", c.headers...)
			if w.Code != c.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.status != 200 && f.asked != 0 {
				t.Error("it was looked up")
			}
		})
	}
	for _, query := range []string{
		"api_key=x", "API_KEY=x", "apikey=x", "api-key=x", "x-api-key=x", "access_token=x", "Authorization=Bearer+x", "filter=" + key, "cursor=" + key, key + "=1",
		"api_key=",
	} {
		t.Run("in the URL, "+query[:6]+", it is refused on every path", func(t *testing.T) {
			for _, path := range []string{"/v1/things?", "/v1/public?", "/v1/nothing?", "/v1/openapi.json?"} {
				f := newFake(t)
				w := f.call("GET", path+query, "")
				if w.Code != 400 || strings.Contains(w.Body.String(), key) {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
			}
		})
	}
	t.Run("a word that only begins like a key may be searched for", func(t *testing.T) {
		if w := newFake(t).call("GET", "/v1/things?filter=ok_computer", ""); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("the longest prefix decides", func(t *testing.T) {
		c := rest.Credentials{Prefixes: []string{"sk_", "sk_live_", "mcp_", "mcp_sk_"}}
		testkit.Equal(t, []string{c.PrefixOf("sk_live_x"), c.PrefixOf("sk_x"), c.PrefixOf("mcp_sk_x"), c.PrefixOf("eyJ")}, []string{"sk_live_", "sk_", "mcp_sk_", ""})
	})
	t.Run("paired, a key may bring an end user's token, and nothing else", func(t *testing.T) {
		c := rest.Credentials{Prefixes: []string{"pk_live_", "sk_live_"}, Paired: true}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", "pk_live_x")
		r.Header.Set("Authorization", "Bearer e.y.j")
		got, err := c.Find(r)
		testkit.Must0(t, err)
		testkit.Equal(t, got, rest.Credential{Scheme: rest.XAPIKey, Value: "pk_live_x", Prefix: "pk_live_", User: "e.y.j"})
		r.Header.Set("Authorization", "Bearer sk_live_x")
		_, err = c.Find(r)
		testkit.Fault(t, err, rest.ErrCredentialTwice.Code)
	})
}

func TestOrigins(t *testing.T) {
	f := newFake(t, func(cfg *rest.Config) {
		cfg.AllowOrigin = originList("https://good.test")
	})
	t.Run("an allowed page is echoed, once", func(t *testing.T) {
		h := f.call("GET", "/v1/things", "", "Origin: https://good.test").Header()
		testkit.Equal(t, append(h["Access-Control-Allow-Origin"], h["Vary"]...), []string{"https://good.test", "Origin"})
		if h.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("cookies are allowed")
		}
	})
	for _, origin := range []string{"https://good.test.evil", "https://good.test:444", "http://good.test", "null", "https://u@good.test", "HTTPS://GOOD.TEST"} {
		t.Run(origin+" is refused", func(t *testing.T) {
			w := f.call("GET", "/v1/things", "", "Origin: "+origin)
			wantFailure(t, w, 403, "AUTH_INSUFFICIENT_SCOPE")
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("and echoed")
			}
		})
	}
	t.Run("no origin is judged too", func(t *testing.T) {
		wantFailure(t, f.call("GET", "/v1/things", ""), 403, "AUTH_INSUFFICIENT_SCOPE")
	})
	t.Run("a page can read that its credential is no good", func(t *testing.T) {
		w := f.call("GET", "/v1/things", "", "Authorization: Bearer expired", "Origin: https://good.test")
		wantFailure(t, w, 401, "AUTH_TOKEN_INVALID")
		testkit.Equal(t, w.Header().Get("Access-Control-Allow-Origin"), "https://good.test")
	})
	t.Run("a preflight needs no credential", func(t *testing.T) {
		w := f.call("OPTIONS", "/v1/things", "", "-Authorization", "Origin: https://any.test", "Access-Control-Request-Method: POST")
		if w.Code != 204 || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "X-API-Key") {
			t.Errorf("%d %s", w.Code, w.Header())
		}
	})
}

func originList(good string) func(*httpRequest, *access.Principal, string) bool {
	return func(_ *httpRequest, _ *access.Principal, origin string) bool { return origin == good }
}

// TestBeside: the App API shares /v1 with the Platform API, by the key's form.
func TestBeside(t *testing.T) {
	platform := newFake(t)
	app := newFake(t, func(cfg *rest.Config) { cfg.Base, cfg.Form = "/app/v1", rest.AppForm(nil) })
	ours := rest.Keyed("pk_live_", "sk_live_")
	h := app.Beside(platform.Door, ours)
	send := func(path, key string) string {
		r := httptest.NewRequest("GET", path, nil)
		if key != "" {
			r.Header.Set("X-API-Key", key)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Body.String()
	}
	if got := send("/v1/things", "pk_live_x"); !strings.HasPrefix(got, `{"error":{"code":"UNAUTHORIZED"`) {
		t.Errorf("a publishable key got %s", got)
	}
	if got := send("/v1/nothing", "sk_live_x"); !strings.HasPrefix(got, `{"error":{"code":"NOT_FOUND"`) {
		t.Errorf("a secret key on an unknown path got %s", got)
	}
	if got := send("/v1/things", ownerKey); !strings.HasPrefix(got, `{"success":true`) {
		t.Errorf("a personal key got %s", got)
	}
	r := httptest.NewRequest("OPTIONS", "/v1/things", nil)
	r.Header.Set("Access-Control-Request-Headers", "content-type, x-api-key")
	if !ours(r) {
		t.Error("the preflight of a keyed request is not the App API's")
	}
}
