package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"headgate/internal/mcp"
)

const (
	maxSchemaBytes  = 64 << 10
	maxSchemaDepth  = 32
	maxSchemaWeight = 5_000
	maxConfigBytes  = 64 << 10
	maxConfigDepth  = 16
	draft2020       = "https://json-schema.org/draft/2020-12/schema"
)

// configSchema is a compiled config schema and what follows from it.
type configSchema struct {
	compiled *jsonschema.Schema
	doc      map[string]any
	fields   map[string]bool // declared at the top; true for secrets
	scalars  map[string]bool // those whose type is known to be one text, number or boolean
	restHide bool            // a secret is marked where no name tells its place, so every undeclared field is one
}

// normalSchema turns an absent or null schema into nil.
func normalSchema(text json.RawMessage) json.RawMessage {
	if t := bytes.TrimSpace(text); len(t) == 0 || string(t) == "null" {
		return nil
	} else {
		return slices.Clone(t)
	}
}

// noLoader refuses every schema that is not in the document itself.
type noLoader struct{}

var errRemote = errors.New("the schema refers to another document")

func (noLoader) Load(string) (any, error) { return nil, errRemote }

// compile returns a usable schema, nil for none, or ErrSchema.
func compile(text json.RawMessage) (*configSchema, error) {
	if text == nil {
		return nil, nil
	}
	if len(text) > maxSchemaBytes {
		return nil, ErrSchema.Saying("The config schema is longer than %d bytes. Shorten it.", maxSchemaBytes)
	}
	if err := mcp.Check(text, mcp.Limits{Depth: maxSchemaDepth}); err != nil {
		return nil, ErrSchema.Saying("The config schema is not readable JSON, or is nested deeper than %d levels.", maxSchemaDepth).Because(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	doc, ok := parsed.(map[string]any)
	switch {
	case err != nil || !ok || doc["type"] != "object":
		return nil, ErrSchema.Saying(`The config schema must be an object with "type": "object".`)
	case doc["$schema"] != nil && strings.TrimSuffix(fmt.Sprint(doc["$schema"]), "#") != draft2020:
		return nil, ErrSchema.Saying("The config schema names another dialect. Use JSON Schema 2020-12.")
	}
	delete(doc, "$id") // it would be the base of its references
	s := &configSchema{doc: doc, fields: map[string]bool{}, scalars: map[string]bool{}}
	if err := s.weigh(); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	compiler.AssertFormat()
	if err := compiler.AddResource("config.json", doc); err != nil {
		return nil, ErrSchema.Because(err)
	}
	compiled, err := compiler.Compile("config.json")
	if errors.Is(err, errRemote) {
		return nil, ErrSchema.Saying("The config schema refers to another document. Put what it needs under $defs.")
	}
	if err != nil {
		return nil, ErrSchema.Saying("The config schema is no valid JSON Schema (2020-12). Check it with a validator.").Because(err)
	}
	s.compiled = compiled
	s.collect(doc)
	return s, nil
}

// weigh refuses a schema that is small on paper and large when it is applied:
// one that refers to itself, or whose references unfold to too many parts.
func (s *configSchema) weigh() error {
	known := map[string]int{}
	open := map[string]bool{}
	var weight func(v any) int
	weight = func(v any) int {
		n := 1
		switch v := v.(type) {
		case map[string]any:
			for key, sub := range v {
				ref, isText := sub.(string)
				switch {
				case isText && (key == "$dynamicRef" || key == "$id") || isText && key == "$ref" && open[ref]:
					n = maxSchemaWeight + 1
				case isText && key == "$ref":
					if _, ok := known[ref]; !ok {
						open[ref] = true
						known[ref] = weight(s.local(ref))
						delete(open, ref)
					}
					n += known[ref]
				default:
					n += weight(sub)
				}
				n = min(n, maxSchemaWeight+1)
			}
		case []any:
			for _, sub := range v {
				n = min(n+weight(sub), maxSchemaWeight+1)
			}
		}
		return n
	}
	if weight(s.doc) > maxSchemaWeight {
		return ErrSchema.Saying("The config schema refers to itself or has more than %d parts. Simplify it.", maxSchemaWeight)
	}
	return nil
}

// collect finds the fields of the configuration object: those in properties,
// here and in every schema that applies to the same object.
func (s *configSchema) collect(v any) {
	schema, _ := v.(map[string]any)
	for key, v := range schema {
		switch key {
		case "properties":
			props, _ := v.(map[string]any)
			for name, sub := range props {
				s.fields[name] = s.fields[name] || s.marks(sub)
				if m, ok := sub.(map[string]any); ok && isScalarType(m["type"]) {
					s.scalars[name] = true
				}
			}
		case "patternProperties", "additionalProperties", "unevaluatedProperties":
			s.restHide = s.restHide || s.marks(v)
		case "allOf", "anyOf", "oneOf":
			list, _ := v.([]any)
			for _, sub := range list {
				s.collect(sub)
			}
		case "if", "then", "else", "not":
			s.collect(v)
		case "dependentSchemas":
			m, _ := v.(map[string]any)
			for _, sub := range m {
				s.collect(sub)
			}
		case "$ref":
			s.collect(s.local(v))
		}
	}
}

// marks reports whether a secret is marked anywhere in a schema.
func (s *configSchema) marks(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if v["format"] == "password" || v["x-secret"] == true || v["writeOnly"] == true {
			return true
		}
		for key, sub := range v {
			if key == "$ref" {
				sub = s.local(sub)
			}
			if s.marks(sub) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, s.marks)
	}
	return false
}

// local follows a reference into the document. What cannot be followed (an
// anchor, an index into a list) counts as marked.
func (s *configSchema) local(ref any) any {
	hidden := map[string]any{"x-secret": true}
	text, _ := ref.(string)
	pointer, ok := strings.CutPrefix(text, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return hidden
	}
	var v any = s.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		m, _ := v.(map[string]any)
		if v, ok = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]; !ok {
			return hidden
		}
	}
	return v
}

func isScalarType(t any) bool {
	switch t {
	case "string", "number", "integer", "boolean":
		return true
	}
	return false
}

// declares reports whether a header may refer to the field.
func (s *configSchema) declares(field string) bool { return s != nil && s.scalars[field] }

// secret reports whether a field is never shown.
func (s *configSchema) secret(field string) bool {
	mark, declared := s.fields[field]
	return mark || !declared && s.restHide
}

// parseConfig reads a configuration as the validator wants it.
func parseConfig(text []byte) (map[string]any, error) {
	if len(text) > maxConfigBytes {
		return nil, ErrConfig.Saying("The configuration is longer than %d bytes. Shorten it.", maxConfigBytes)
	}
	if err := mcp.Check(text, mcp.Limits{Depth: maxConfigDepth}); err != nil {
		return nil, ErrConfig.Saying("The configuration is not readable JSON, or is nested deeper than %d levels.", maxConfigDepth)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	m, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, ErrConfig.Saying("The configuration must be a JSON object.")
	}
	return m, nil
}

// strict returns ErrConfig with the fields that do not fit: their places and
// the rules they break, never their values.
func (s *configSchema) strict(config map[string]any) error {
	if s == nil {
		if len(config) > 0 {
			return ErrConfig.Saying("This service has nothing to configure.")
		}
		return nil
	}
	err := s.compiled.Validate(config)
	if err == nil {
		return nil
	}
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return ErrConfig
	}
	problems := s.problems(v, nil)
	return ErrConfig.With("fields", problems)
}

// validate is strict for a configuration whose secrets are not in place: what
// only says that a reference to one has not the form of a value is no mistake.
func (s *configSchema) validate(config map[string]any) error {
	err := s.strict(config)
	var v *jsonschema.ValidationError
	if err == nil || s == nil || !errors.As(s.compiled.Validate(config), &v) {
		return err
	}
	for _, place := range leaves(v, nil) {
		if len(place) == 0 {
			return err
		}
		text, _ := config[place[0]].(string)
		if !slices.ContainsFunc(parseSecrets(text), func(p templatePart) bool { return p.secret != "" }) {
			return err
		}
	}
	return nil
}

// leaves are the places of a validation error's causes.
func leaves(v *jsonschema.ValidationError, list [][]string) [][]string {
	if len(v.Causes) == 0 {
		return append(list, v.InstanceLocation)
	}
	for _, cause := range v.Causes {
		list = leaves(cause, list)
	}
	return list
}

// problems lists the leaves of a validation error, at most 20.
func (s *configSchema) problems(v *jsonschema.ValidationError, list []map[string]any) []map[string]any {
	for _, cause := range v.Causes {
		list = s.problems(cause, list)
	}
	if len(v.Causes) > 0 || len(list) >= 20 {
		return list
	}
	p := map[string]any{"rule": "schema"}
	if path := v.ErrorKind.KeywordPath(); len(path) > 0 {
		p["rule"] = path[len(path)-1]
	}
	// Only names that the schema declares are repeated: others are the caller's words.
	if len(v.InstanceLocation) > 0 {
		if _, declared := s.fields[v.InstanceLocation[0]]; declared {
			p["field"] = v.InstanceLocation[0]
		}
	}
	if r, ok := v.ErrorKind.(*kind.Required); ok {
		p["missing"] = r.Missing
	}
	return append(list, p)
}
