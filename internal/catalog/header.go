package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"headgate/internal/netguard"
	"headgate/internal/seal"
)

const maxHeaders = 32

// Header is a header to send to a server.
type Header struct {
	Name  string
	Value seal.Value
}

// checkHeaders holds configured headers to netguard's rules and to the fields
// that the schema declares: a template can name nothing else.
func checkHeaders(headers map[string]string, schema *configSchema) error {
	if len(headers) > maxHeaders {
		return ErrHeader.Saying("A server has at most %d headers.", maxHeaders)
	}
	seen := map[string]bool{}
	for name, value := range headers {
		if err := netguard.CheckHeader(name, value); err != nil {
			return err
		}
		if lower := strings.ToLower(name); seen[lower] {
			return ErrHeader.Saying("The header %s is given twice. Names of headers ignore case.", name).With("header", name)
		} else {
			seen[lower] = true
		}
		for _, part := range parseTemplate(value) {
			if part.field != "" && !schema.declares(part.field) {
				return ErrHeader.Saying("The header %s refers to a field that the config schema does not declare as a text, number or boolean. Declare it, or correct the name.", name).With("header", name)
			}
		}
	}
	return nil
}

// mergeHeaders applies a change; names ignore case.
func mergeHeaders(headers map[string]string, change map[string]*string) {
	for name, value := range change {
		for old := range headers {
			if strings.EqualFold(old, name) {
				delete(headers, old)
			}
		}
		if value != nil {
			headers[name] = *value
		}
	}
}

// leaves returns the names of the headers with a secret that a change neither
// sets nor removes.
func (ch *ServiceChange) leaves(headers map[string]string) []string {
	stays := []string{}
	for name, value := range headers {
		named := false
		for given := range ch.Headers {
			named = named || strings.EqualFold(given, name)
		}
		if !named && secretHeader(value) {
			stays = append(stays, name)
		}
	}
	slices.Sort(stays)
	return stays
}

func headerPlace(service string) string { return "services:" + service + ":headers" }

func (c *Catalog) sealHeaders(s *Service, headers map[string]string) {
	s.headers, s.HeaderNames = nil, slices.Sorted(maps.Keys(headers))
	if len(headers) == 0 {
		return
	}
	text, _ := json.Marshal(headers) // a map of texts always marshals
	s.headers = c.keys.Seal(headerPlace(s.ID), text)
}

func (c *Catalog) openHeaders(s *Service) (map[string]string, error) {
	return openHeaders(c.keys, s.ID, s.headers)
}

func openHeaders(keys *seal.Keys, service string, sealed []byte) (map[string]string, error) {
	headers := map[string]string{}
	if len(sealed) == 0 {
		return headers, nil
	}
	text, err := keys.Open(headerPlace(service), sealed)
	if err == nil {
		err = json.Unmarshal(text, &headers)
	}
	if err != nil {
		return nil, fmt.Errorf("headers of service %s: %w", service, err)
	}
	return headers, nil
}

// templatePart is literal text, the name of a configuration field, or the name
// of a secret.
type templatePart struct{ text, field, secret string }

// parseTemplate splits a header value at {{config.NAME}}, ${NAME} and
// {{secret.NAME}}. What only looks like one of them is text.
func parseTemplate(value string) []templatePart {
	return split(value, []form{{"{{config.", "}}", false}, {"${", "}", false}, {"{{secret.", "}}", true}})
}

// parseSecrets splits a configured value at {{secret.NAME}} alone.
func parseSecrets(value string) []templatePart {
	return split(value, []form{{"{{secret.", "}}", true}})
}

// form is how a reference is written.
type form struct {
	open, close string
	secret      bool
}

func split(value string, forms []form) []templatePart {
	var parts []templatePart
	for value != "" {
		at, end, part := next(value, forms)
		if at > 0 {
			parts = append(parts, templatePart{text: value[:at]})
		}
		if part == (templatePart{}) {
			break
		}
		parts = append(parts, part)
		value = value[end:]
	}
	return parts
}

// next finds the first reference in a value; at is the value's end when there
// is none.
func next(value string, forms []form) (at, end int, part templatePart) {
	at = len(value)
	for _, f := range forms {
		for i := strings.Index(value, f.open); i >= 0 && i < at; {
			start := i + len(f.open)
			n := strings.Index(value[start:], f.close)
			if n > 0 && !strings.ContainsFunc(value[start:start+n], notFieldRune) {
				at, end, part = i, start+n+len(f.close), templatePart{field: value[start : start+n]}
				if f.secret {
					part = templatePart{secret: part.field}
				}
				break
			}
			following := strings.Index(value[start:], f.open)
			if following < 0 {
				break
			}
			i = start + following
		}
	}
	return at, end, part
}

func notFieldRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}

// secrets returns the value of a secret; ok is false when there is none.
type secrets func(name string) (value string, ok bool, err error)

// anySecret stands for secrets while a configuration is only checked.
func anySecret(string) (string, bool, error) { return "x", true, nil }

// render fills headers in from a configuration and from secrets. A header that
// refers to a field without a value is left out: half a credential is none. A
// secret that is not there is named in missing.
func render(headers map[string]string, config map[string]any, secret secrets) (out []Header, missing []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		r := renderer{config: config, secret: secret, whole: true}
		if err := r.write(parseTemplate(headers[name])); err != nil {
			return nil, nil, err
		}
		missing = append(missing, r.missing...)
		if !r.whole || len(r.missing) > 0 {
			continue
		}
		if err := netguard.CheckHeader(name, r.String()); err != nil {
			return nil, nil, ErrConfig.Saying("A configured field or secret holds characters that the header %s cannot carry. Set it again without line breaks or other special characters.", name).With("header", name)
		}
		out = append(out, Header{name, seal.NewValue(r.String())})
	}
	slices.Sort(missing)
	return out, slices.Compact(missing), nil
}

// resolve returns a configuration whose texts have their secrets in place, for
// a program's environment.
func resolve(config map[string]any, secret secrets) (out map[string]any, missing []string, err error) {
	out = maps.Clone(config)
	for field, v := range config {
		text, ok := v.(string)
		if !ok || !strings.Contains(text, "{{secret.") {
			continue
		}
		r := renderer{secret: secret}
		if err := r.write(parseSecrets(text)); err != nil {
			return nil, nil, err
		}
		out[field], missing = r.String(), append(missing, r.missing...)
	}
	slices.Sort(missing)
	return out, slices.Compact(missing), nil
}

// renderer writes one header's value.
type renderer struct {
	strings.Builder
	config  map[string]any
	secret  secrets
	whole   bool
	missing []string
}

func (r *renderer) write(parts []templatePart) error {
	for _, part := range parts {
		switch {
		case part.secret != "":
			value, ok, err := r.secret(part.secret)
			if err != nil {
				return err
			}
			if !ok {
				r.missing = append(r.missing, part.secret)
			}
			r.WriteString(value)
		case part.field != "":
			text, ok := scalar(r.config[part.field])
			r.whole = r.whole && ok
			if err := r.write(parseSecrets(text)); err != nil {
				return err
			}
		default:
			r.WriteString(part.text)
		}
	}
	return nil
}

// scalar returns the text of a JSON string, number or boolean.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}
