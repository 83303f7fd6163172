package goclient

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"headgate/internal/app/gen/spec"
)

// reserved are the names that package client declares by hand.
var reserved = []string{"Client", "Error", "Option", "RequestOption", "Stream", "StreamEvent", "Waiting", "New", "NewStream", "Idempotent", "Header"}

// types collects the structs that the methods need.
type types struct {
	structs map[string]*spec.Schema // by Go name
	sent    map[string]bool         // parts of a request's body
	users   map[string][]string     // which methods use it
}

func newTypes() *types {
	return &types{map[string]*spec.Schema{}, map[string]bool{}, map[string][]string{}}
}

// use notes a schema and those below it. name is for schemas without one.
func (t *types) use(s *spec.Schema, name, method string, sent bool) error {
	switch {
	case s == nil:
		return nil
	case s.Items != nil:
		return t.use(s.Items, name+"Item", method, sent)
	case s.Values != nil:
		return t.use(s.Values, name+"Value", method, sent)
	case !s.Struct():
		return nil
	}
	if s.Name == "" {
		s.Name = name
	}
	goName := exported(s.Name)
	if slices.Contains(reserved, goName) {
		return fmt.Errorf("the schema %s is called like a part of package client: rename its Go type", s.Name)
	}
	if other := t.structs[goName]; other != nil && other != s {
		return fmt.Errorf("two schemas are called %s in Go: %s and %s", goName, other.Name, s.Name)
	}
	seen := t.structs[goName] != nil && (t.sent[goName] || !sent) && slices.Contains(t.users[goName], method)
	t.structs[goName] = s
	t.sent[goName] = t.sent[goName] || sent
	if seen {
		return nil
	}
	if !slices.Contains(t.users[goName], method) {
		t.users[goName] = append(t.users[goName], method)
	}
	for _, p := range s.Names() {
		if err := t.use(s.Properties[p], s.Name+exported(p), method, sent); err != nil {
			return err
		}
	}
	return nil
}

// goType returns the Go type of a value that must be there.
func goType(s *spec.Schema) (string, error) {
	switch {
	case s == nil || s.Type == "", s.Type == "object" && s.Open:
		return "json.RawMessage", nil
	case s.Type == "object" && s.Values != nil:
		v, err := goType(s.Values)
		if s.Values.Nullable {
			v = "*" + v
		}
		return "map[string]" + v, err
	case s.Type == "object":
		return exported(s.Name), nil
	case s.Type == "array":
		v, err := goType(s.Items)
		return "[]" + v, err
	case s.Type == "string" && s.Format == "date-time":
		return "time.Time", nil
	case s.Type == "string" && s.Encoding == "base64":
		return "[]byte", nil
	case s.Type == "string":
		return "string", nil
	case s.Type == "boolean":
		return "bool", nil
	case s.Type == "integer":
		return "int64", nil
	case s.Type == "number":
		return "float64", nil
	}
	return "", fmt.Errorf("no Go type for a schema of type %q", s.Type)
}

// fieldType returns the type and the JSON options of a field. In bodies, an
// optional scalar is a pointer: absent and empty differ. In answers, absent is
// the zero value, and only null is a nil.
func fieldType(s *spec.Schema, required, sent bool) (goName, tag string, err error) {
	goName, err = goType(s)
	if err != nil {
		return "", "", err
	}
	if !required {
		tag = ",omitempty"
	}
	carriesNil := strings.HasPrefix(goName, "[]") || strings.HasPrefix(goName, "map[") || goName == "json.RawMessage"
	isStruct := s != nil && s.Struct()
	optionalPointer := !required && (sent || isStruct || goName == "time.Time")
	if s != nil && !carriesNil && (s.Nullable || optionalPointer) {
		goName = "*" + goName
	}
	return goName, tag, nil
}

// write prints every struct.
func (t *types) write(b *strings.Builder) error {
	for _, name := range slices.Sorted(maps.Keys(t.structs)) {
		s := t.structs[name]
		fmt.Fprintf(b, "\n// %s is part of %s.\n", name, usersOf(t.users[name]))
		fmt.Fprintf(b, "type %s struct {\n", name)
		for _, p := range s.Names() {
			field := s.Properties[p]
			goName, tag, err := fieldType(field, s.Needs(p), t.sent[name])
			if err != nil {
				return fmt.Errorf("%s.%s: %w", s.Name, p, err)
			}
			fmt.Fprintf(b, "\t%s %s `json:\"%s%s\"`%s\n", exported(p), goName, p, tag, trailing(field))
		}
		b.WriteString("}\n")
	}
	return nil
}

func usersOf(methods []string) string {
	const most = 3
	if len(methods) > most {
		return strings.Join(methods[:most], ", ") + " and others"
	}
	return strings.Join(methods, ", ")
}

// trailing is a field's comment: its description, and the values it may have.
func trailing(s *spec.Schema) string {
	if s == nil {
		return ""
	}
	text := strings.Join(strings.Fields(s.Doc), " ")
	if s.Struct() {
		text = "" // it stands at the type
	}
	if len(s.Enum) > 0 && s.Type == "string" {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		text = strings.TrimSpace(text + " One of " + strings.Join(values, ", ") + ".")
	}
	if text == "" {
		return ""
	}
	return " // " + text
}
