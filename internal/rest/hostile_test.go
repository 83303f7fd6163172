package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

type (
	ctx         = context.Context
	httpRequest = http.Request
)

// TestBodies is V7: nothing that two parsers could read differently passes.
func TestBodies(t *testing.T) {
	f := newFake(t)
	for name, body := range map[string]string{
		"null":                          `null`,
		"an array":                      `[{"name":"a"}]`,
		"a text":                        `"a"`,
		"a number":                      `1`,
		"white space":                   ` `,
		"half an object":                `{"name":"a"`,
		"two objects":                   `{"name":"a"}{"name":"b"}`,
		"text after it":                 `{"name":"a"}x`,
		"a comment":                     `{"name":"a"/* */}`,
		"a trailing comma":              `{"name":"a",}`,
		"a name twice":                  `{"name":"a","name":"b"}`,
		"a name twice by escape":        `{"name":"a","n\u0061me":"b"}`,
		"a name twice, deep":            `{"name":"a","extra":{"x":[{"y":1,"y":2}]}}`,
		"a name in another case":        `{"Name":"a"}`,
		"a name in both cases":          `{"name":"a","NAME":"b"}`,
		"a name with a folding rune":    `{"name":"a","\u017fecret":"b"}`,
		"a nested name in another case": `{"name":"a","inner":{"Kind":"a"}}`,
		"an unknown name":               `{"name":"a","role":"owner"}`,
		"an unknown nested name":        `{"name":"a","inner":{"kind":"a","role":"owner"}}`,
		"broken UTF-8":                  "{\"name\":\"\xff\"}",
		"NUL in a text":                 `{"name":"a\u0000b"}`,
		"NUL in a name":                 `{"name":"a","extra":{"\u0000":1}}`,
		"a byte order mark":             "\ufeff{\"name\":\"a\"}",
		"a text for a number":           `{"name":"a","level":"5"}`,
		"a fraction for an integer":     `{"name":"a","level":1.5}`,
		"a number out of all range":     `{"name":"a","level":1e400}`,
		"null for a needed field":       `{"name":null}`,
		"depth":                         `{"name":"a","extra":` + strings.Repeat(`{"a":`, 64) + `1` + strings.Repeat(`}`, 64) + `}`,
		"no needed field":               `{}`,
		"nothing":                       ``,
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, f.call("POST", "/v1/things", body), 400, "VALIDATION_ERROR")
		})
	}
	if f.made != 0 {
		t.Errorf("the handler ran %d times", f.made)
	}
	t.Run("what is odd but plain passes", func(t *testing.T) {
		for _, body := range []string{
			`{"name":"a","extra":{"a":1,"A":2}}`, " \r\n{\t\"name\":\"a\"}\n", `{"name":"a","extra":null,"link":null}`, `{"name":"\ud83d\ude00"}`,
		} {
			if w := f.call("POST", "/v1/things", body); w.Code != 201 {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
	})
}

// TestNoEcho: huma repeats rejected values by default, and so do many of the
// errors inside it.
func TestNoEcho(t *testing.T) {
	const canary = "cAnArY0123456789cAnArY0123456789"
	f := newFake(t)
	quoted, _ := json.Marshal(canary)
	text := string(quoted)
	for _, body := range []string{
		`{"name":` + text + `}`, `{"name":{"x":` + text + `}}`, `{"name":"a","link":"http://%zz` + canary + `"}`, `{"name":"a","link":"::` + canary + `"}`, `{"name":"a","link":"http://%zz\"` + canary + `"}`,
		`{"name":"a","mail":"` + canary + ` <"}`, `{"name":"a","level":` + text + `}`, `{"name":"a","secret":` + text + `}`,
		`{"name":"a","inner":{"kind":` + text + `}}`, `{"name":"a","inner":` + text + `}`, `{"name":"a","` + canary + `":1}`, canary, `{"` + canary,
		`{"name":"a","inner":{"kind":"a","` + canary + `":1}}`, `{"name":"a","extra":` + text + `}`, `{"name":"a","a b` + canary + `":1}`,
	} {
		if w := f.call("POST", "/v1/things", body); w.Code != 400 || strings.Contains(w.Body.String(), "cAnArY") {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	for _, path := range []string{
		"/v1/things?limit=" + canary, "/v1/things?page=" + canary, "/v1/things?filter=" + canary, "/v1/things?" + canary + "=1", "/v1/things?filter=%zz" + canary,
		"/v1/things?cursor=" + canary, "/v1/" + canary, "/v1/things/" + canary + strings.Repeat("x", 64),
	} {
		if w := f.call("GET", path, ""); w.Code < 400 || strings.Contains(w.Body.String(), "cAnArY") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	t.Run("but a mistyped name is told", func(t *testing.T) {
		got := wantFailure(t, f.call("POST", "/v1/things", `{"name":"a","nmae":1}`), 400, "VALIDATION_ERROR")
		if !strings.Contains(string(got.Error.Details), `"field":"body.nmae"`) {
			t.Errorf("%s", got.Error.Details)
		}
	})
}

func FuzzBody(f *testing.F) {
	f.Add(`{"name":"a"}`)
	f.Add(`{"name":"a","name":"b"}`)
	f.Add(`{"name":"a","extra":{"x":[1,{"y":null}]}}`)
	fake := newFake(f)
	f.Fuzz(func(t *testing.T, body string) {
		w := fake.call("POST", "/v1/things", body)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

func checkDocument(t *testing.T, doc []byte) {
	t.Helper()
	loaded, err := openapi3.NewLoader().LoadFromData(doc)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Paths.Find("/things/{id}") == nil {
		t.Error("a path is missing")
	}
}
