package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
)

// failure is the Platform form, as a client reads it.
type failure struct {
	Success *bool `json:"success"`
	Error   *struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	} `json:"error"`
}

// wantFailure checks status, word and the form of a Platform failure.
func wantFailure(t *testing.T, w *httptest.ResponseRecorder, status int, code string) failure {
	t.Helper()
	var f failure
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || f.Success == nil || *f.Success || f.Error == nil {
		t.Fatalf("%d %s is no failure of the Platform form", w.Code, w.Body)
	}
	if w.Code != status || f.Error.Code != code {
		t.Errorf("got %d %s (%s), want %d %s", w.Code, f.Error.Code, f.Error.Message, status, code)
	}
	if !strings.HasPrefix(string(f.Error.Details), "{") || f.Error.Message == "" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("details %s, message %q, type %q", f.Error.Details, f.Error.Message, w.Header().Get("Content-Type"))
	}
	return f
}

func TestGuards(t *testing.T) {
	long := `{"name":"` + strings.Repeat("x", 1000) + `"}`
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code                     string
	}{
		{"no credential", "GET", "/v1/things", "", []string{"-Authorization"}, 401, "AUTH_TOKEN_INVALID"},
		{"an unknown one", "GET", "/v1/things", "", []string{"Authorization: Bearer mcp_sk_nobody"}, 401, "AUTH_TOKEN_INVALID"},
		{"a role that may not", "DELETE", "/v1/things/one", "", []string{"Authorization: Bearer " + viewerKey}, 403, "AUTH_INSUFFICIENT_SCOPE"},
		{"permission before the body", "POST", "/v1/things", "{", []string{"Authorization: Bearer " + viewerKey}, 403, "AUTH_INSUFFICIENT_SCOPE"},
		{"no such thing", "GET", "/v1/things/none", "", nil, 404, "RESOURCE_NOT_FOUND"},
		{"no such path", "GET", "/v1/nothing", "", nil, 404, "RESOURCE_NOT_FOUND"},
		{"no such path is so without a credential", "GET", "/v1/nothing", "", []string{"-Authorization"}, 404, "RESOURCE_NOT_FOUND"},
		{"a body of another type", "POST", "/v1/things", "name=x", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"a body of no type", "POST", "/v1/things", "{}", []string{"-Content-Type"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"a body in another charset", "POST", "/v1/things", "{}", []string{"Content-Type: application/json; charset=utf-16"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"a compressed body", "POST", "/v1/things", "{}", []string{"Content-Encoding: gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"},
		{"a body over the limit", "POST", "/v1/things", long, nil, 413, "PAYLOAD_TOO_LARGE"},
		{"a limit above 100", "GET", "/v1/things?limit=101", "", nil, 400, "VALIDATION_ERROR"},
		{"page 0", "GET", "/v1/things?page=0", "", nil, 400, "VALIDATION_ERROR"},
		{"a limit that is no number", "GET", "/v1/things?limit=1e1", "", nil, 400, "VALIDATION_ERROR"},
		{"an unknown parameter", "GET", "/v1/things?pgae=2", "", nil, 400, "VALIDATION_ERROR"},
		{"fields where none are taken", "DELETE", "/v1/things/one", `{"a":1}`, nil, 400, "VALIDATION_ERROR"},
		{"a handler that took too long", "GET", "/v1/things/slow", "", nil, 503, "SERVICE_UNAVAILABLE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantFailure(t, newFake(t).call(c.method, c.path, c.body, c.headers...), c.status, c.code)
		})
	}
	t.Run("a body over the limit without a length", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/v1/things", strings.NewReader(long))
		r.ContentLength = -1
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+ownerKey)
		w := httptest.NewRecorder()
		newFake(t).ServeHTTP(w, r)
		wantFailure(t, w, 413, "PAYLOAD_TOO_LARGE")
	})
	t.Run("a 401 says how", func(t *testing.T) {
		if got := newFake(t).call("GET", "/v1/things", "", "-Authorization").Header().Get("WWW-Authenticate"); got == "" {
			t.Error("no WWW-Authenticate")
		}
	})
	t.Run("a refused method names those there are", func(t *testing.T) {
		w := newFake(t).call("PUT", "/v1/things/one", "")
		wantFailure(t, w, 405, "METHOD_NOT_ALLOWED")
		if got := w.Header().Get("Allow"); got != "DELETE, GET, HEAD" {
			t.Errorf("Allow: %q", got)
		}
	})
	t.Run("every answer shows a rate, and refused strangers spend their address's", func(t *testing.T) {
		f := newFake(t)
		f.quota = rest.Quota{Limit: 60, Remaining: 59, Reset: time.Unix(100, 0)}
		for _, path := range []string{"/v1/things", "/v1/nothing", "/v1/openapi.json", "/v1/things?api_key=x", "/v1/things?limit=0"} {
			for _, h := range []string{"Authorization: Bearer " + ownerKey, "Authorization: Bearer mcp_sk_nobody", "-Authorization"} {
				w := f.call("GET", path, "", h)
				if w.Header().Get("X-RateLimit-Limit") != "60" || w.Header().Get("X-RateLimit-Remaining") != "59" || w.Header().Get("X-RateLimit-Reset") != "100" {
					t.Errorf("%s with %q: %d %v", path, h, w.Code, w.Header())
				}
			}
		}
		f.limited = fault.New(fault.Throttled, "test.rate", "Slow down.")
		for _, path := range []string{"/v1/things", "/v1/nothing", "/v1/openapi.json"} {
			wantFailure(t, f.call("GET", path, "", "-Authorization"), 429, "RATE_LIMIT_EXCEEDED")
		}
	})
	t.Run("answers of 500 and above are reported, with who asked for what", func(t *testing.T) {
		var got []string
		f := newFake(t, func(c *rest.Config) {
			c.Failed = func(ctx context.Context, f *fault.Error) {
				got = append(got, rest.CurrentOp(ctx).ID+" "+rest.Principal(ctx).ID+" "+f.Code)
			}
		})
		for _, path := range []string{"/v1/things/broken", "/v1/things/panic", "/v1/things/none", "/v1/things/slow"} {
			f.call("GET", path, "")
		}
		testkit.Equal(t, got, []string{"getThing key_1 internal", "getThing key_1 internal", "getThing key_1 rest.slow"})
	})
	t.Run("keys are refused on key routes before they are looked at", func(t *testing.T) {
		f := newFake(t)
		var first string
		for _, key := range []string{ownerKey, "mcp_sk_garbage", "sk_live_x"} {
			w := f.call("GET", "/v1/keys", "", "Authorization: Bearer "+key)
			if key == "sk_live_x" { // its own kind, which this operation does not name
				wantFailure(t, w, 401, "AUTH_TOKEN_INVALID")
				continue
			}
			wantFailure(t, w, 403, "AUTH_INSUFFICIENT_SCOPE")
			if first == "" {
				first = w.Body.String()
			}
			if w.Body.String() != first || f.asked != 0 {
				t.Errorf("%s: %s after %d look-ups", key, w.Body, f.asked)
			}
		}
		if w := f.call("GET", "/v1/keys", "", "Authorization: Bearer "+session); w.Code != 200 {
			t.Errorf("a session got %d", w.Code)
		}
	})
}

func TestAnswers(t *testing.T) {
	f := newFake(t)
	t.Run("a page has its envelope, and an empty list is a list", func(t *testing.T) {
		w := f.call("GET", "/v1/things?page=2&limit=10", "")
		want := `{"success":true,"data":{"things":[]},"meta":{"pagination":{"total":41,"page":2,"limit":10,"pages":5},"nextCursor":`
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("values come back as they were: big integers, objects, times, text", func(t *testing.T) {
		w := f.call("POST", "/v1/things", `{"name":"<é&>","extra":{"n":9007199254740993,"z":1,"a":[]}}`)
		want := `{"success":true,"data":{"id":"thing_1","name":"<é&>","tags":[],"extra":{"n":9007199254740993,"z":1,"a":[]},` +
			`"createdAt":"1970-01-01T00:00:01.005Z","big":0},"meta":{"message":"Made"}}` + "\n"
		testkit.Equal(t, w.Body.String(), want)
		if w.Code != 201 {
			t.Errorf("status %d", w.Code)
		}
		if w := f.call("GET", "/v1/things/one", ""); !strings.Contains(w.Body.String(), `"createdAt":null,"big":4611686018427387905}`) {
			t.Errorf("%s", w.Body)
		}
	})
	t.Run("None is 204", func(t *testing.T) {
		if w := f.call("DELETE", "/v1/things/one", ""); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
	t.Run("no body is an empty object where no field is needed", func(t *testing.T) {
		for _, body := range []string{"", "{}", " {\n} "} {
			if w := f.call("POST", "/v1/search", body); w.Code != 200 {
				t.Errorf("%q: %d %s", body, w.Code, w.Body)
			}
			if w := f.call("DELETE", "/v1/things/one", body); w.Code != 204 {
				t.Errorf("%q: %d %s", body, w.Code, w.Body)
			}
		}
	})
	t.Run("a public operation looks at no credential", func(t *testing.T) {
		w := f.call("GET", "/v1/public", "", "Authorization: Bearer expired", "+Authorization: twice")
		if w.Code != 200 || !strings.Contains(w.Body.String(), "by anonymous") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("a stream answers errors like everybody until it begins", func(t *testing.T) {
		if w := f.call("GET", "/v1/events", ""); w.Body.String() != "data: 1\n\n" || w.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s %s", w.Header(), w.Body)
		}
		f.fail = errMissing
		defer func() { f.fail = nil }()
		wantFailure(t, f.call("GET", "/v1/events", ""), 404, "RESOURCE_NOT_FOUND")
	})
	t.Run("every answer has a request id", func(t *testing.T) {
		for _, path := range []string{"/v1/things", "/v1/nothing", "/v1/things/panic"} {
			if got := f.call("GET", path, "").Header().Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
				t.Errorf("%s: %q", path, got)
			}
		}
	})
}

func TestRate(t *testing.T) {
	f := newFake(t)
	f.quota = rest.Quota{Limit: 60, Remaining: 7, Reset: time.Unix(1700000000, 0)}
	headers := func(w *httptest.ResponseRecorder) []string {
		h := w.Header()
		return []string{h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset")}
	}
	t.Run("what is left is on every answer, refusals too", func(t *testing.T) {
		for _, path := range []string{"/v1/things", "/v1/things/none", "/v1/things?limit=0", "/v1/things/panic"} {
			testkit.Equal(t, headers(f.call("GET", path, "")), []string{"60", "7", "1700000000"})
		}
	})
	t.Run("a throttled caller is told how long, in whole seconds rounded up", func(t *testing.T) {
		f.limited = fault.New(fault.Throttled, "quota.rate", "Too fast.").After(1200 * time.Millisecond)
		f.quota.Remaining = -3
		defer func() { f.limited = nil }()
		w := f.call("GET", "/v1/things", "")
		wantFailure(t, w, 429, "RATE_LIMIT_EXCEEDED")
		testkit.Equal(t, append(headers(w), w.Header().Get("Retry-After")), []string{"60", "0", "1700000000", "2"})
	})
}

func TestInternalErrors(t *testing.T) {
	for path, secret := range map[string]string{"/v1/things/panic": "secret-in-a-panic", "/v1/things/broken": "secret-in-an-error"} {
		t.Run(path+" reaches the log once and the client never", func(t *testing.T) {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+ownerKey)
			r = r.WithContext(request.With(r.Context(), request.Info{ID: "req_test"}))
			w := httptest.NewRecorder()
			newFake(t).ServeHTTP(w, r)
			f := wantFailure(t, w, 500, "INTERNAL_SERVER_ERROR")
			if strings.Contains(w.Body.String(), "secret") || !strings.Contains(f.Error.Message, "req_test") {
				t.Errorf("%s", w.Body)
			}
			info := request.From(r.Context())
			if info.Err == nil || strings.Count(info.Err.Error(), secret) != 1 || info.Code != "internal" ||
				info.Route != "/v1/things/{id}" || info.Principal != "key_1" {
				t.Errorf("info %+v", info)
			}
		})
	}
	t.Run("an answer that JSON cannot hold is a 500, not half a 200", func(t *testing.T) {
		type badBody struct {
			N float64 `json:"n"`
		}
		d := rest.New(rest.Config{Base: "/x", Title: "x", Version: "1", Form: rest.PlatformForm(nil)})
		rest.Handle(d, rest.Op{Method: "GET", Path: "/n", ID: "n", Summary: "n", Public: true},
			func(_ ctx, _ *rest.None) (*badBody, error) { zero := 0.0; return &badBody{1 / zero}, nil })
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", "/x/n", nil))
		wantFailure(t, w, 500, "INTERNAL_SERVER_ERROR")
	})
	t.Run("a panic after the answer began ends the connection", func(t *testing.T) {
		d := rest.New(rest.Config{Base: "/x", Title: "x", Version: "1", Form: rest.PlatformForm(nil)})
		rest.Stream(d, rest.Op{Method: "GET", Path: "/s", ID: "s", Summary: "s", Public: true}, "text/plain",
			func(ctx, *rest.None) (func(http.ResponseWriter), error) {
				return func(w http.ResponseWriter) { _, _ = w.Write([]byte("half")); panic("late") }, nil
			})
		defer func() {
			if v, _ := recover().(error); !errors.Is(v, http.ErrAbortHandler) {
				t.Errorf("recovered %v", v)
			}
		}()
		d.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x/s", nil))
	})
}

// TestRoutes is A16: one path has one spelling, and no header changes a method.
func TestRoutes(t *testing.T) {
	f := newFake(t)
	for _, path := range []string{
		"/v1//things", "//v1/things", "/v1/things/", "/V1/things", "/v1/Things", "/v1/./things", "/v1/x/../things", "/v1/things/one/..",
		"/v1/things%2Fone", "/v1;/things", "/v1/things;", "/v1/%74hings/", "/v1", "/v1/",
	} {
		t.Run(path, func(t *testing.T) {
			wantFailure(t, f.call("GET", path, ""), 404, "RESOURCE_NOT_FOUND")
		})
	}
	t.Run("an encoded slash stays inside its part", func(t *testing.T) {
		wantFailure(t, f.call("GET", "/v1/things/..%2Fkeys", ""), 404, "RESOURCE_NOT_FOUND")
	})
	t.Run("NUL, broken UTF-8 and broken escapes are 400", func(t *testing.T) {
		for _, path := range []string{"/v1/things/%00", "/v1/things/%ff", "/v1/things?filter=%00", "/v1/things?filter=%ff", "/v1/things?filter=%zz", "/v1/things?a;b"} {
			wantFailure(t, f.call("GET", path, ""), 400, "VALIDATION_ERROR")
		}
	})
	t.Run("method overrides are ignored", func(t *testing.T) {
		w := f.call("GET", "/v1/things/one", "", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE")
		if w.Code != 200 {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("HEAD is a GET without its body", func(t *testing.T) {
		w := f.call("HEAD", "/v1/things/none", "")
		if w.Code != 404 {
			t.Errorf("got %d", w.Code)
		}
	})
}

func TestCursor(t *testing.T) {
	f := newFake(t)
	next := func(path string, headers ...string) (int, string) {
		w := f.call("GET", path, "", headers...)
		var page struct {
			Meta rest.Paged `json:"meta"`
		}
		_ = json.Unmarshal(w.Body.Bytes(), &page)
		return w.Code, page.Meta.NextCursor
	}
	_, cursor := next("/v1/things?filter=a")
	if status, after := next("/v1/things?filter=a&cursor=" + cursor); status != 200 || after == "" {
		t.Fatalf("the cursor of a list does not open for it: %d", status)
	}
	for name, path := range map[string]string{
		"another filter": "/v1/things?filter=b&cursor=" + cursor,
		"a changed text": "/v1/things?filter=a&cursor=A" + cursor[1:],
		"junk":           "/v1/things?filter=a&cursor=%21",
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			if path[len(path)-1] != '1' && cursor[0] == 'A' && name == "a changed text" {
				path = strings.Replace(path, "cursor=A", "cursor=B", 1)
			}
			wantFailure(t, f.call("GET", path, ""), 400, "VALIDATION_ERROR")
		})
	}
	t.Run("another person's is refused", func(t *testing.T) {
		wantFailure(t, f.call("GET", "/v1/things?filter=a&cursor="+cursor, "", "Authorization: Bearer "+otherKey), 400, "VALIDATION_ERROR")
	})
}

func TestDocument(t *testing.T) {
	f := newFake(t)
	t.Run("it is public, and what the golden file says", func(t *testing.T) {
		w := f.call("GET", "/v1/openapi.json", "", "-Authorization")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
			t.Errorf("%d %s", w.Code, w.Header())
		}
		testkit.Golden(t, "openapi.json", append(w.Body.Bytes(), '\n'))
	})
	t.Run("it loads in another implementation", func(t *testing.T) { checkDocument(t, f.call("GET", "/v1/openapi.json", "").Body.Bytes()) })
	t.Run("operations can be walked", func(t *testing.T) {
		var ids []string
		for _, op := range f.Operations() {
			ids = append(ids, op.ID)
		}
		if !slices.Contains(ids, "makeThing") || len(ids) != 8 {
			t.Errorf("%v", ids)
		}
	})
}

func TestRegister(t *testing.T) {
	good := rest.Op{Method: "GET", Path: "/a", ID: "a", Summary: "a", Public: true}
	for name, spoil := range map[string]func(*rest.Op){
		"nobody said who may":          func(o *rest.Op) { o.Public = false },
		"two things said who may":      func(o *rest.Op) { o.Permission = access.Read },
		"the permission is unknown":    func(o *rest.Op) { o.Public, o.Permission = false, "made.up" },
		"there is no id":               func(o *rest.Op) { o.ID = "" },
		"there is no summary":          func(o *rest.Op) { o.Summary = "" },
		"it cannot be kept idempotent": func(o *rest.Op) { o.Idempotent = true },
	} {
		t.Run("an operation does not register when "+name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it did")
				}
			}()
			op := good
			spoil(&op)
			d := rest.New(rest.Config{Base: "/x", Title: "x", Version: "1", Form: rest.PlatformForm(nil)})
			rest.Handle(d, op, func(ctx, *rest.None) (*rest.None, error) { return nil, nil })
		})
	}
	t.Run("an operation does not register when its input embeds what huma passes over", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("it did")
			}
		}()
		d := rest.New(rest.Config{Base: "/x", Title: "x", Version: "1", Form: rest.PlatformForm(nil)})
		rest.Handle(d, good, func(ctx, *struct {
			Body struct {
				Inner []struct{ inner } `json:"inner"`
			}
		}) (*rest.None, error) {
			return nil, nil
		})
	})
}
