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

// templatePart is literal text or the name of a configuration field.
type templatePart struct{ text, field string }

// parseTemplate splits a header value at {{config.NAME}} and ${NAME}. What only
// looks like one of them is text.
func parseTemplate(value string) []templatePart {
	var parts []templatePart
	for value != "" {
		at, end, field := nextField(value)
		if field == "" {
			return append(parts, templatePart{text: value})
		}
		if at > 0 {
			parts = append(parts, templatePart{text: value[:at]})
		}
		parts = append(parts, templatePart{field: field})
		value = value[end:]
	}
	return parts
}

// nextField finds the first reference in a value; field is "" when there is none.
func nextField(value string) (at, end int, field string) {
	at = len(value)
	for _, form := range []struct{ open, close string }{{"{{config.", "}}"}, {"${", "}"}} {
		for i := strings.Index(value, form.open); i >= 0 && i < at; {
			start := i + len(form.open)
			n := strings.Index(value[start:], form.close)
			if n > 0 && !strings.ContainsFunc(value[start:start+n], notFieldRune) {
				at, end, field = i, start+n+len(form.close), value[start:start+n]
				break
			}
			next := strings.Index(value[start:], form.open)
			if next < 0 {
				break
			}
			i = start + next
		}
	}
	return at, end, field
}

func notFieldRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}

// render fills headers in from a configuration. A header that refers to a
// field without a value is left out: half a credential is none.
func render(headers map[string]string, config map[string]any) ([]Header, error) {
	var out []Header
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		var b strings.Builder
		whole := true
		for _, part := range parseTemplate(headers[name]) {
			if part.field == "" {
				b.WriteString(part.text)
				continue
			}
			text, ok := scalar(config[part.field])
			b.WriteString(text)
			whole = whole && ok
		}
		if !whole {
			continue
		}
		if err := netguard.CheckHeader(name, b.String()); err != nil {
			return nil, ErrConfig.Saying("A configured field holds characters that the header %s cannot carry. Configure it again without line breaks or other special characters.", name).With("header", name)
		}
		out = append(out, Header{name, seal.NewValue(b.String())})
	}
	return out, nil
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
