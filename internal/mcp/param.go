package mcp

import (
	"slices"
	"strconv"
	"strings"
)

const (
	annotation = "x-mcp-header"
	maxSafeInt = 1<<53 - 1 // what every JSON parser reads exactly

	maxSchemaDepth = 64
)

// ParamHeader is an argument that a tool's schema wants mirrored in a header.
type ParamHeader struct {
	Header string   // what follows Mcp-Param-
	Path   []string // the keys that lead to the argument
	Type   string   // string, integer or boolean
}

// ParamHeaders finds the x-mcp-header annotations of a tool's input schema, a
// valid JSON document. It returns ErrBadAnnotation for one the specification
// does not allow; clients must then do without the tool.
func ParamHeaders(schema []byte) ([]ParamHeader, error) {
	a := annotations{b: schema}
	if !a.schema(Root(schema), nil, true, 0) {
		return nil, ErrBadAnnotation
	}
	return a.found, nil
}

type annotations struct {
	b     []byte
	found []ParamHeader
}

// schema walks a schema. reachable means that only "properties" lead to it.
func (a *annotations) schema(v Span, path []string, reachable bool, depth int) bool {
	if depth > maxSchemaDepth {
		return false
	}
	for element := range Elements(a.b, v) {
		if !a.schema(element, path, false, depth+1) {
			return false
		}
	}
	for m := range Members(a.b, v) {
		key, _ := String(a.b, m.Key)
		ok := true
		switch key {
		case annotation:
			ok = reachable && len(path) > 0 && a.note(v, m.Value, path)
		case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
			ok = a.named(m.Value, path, reachable && key == "properties", depth+1)
		case "default", "const", "enum", "examples": // data, in which the word means nothing
		default:
			ok = a.schema(m.Value, path, false, depth+1)
		}
		if !ok {
			return false
		}
	}
	return true
}

// named walks an object whose keys are names of schemas.
func (a *annotations) named(v Span, path []string, reachable bool, depth int) bool {
	for m := range Members(a.b, v) {
		name, _ := String(a.b, m.Key)
		if !a.schema(m.Value, append(path[:len(path):len(path)], name), reachable, depth) {
			return false
		}
	}
	return true
}

func (a *annotations) note(schema, value Span, path []string) bool {
	header, err := String(a.b, value)
	if err != nil || !isToken(header) {
		return false
	}
	kind, _ := Get(a.b, schema, "type")
	name, _ := String(a.b, kind)
	if name != "string" && name != "integer" && name != "boolean" {
		return false
	}
	for _, other := range a.found {
		if strings.EqualFold(other.Header, header) {
			return false
		}
	}
	a.found = append(a.found, ParamHeader{Header: header, Path: slices.Clone(path), Type: name})
	return true
}

// isToken reports whether text may stand in a header's name.
func isToken(text string) bool {
	for i := range len(text) {
		if c := text[i]; c-'0' >= 10 && (c|0x20)-'a' >= 26 && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return text != ""
}

// MatchParam reports whether an Mcp-Param-* header says what an argument says.
// v is the raw JSON value: a string is compared decoded, a whole number as a
// number, a boolean as its word. Null and everything else have no header.
func MatchParam(header string, b []byte, v Span) bool {
	if v.Empty() {
		return false
	}
	switch raw := v.Of(b); raw[0] {
	case '"':
		return MatchName(header, b, v)
	case 't', 'f':
		return header == string(raw)
	default:
		want, ok := wholeNumber(string(raw))
		got, ok2 := wholeNumber(header)
		return ok && ok2 && got == want
	}
}

// AppendParam appends the Mcp-Param-* value of an argument. It reports false
// when the argument has none: null, fractions, objects, arrays, and whole
// numbers beyond what every parser reads exactly.
func AppendParam(dst, b []byte, v Span) ([]byte, bool) {
	if v.Empty() {
		return dst, false
	}
	switch raw := v.Of(b); raw[0] {
	case '"':
		text, err := String(b, v)
		return AppendHeader(dst, text), err == nil
	case 't', 'f':
		return append(dst, raw...), true
	default:
		n, ok := wholeNumber(string(raw))
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, n, 10), true
	}
}

// wholeNumber reads 42, -7 and 42.0. Exponents are not taken.
func wholeNumber(text string) (int64, bool) {
	whole, fraction, dotted := strings.Cut(text, ".")
	if dotted && (fraction == "" || strings.Trim(fraction, "0") != "") {
		return 0, false
	}
	bare := strings.TrimPrefix(whole, "-")
	if bare == "" || bare[0]-'0' > 9 || (bare[0] == '0' && len(bare) > 1) {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	return n, err == nil && n >= -maxSafeInt && n <= maxSafeInt
}
