package spec_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/app/gen/spec"
)

// document is one with the operation and schemas given.
func document(path, operation, schemas string) []byte {
	return fmt.Appendf(nil, `{"openapi":"3.1.0","info":{"title":"T"},"servers":[{"url":"/v1"}],"paths":{%q:{"post":%s}},"components":{"schemas":{%s}}}`, path, operation, schemas)
}

const done = `"responses":{"204":{"description":"No Content"}}`

func TestParse(t *testing.T) {
	t.Run("resolves references, cycles too, and takes extensions", func(t *testing.T) {
		d, err := spec.Parse(document("/x/{id}", `{"operationId":"x","summary":"X","security":[{"bearer":[]}],"x-permission":"p","x-scope":"s",
			"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}},{"name":"Idempotency-Key","in":"header","schema":{"type":"string"}},{"name":"c","in":"cookie","schema":{"type":"string"}}],
			"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Tree"}}}},"404":{"description":"Not Found: NOPE"}}}`,
			`"Tree":{"type":"object","properties":{"left":{"$ref":"#/components/schemas/Tree"},"at":{"type":["string","null"]}}}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := d.Operations[0]
		if o.Path != "/v1/x/{id}" || o.Public || o.Permission != "p" || o.Scope != "s" || !o.Idempotent || len(o.Params) != 1 || len(o.Failures) != 1 {
			t.Errorf("got %+v", o)
		}
		if o.Answer.Properties["left"] != o.Answer || o.Answer.Name != "Tree" || !o.Answer.Properties["at"].Nullable {
			t.Errorf("got %+v", o.Answer)
		}
	})
	t.Run("takes 202 of a gated operation, and a second status of the same answer, for no other success", func(t *testing.T) {
		answer := `{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/S"}}}}`
		d, err := spec.Parse(document("/x", `{"operationId":"x","x-gate":"destructive","responses":{"200":`+answer+`,"202":{},"207":`+answer+`}}`, `"S":{"type":"object"}`), nil)
		if err != nil || !d.Operations[0].Gated || d.Operations[0].Status != 200 {
			t.Errorf("got %+v, %v", d, err)
		}
	})
	t.Run("keeps the order it is told", func(t *testing.T) {
		text := fmt.Appendf(nil, `{"paths":{"/a":{"get":{"operationId":"a",%s}},"/b":{"get":{"operationId":"b",%s}}}}`, done, done)
		d, err := spec.Parse(text, []string{"b", "a"})
		if err != nil || d.Operations[0].ID != "b" {
			t.Error(err)
		}
	})
	for promise, text := range map[string][]byte{
		"a path parameter without a description": document("/x/{id}", `{"operationId":"x",`+done+`}`, ""),
		"an operation without an id":             document("/x", `{`+done+`}`, ""),
		"no answer of success":                   document("/x", `{"operationId":"x","responses":{"404":{}}}`, ""),
		"two answers of success":                 document("/x", `{"operationId":"x","responses":{"200":{},"204":{}}}`, ""),
		"202 of an operation without a gate":     document("/x", `{"operationId":"x","responses":{"200":{},"202":{}}}`, ""),
		"a schema of several types":              document("/x", `{"operationId":"x",`+done+`}`, `"S":{"type":["string","integer"]}`),
		"a schema with a choice":                 document("/x", `{"operationId":"x",`+done+`}`, `"S":{"oneOf":[{"type":"string"}]}`),
		"a reference to nothing":                 document("/x", `{"operationId":"x",`+done+`}`, `"S":{"type":"object","properties":{"a":{"$ref":"#/components/schemas/Gone"}}}`),
		"no JSON":                                []byte("<html>"),
	} {
		t.Run("refuses "+promise, func(t *testing.T) {
			if d, err := spec.Parse(text, nil); err == nil {
				t.Errorf("accepted: %+v", d)
			}
		})
	}
}

func TestSample(t *testing.T) {
	var s spec.Schema
	if err := json.Unmarshal([]byte(`{"type":"object","required":["name","email","level","tags","kind","at"],"properties":{
		"name":{"type":"string","maxLength":4},"email":{"type":"string"},"level":{"type":"integer","minimum":5},"tags":{"type":"array","items":{"type":"string","minLength":9}},
		"kind":{"type":"string","enum":["b","a"]},"at":{"type":"string","format":"date-time"},"left":{"type":"string"}}}`), &s); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(spec.Sample(&s, "", false))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"exam","at":"2026-07-28T09:30:00.000Z","email":"ada@example.com","kind":"b","level":5,"tags":["examplexx"]}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if all, _ := json.Marshal(spec.Sample(&s, "", true)); !strings.Contains(string(all), `"left"`) {
		t.Errorf("optional fields were asked for: %s", all)
	}
}
