package resttest

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// value makes a value that fits a schema. name is the field's, for ids.
func (g *generator) value(name string, s *huma.Schema, depth int) any {
	if s == nil {
		return g.junk(depth)
	}
	if s.Ref != "" {
		s = g.door.OpenAPI().Components.Schemas.SchemaFromRef(s.Ref)
	}
	if len(s.Enum) > 0 {
		return s.Enum[g.rand.IntN(len(s.Enum))]
	}
	switch s.Type {
	case huma.TypeString:
		return g.text(name, s)
	case huma.TypeInteger, huma.TypeNumber:
		return g.number(s)
	case huma.TypeBoolean:
		return g.chance(50)
	case huma.TypeArray:
		list := []any{}
		for range g.rand.IntN(3) + deref(s.MinItems, 0) {
			list = append(list, g.value(name, s.Items, depth+1))
		}
		return list
	case huma.TypeObject:
		return g.object(s, depth)
	}
	return g.junk(depth)
}

func (g *generator) object(s *huma.Schema, depth int) any {
	m := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) { // in order: a seed is the same inputs each time
		p, required := s.Properties[name], false
		for _, r := range s.Required {
			required = required || r == name
		}
		if required || g.chance(50) {
			m[name] = g.value(name, p, depth+1)
		}
	}
	switch extra := s.AdditionalProperties.(type) {
	case bool:
		if extra && depth < 4 { // a free object: a tool's arguments, a schema
			for range g.rand.IntN(3) {
				m[g.one("text", "a", "b", "name", "type", "properties", "unknown")] = g.junk(depth + 1)
			}
		}
	case *huma.Schema:
		for range g.rand.IntN(3) {
			m[g.one("echo", "X-Custom", "Authorization", "unknown")] = g.value("", extra, depth+1)
		}
	}
	return m
}

func (g *generator) text(name string, s *huma.Schema) string {
	if known := g.known[name]; len(known) > 0 && g.chance(70) {
		return known[g.rand.IntN(len(known))]
	}
	w := strings.ToValidUTF8(g.word(), "�")
	if g.chance(40) {
		w = g.one("alpha", "Beta", "gamma-1", "a@example.com", "https://example.com/mcp", "2026-01-01", "demo")
	}
	if most := deref(s.MaxLength, 0); most > 0 && len(w) > most && g.chance(80) {
		w = strings.ToValidUTF8(w[:most], "")
	}
	for least := deref(s.MinLength, 0); len(w) < least; {
		w += "x"
	}
	return w
}

// number makes a whole number in range, at its ends more often than not.
func (g *generator) number(s *huma.Schema) any {
	low, high := deref(s.Minimum, -1e6), deref(s.Maximum, 1e6)
	n := low + math.Floor(g.rand.Float64()*(high-low))
	switch g.rand.IntN(5) {
	case 0:
		n = low
	case 1:
		n = high
	}
	return json.Number(trim(n))
}

func trim(n float64) string {
	text, _ := json.Marshal(int64(n))
	return string(text)
}

func deref[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
