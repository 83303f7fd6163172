package launch

import (
	"encoding/json"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Type says what a parameter's values are.
type Type string

// The types.
const (
	String  Type = "string"
	Integer Type = "integer"
	Number  Type = "number"
	Boolean Type = "boolean" // true or false as text
	Enum    Type = "enum"
	Path    Type = "path"   // below the child's private directory
	Secret  Type = "secret" // only for variables; never shown
)

// Parameter is a place in an entry that a tenant fills in.
type Parameter struct {
	Name        string   `yaml:"name" json:"name"`
	Title       string   `yaml:"title" json:"title,omitempty"`
	Description string   `yaml:"description" json:"description,omitempty"`
	Type        Type     `yaml:"type" json:"type"`
	Required    bool     `yaml:"required" json:"required,omitempty"`
	Default     string   `yaml:"default" json:"default,omitempty"`
	Pattern     string   `yaml:"pattern" json:"pattern,omitempty"` // of the whole value
	MaxLength   int      `yaml:"maxLength" json:"maxLength,omitempty"`
	Min         *float64 `yaml:"min" json:"min,omitempty"`
	Max         *float64 `yaml:"max" json:"max,omitempty"`
	Values      []string `yaml:"values" json:"values,omitempty"`
	List        bool     `yaml:"list" json:"list,omitempty"` // several values, an argument each
	Dash        bool     `yaml:"dash" json:"dash,omitempty"` // values may begin with a hyphen, and so be options
}

const (
	privateRef    = "private" // {private} is the child's private directory
	defaultLength = 1024
	maxLength     = 8192
	maxItems      = 32
)

var parameterName = regexp.MustCompile(`^[a-z][a-zA-Z0-9_]{0,63}$`)

func (p *Parameter) check(bad func(string, ...any) error) error {
	if !parameterName.MatchString(p.Name) {
		return bad("A parameter's name is letters, digits and _, beginning with a small letter.")
	}
	switch p.Type {
	case String, Integer, Number, Boolean, Path, Secret:
		if len(p.Values) > 0 {
			return bad("Only an enum has values; %s is a %s.", p.Name, p.Type)
		}
	case Enum:
		if len(p.Values) == 0 || len(p.Values) > 100 {
			return bad("The enum %s needs 1 to 100 values.", p.Name)
		}
	default:
		return bad("The parameter %s is of no type that there is: string, integer, number, boolean, enum, path, secret.", p.Name)
	}
	if p.MaxLength < 0 || p.MaxLength > maxLength {
		return bad("The values of %s may be at most %d bytes long.", p.Name, maxLength)
	}
	if _, err := regexp.Compile(p.Pattern); err != nil || p.Pattern != "" && p.Type != String && p.Type != Secret && p.Type != Path {
		return bad("The pattern of %s cannot be used.", p.Name)
	}
	if p.Type == Secret && (p.List || p.Default != "") {
		return bad("The secret %s can be no list and have no default.", p.Name)
	}
	for _, v := range p.Values {
		if _, err := p.text(v); err != nil {
			return bad("A value of %s breaks its own rules.", p.Name)
		}
	}
	if p.Default == "" {
		return nil
	}
	if _, err := p.text(p.Default); err != nil || p.List {
		return bad("The default of %s breaks its own rules, or is that of a list.", p.Name)
	}
	return nil
}

// text checks one value and returns it as the child gets it, but for paths,
// which stay relative.
func (p *Parameter) text(v any) (string, error) {
	text, ok := scalar(v)
	if !ok || !p.fits(text) {
		return "", ErrValues.With("field", p.Name)
	}
	return text, nil
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

func (p *Parameter) fits(text string) bool {
	most := p.MaxLength
	if most == 0 {
		most = defaultLength
	}
	if len(text) > most || strings.ContainsRune(text, 0) {
		return false
	}
	if strings.HasPrefix(text, "-") && !p.Dash && p.Type != Integer && p.Type != Number {
		return false // an option nobody foresaw
	}
	if p.Pattern != "" && !regexp.MustCompile(`^(?:`+p.Pattern+`)$`).MatchString(text) {
		return false
	}
	switch p.Type {
	case Boolean:
		return text == "true" || text == "false"
	case Enum:
		return slices.Contains(p.Values, text)
	case Integer, Number:
		return p.number(text)
	case Path:
		return filepath.IsLocal(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) && !slices.ContainsFunc(strings.Split(text, "/"), func(part string) bool { return part == ".." || strings.HasPrefix(part, "-") })
	}
	return true
}

// number holds a text to a number as JSON writes it: no hexadecimal, no
// infinity. One below zero is an option's form and needs a minimum below zero.
func (p *Parameter) number(text string) bool {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !json.Valid([]byte(text)) || math.IsInf(n, 0) || math.IsNaN(n) || p.Type == Integer && strings.ContainsAny(text, ".eE") {
		return false
	}
	if strings.HasPrefix(text, "-") && !p.Dash && (p.Min == nil || *p.Min >= 0) {
		return false
	}
	return (p.Min == nil || n >= *p.Min) && (p.Max == nil || n <= *p.Max)
}

// schema returns the config schema that tenants fill in; nil without
// parameters.
func (e *Entry) schema() json.RawMessage {
	if len(e.Parameters) == 0 {
		return nil
	}
	properties, required := map[string]any{}, []string{}
	for i := range e.Parameters {
		p := &e.Parameters[i]
		properties[p.Name] = p.schema()
		if p.Required && p.Default == "" {
			required = append(required, p.Name)
		}
	}
	doc := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		doc["required"] = required
	}
	text, _ := json.Marshal(doc) // texts and numbers always marshal
	return text
}

func (p *Parameter) schema() map[string]any {
	s := map[string]any{}
	put := func(key string, value any, is bool) {
		if is {
			s[key] = value
		}
	}
	switch p.Type {
	case Integer, Number, Boolean:
		s["type"] = string(p.Type)
		put("minimum", p.Min, p.Min != nil)
		put("minimum", 0, p.Min == nil && p.Type != Boolean && !p.Dash)
		put("maximum", p.Max, p.Max != nil)
	case Enum:
		s["enum"] = p.Values
		s["type"] = "string"
	default:
		s["type"] = "string"
		s["maxLength"] = p.MaxLength
		put("maxLength", defaultLength, p.MaxLength == 0)
		put("pattern", `^(?:`+p.Pattern+`)$`, p.Pattern != "")
		put("not", map[string]any{"pattern": `^-|\x00`}, !p.Dash)
		put("not", map[string]any{"pattern": `^[-/\\]|(^|/)\.\.(/|$)|\\|[\x00-\x1f\x7f]`}, p.Type == Path)
		put("x-secret", true, p.Type == Secret)
	}
	if p.Default != "" {
		s["default"] = p.Default
		if p.Type == Integer || p.Type == Number || p.Type == Boolean {
			s["default"] = json.RawMessage(p.Default)
		}
	}
	if p.List {
		s = map[string]any{"type": "array", "items": s, "maxItems": maxItems}
		put("minItems", 1, p.Required)
	}
	put("title", p.Title, p.Title != "")
	put("description", p.Description, p.Description != "")
	return s
}
