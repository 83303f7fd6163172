package spec

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Sample returns a value that fits the schema, for examples: its own example,
// default or first allowed value, else one made from its format and name.
// Objects have their required fields, and with all the optional ones too.
func Sample(s *Schema, name string, all bool) any {
	switch {
	case s == nil:
		return map[string]any{}
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	switch s.Type {
	case "string":
		return sampleText(s, name)
	case "integer", "number":
		return sampleNumber(s)
	case "boolean":
		return true
	case "array":
		return []any{Sample(s.Items, strings.TrimSuffix(name, "s"), all)}
	case "object":
		o := object{}
		for _, p := range s.Names() {
			if all || s.Needs(p) {
				o = append(o, member{p, Sample(s.Properties[p], p, all)})
			}
		}
		return o
	}
	return map[string]any{}
}

func sampleNumber(s *Schema) any {
	v := 1.0
	if s.Minimum != nil && *s.Minimum > v {
		v = *s.Minimum
	}
	if s.Maximum != nil && *s.Maximum < v {
		v = *s.Maximum
	}
	return json.Number(fmt.Sprint(v))
}

// words are samples by the name of a field; the tail is looked at first, so
// that newPassword is a password.
var words = []struct{ tail, text string }{
	{"password", "a long unguessable phrase"},
	{"email", "ada@example.com"},
	{"firstname", "Ada"}, {"lastname", "Lovelace"},
	{"token", "TOKEN"}, {"code", "123456"},
	{"slug", "example"}, {"url", "https://mcp.example.com/mcp"},
	{"serviceid", "svc_01k00000000000000000000000"}, {"serverid", "srv_01k00000000000000000000000"},
	{"userid", "user_01k00000000000000000000000"}, {"workspaceid", "ws_01k00000000000000000000000"},
	{"organizationid", "org_01k00000000000000000000000"},
	{"toolname", "echo"}, {"resourcename", "example"}, {"promptname", "example"}, {"reason", "an example"},
}

func sampleText(s *Schema, name string) string {
	switch s.Format {
	case "date-time":
		return "2026-07-28T09:30:00.000Z"
	case "date":
		return "2026-07-28"
	case "email":
		return "ada@example.com"
	case "uri":
		return "https://mcp.example.com/mcp"
	}
	if s.Encoding == "base64" {
		return "ZXhhbXBsZQ=="
	}
	lower := strings.ToLower(name)
	text := "example"
	for _, w := range words {
		if strings.HasSuffix(lower, w.tail) {
			text = w.text
			break
		}
	}
	if s.MaxLength != nil && len(text) > *s.MaxLength {
		text = text[:*s.MaxLength]
	}
	for s.MinLength != nil && len(text) < *s.MinLength {
		text += "x"
	}
	return text
}

// object keeps the order of its members.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}
