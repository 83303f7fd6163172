package resttest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/rest"
)

// readOnly are names that callers would like to set and no body takes, unless
// its schema says so.
var readOnly = []string{"id", "role", "tenantId", "tenant_id", "organizationId", "userId", "balance", "scopes", "plan", "planId", "createdAt", "isActive", "success", "unknown", "__proto__"}

// Fields sends every operation bodies that are right but for one field that
// its schema does not have, at every depth. Each must be refused, naming the
// place: a field that is passed over today sets something tomorrow.
func (h Hostile) Fields(t *testing.T) {
	for i, op := range h.Door.Operations() {
		hop := documented(h.Door, op)
		if hop.RequestBody == nil || hop.RequestBody.Content["application/json"] == nil {
			continue
		}
		t.Run(op.ID, func(t *testing.T) {
			schema := hop.RequestBody.Content["application/json"].Schema
			g := &generator{rand: rand.New(rand.NewPCG(1, uint64(i))), door: h.Door, known: h.Known(op)}
			credential := h.Credential(op)
			for path, spoilt := range g.withStrangers(schema, "body", 0) {
				for _, name := range readOnly {
					body, ok := spoilt(name)
					if !ok {
						continue
					}
					in := &input{method: op.Method, target: h.Door.Base() + fill(op, g.known, nil), header: http.Header{"Content-Type": {"application/json"}}, hasBody: true}
					in.body, _ = json.Marshal(body)
					a := h.ask(t, op, in, credential)
					if a.Code != http.StatusBadRequest && a.Code != http.StatusUnprocessableEntity {
						t.Errorf("%s.%s: status %d: %.200s", path, name, a.Code, a.Body)
					} else if plain := strings.Trim(name, "_"); plain == name && !bytes.Contains(a.Body.Bytes(), []byte(name)) {
						t.Errorf("%s.%s is refused without its name: %.200s", path, name, a.Body)
					}
				}
			}
		})
	}
}

// Shapes sends every operation that takes a body one that is too large, one of
// another type and one that is packed. None is read.
func (h Hostile) Shapes(t *testing.T) {
	for _, op := range h.Door.Operations() {
		hop := documented(h.Door, op)
		if hop.RequestBody == nil {
			continue
		}
		t.Run(op.ID, func(t *testing.T) {
			credential, path := h.Credential(op), h.Door.Base()+fill(op, h.Known(op), nil)
			huge := bytes.Repeat([]byte(" "), 5<<20)
			for _, c := range []struct {
				header http.Header
				body   []byte
				status int
			}{
				{http.Header{"Content-Type": {"application/json"}}, huge, http.StatusRequestEntityTooLarge},
				{http.Header{"Content-Type": {"text/xml"}}, []byte("{}"), http.StatusUnsupportedMediaType},
				{http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, []byte("{}"), http.StatusUnsupportedMediaType},
			} {
				a := h.ask(t, op, &input{method: op.Method, target: path, header: c.header, hasBody: true, body: c.body}, credential)
				if a.Code != c.status {
					t.Errorf("%v: status %d, want %d: %.200s", c.header, a.Code, c.status, a.Body)
				} else if err := a.check(h.Door, op); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// withStrangers returns, by place, how a valid value of a schema gets a field
// that is not the schema's. Where it has that field there is nothing to show.
func (g *generator) withStrangers(s *huma.Schema, path string, depth int) map[string]func(name string) (any, bool) {
	if s == nil || depth > 4 {
		return nil
	}
	if s.Ref != "" {
		s = g.door.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	found := map[string]func(string) (any, bool){}
	wrap := func(inner map[string]func(string) (any, bool), around func(any) any) {
		for at, spoilt := range inner {
			found[at] = func(name string) (any, bool) {
				v, ok := spoilt(name)
				return around(v), ok
			}
		}
	}
	switch s.Type {
	case huma.TypeArray:
		wrap(g.withStrangers(s.Items, path+"[]", depth+1), func(v any) any { return []any{v} })
	case huma.TypeObject:
		if extra, isBool := s.AdditionalProperties.(bool); isBool && !extra {
			found[path] = func(name string) (any, bool) {
				if s.Properties[name] != nil {
					return nil, false
				}
				m := g.right(s)
				m[name] = "x"
				return m, true
			}
		}
		for field, p := range s.Properties {
			wrap(g.withStrangers(p, path+"."+field, depth+1), func(v any) any {
				m := g.right(s)
				m[field] = v
				return m
			})
		}
	}
	return found
}

// right is a value of an object with what it needs and no more.
func (g *generator) right(s *huma.Schema) map[string]any {
	m := map[string]any{}
	for _, name := range s.Required {
		m[name] = withoutNUL(g.value(name, s.Properties[name], 9))
	}
	return m
}

// withoutNUL is a value without what is refused before any field is looked at.
func withoutNUL(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "x")
	case []any:
		for i := range v {
			v[i] = withoutNUL(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = withoutNUL(v[name])
		}
	}
	return v
}

// fill writes a path's parameters; those that set names, others with what is
// known.
func fill(op rest.Op, known map[string][]string, set map[string]string) string {
	path := op.Path
	for _, name := range parameters(path) {
		value, ok := set[name]
		if !ok {
			value = "x"
			if len(known[name]) > 0 {
				value = known[name][0]
			}
		}
		path = strings.Replace(path, "{"+name+"}", value, 1)
	}
	return path
}

// crooked are path segments that lead elsewhere where somebody puts paths
// together as text, as they are sent.
var crooked = []string{"..", "%2e%2e", "..%2f..", "%2F", "a%2Fb", "..%5c", "..;", "%252e%252e%252f", "%00", "a%00", "%ff", "%20", "%0d%0aX:1", strings.Repeat("a", 8192)}

// Paths puts each crooked segment into each parameter of each path. What comes
// back is 400 or 404, or another operation's own answer where dots were
// resolved by nobody but the client; nothing succeeds.
func (h Hostile) Paths(t *testing.T) {
	for _, op := range h.Door.Operations() {
		names := parameters(op.Path)
		if len(names) == 0 {
			continue
		}
		t.Run(op.ID, func(t *testing.T) {
			credential := h.Credential(op)
			g := &generator{rand: rand.New(rand.NewPCG(1, 1)), door: h.Door, known: h.Known(op)}
			for _, name := range names {
				for _, segment := range crooked {
					in := &input{method: op.Method, target: h.Door.Base() + fill(op, g.known, map[string]string{name: segment}), header: http.Header{}}
					if hop := documented(h.Door, op); hop.RequestBody != nil {
						in.hasBody, in.body = true, g.rightBody(hop)
						in.header.Set("Content-Type", "application/json")
					}
					a := h.ask(t, op, in, credential)
					if a.Code != http.StatusBadRequest && a.Code != http.StatusNotFound && a.Code != http.StatusUnprocessableEntity {
						t.Errorf("%s = %.40q: status %d: %.200s", name, segment, a.Code, a.Body)
					}
				}
			}
		})
	}
}

func (g *generator) rightBody(hop *huma.Operation) []byte {
	media := hop.RequestBody.Content["application/json"]
	if media == nil {
		return []byte("{}")
	}
	s := media.Schema
	if s.Ref != "" {
		s = g.door.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	text, err := json.Marshal(g.right(s))
	if err != nil {
		return []byte("{}")
	}
	return text
}
