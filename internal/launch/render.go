package launch

import (
	"path"
	"strings"
)

// rendered is what a configuration makes of an entry.
type rendered struct {
	args []string
	env  map[string]string
	dirs []string // below the private directory, to be made before the start
}

// render fills a configuration in. It trusts nothing: the schema that was in
// force when a value was stored may have been another one.
func (e *Entry) render(config map[string]any, private string) (*rendered, error) {
	values := map[string][]string{privateRef: {private}}
	out := &rendered{env: map[string]string{}}
	for i := range e.Parameters {
		p := &e.Parameters[i]
		list, err := p.values(config[p.Name])
		if err != nil {
			return nil, err
		}
		for j, v := range list {
			if p.Type == Path {
				v = path.Clean(v)
				out.dirs = append(out.dirs, v)
				list[j] = path.Join(private, v)
			}
		}
		values[p.Name] = list
	}
	for name := range config {
		if _, declared := values[name]; !declared || name == privateRef {
			return nil, ErrValues.Saying("The configuration has a field that the server has no parameter for.")
		}
	}
	for _, arg := range e.Args {
		list, all := expand(arg, values)
		if all {
			out.args = append(out.args, list...)
		}
	}
	for name, text := range e.Env {
		if list, all := expand(text, values); all && len(list) == 1 {
			out.env[name] = list[0]
		}
	}
	return out, nil
}

// values checks what was given for a parameter.
func (p *Parameter) values(given any) ([]string, error) {
	switch {
	case given == nil && p.Default != "":
		given = p.Default
	case given == nil && p.Required:
		return nil, ErrValues.Saying("The parameter %s is missing. Configure the service.", p.Name).With("field", p.Name)
	case given == nil:
		return nil, nil
	}
	items := []any{given}
	if list, ok := given.([]any); ok && p.List && len(list) <= maxItems {
		items = list
	} else if p.List {
		return nil, ErrValues.With("field", p.Name)
	}
	texts := make([]string, len(items))
	for i, v := range items {
		var err error
		if texts[i], err = p.text(v); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// expand puts values in the place of references. It reports false when one of
// them has no value: the whole argument or variable is left out then.
func expand(text string, values map[string][]string) ([]string, bool) {
	if m := fieldRef.FindStringSubmatch(text); m != nil && m[0] == text {
		return values[m[1]], len(values[m[1]]) > 0
	}
	var b strings.Builder
	all := true
	at := 0
	for _, m := range fieldRef.FindAllStringSubmatchIndex(text, -1) {
		list := values[text[m[2]:m[3]]]
		if len(list) != 1 {
			all = false
			break
		}
		b.WriteString(text[at:m[0]])
		b.WriteString(list[0])
		at = m[1]
	}
	b.WriteString(text[at:])
	return []string{b.String()}, all
}
