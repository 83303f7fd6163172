package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Schema is a JSON schema as internal/rest writes them.
type Schema struct {
	Name       string // of a component; "" of one written in place
	Type       string // object, array, string, integer, number, boolean; "" for anything
	Nullable   bool
	Format     string
	Encoding   string // base64 for bytes
	Doc        string
	Properties map[string]*Schema
	Required   []string
	Items      *Schema
	Values     *Schema // of an object's other members; nil when there are none of one type
	Open       bool    // an object of any shape
	Enum       []any
	Default    any
	Examples   []any
	Minimum    *float64
	Maximum    *float64
	MinLength  *int
	MaxLength  *int
	MaxItems   *int
	Pattern    string

	ref      string
	resolved bool
}

type rawSchema struct {
	Ref                  string             `json:"$ref"`
	Type                 json.RawMessage    `json:"type"`
	Format               string             `json:"format"`
	Encoding             string             `json:"contentEncoding"`
	Description          string             `json:"description"`
	Properties           map[string]*Schema `json:"properties"`
	Required             []string           `json:"required"`
	Items                *Schema            `json:"items"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Enum                 []any              `json:"enum"`
	Default              any                `json:"default"`
	Examples             []any              `json:"examples"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	MinLength            *int               `json:"minLength"`
	MaxLength            *int               `json:"maxLength"`
	MaxItems             *int               `json:"maxItems"`
	Pattern              string             `json:"pattern"`
	OneOf                []json.RawMessage  `json:"oneOf"`
	AnyOf                []json.RawMessage  `json:"anyOf"`
	AllOf                []json.RawMessage  `json:"allOf"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Schema) UnmarshalJSON(b []byte) error {
	var raw rawSchema
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if len(raw.OneOf)+len(raw.AnyOf)+len(raw.AllOf) > 0 {
		return fmt.Errorf("a schema with oneOf, anyOf or allOf has no one type")
	}
	*s = Schema{
		ref: raw.Ref, Format: raw.Format, Encoding: raw.Encoding, Doc: raw.Description,
		Properties: raw.Properties, Required: raw.Required, Items: raw.Items, Enum: raw.Enum, Default: raw.Default,
		Examples: raw.Examples, Minimum: raw.Minimum, Maximum: raw.Maximum,
		MinLength: raw.MinLength, MaxLength: raw.MaxLength, MaxItems: raw.MaxItems, Pattern: raw.Pattern,
	}
	if err := s.readType(raw.Type); err != nil {
		return err
	}
	switch more := string(raw.AdditionalProperties); more {
	case "", "false":
	case "true", "{}":
		s.Open = true
	default:
		s.Values = new(Schema)
		return json.Unmarshal(raw.AdditionalProperties, s.Values)
	}
	return nil
}

// readType takes "string" and ["string", "null"].
func (s *Schema) readType(raw json.RawMessage) error {
	if len(raw) == 0 || raw[0] == '"' {
		return json.Unmarshal(orNull(raw), &s.Type)
	}
	var types []string
	if err := json.Unmarshal(raw, &types); err != nil {
		return err
	}
	s.Nullable = slices.Contains(types, "null")
	types = slices.DeleteFunc(types, func(t string) bool { return t == "null" })
	if len(types) > 1 {
		return fmt.Errorf("a schema of several types (%s)", strings.Join(types, ", "))
	}
	s.Type = strings.Join(types, "")
	return nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}

// Names lists the properties: id and name first, the others by alphabet.
func (s *Schema) Names() []string {
	names := slices.Sorted(maps.Keys(s.Properties))
	for _, first := range []string{"name", "id"} {
		if i := slices.Index(names, first); i > 0 {
			names = slices.Insert(slices.Delete(names, i, i+1), 0, first)
		}
	}
	return names
}

// Needs reports whether the property must be there.
func (s *Schema) Needs(property string) bool { return slices.Contains(s.Required, property) }

// Struct reports whether the schema is an object with a list of fields.
func (s *Schema) Struct() bool { return s.Type == "object" && !s.Open && s.Values == nil }

// resolve replaces references below s by what they refer to.
func (d *Document) resolve(s *Schema) error {
	if s == nil || s.resolved {
		return nil
	}
	s.resolved = true
	if s.ref != "" && d.follow(s) == s {
		return fmt.Errorf("%s refers to nothing", s.ref)
	}
	for name, p := range s.Properties {
		if err := d.resolve(p); err != nil {
			return err
		}
		s.Properties[name] = d.follow(p)
	}
	for _, below := range []**Schema{&s.Items, &s.Values} {
		if *below == nil {
			continue
		}
		if err := d.resolve(*below); err != nil {
			return err
		}
		*below = d.follow(*below)
	}
	return nil
}

func (d *Document) follow(s *Schema) *Schema {
	if s == nil || s.ref == "" {
		return s
	}
	if target, ok := d.Schemas[strings.TrimPrefix(s.ref, "#/components/schemas/")]; ok {
		return target
	}
	return s
}
