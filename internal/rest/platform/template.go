package platform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"headgate/internal/rest"
)

// operator is how an expression of a URI template is expanded (RFC 6570,
// section 3.2 and appendix A).
type operator struct {
	first, separator string
	named            bool
	ifEmpty          string
	reserved         bool
}

var operators = map[byte]operator{
	0:   {"", ",", false, "", false},
	'+': {"", ",", false, "", true},
	'#': {"#", ",", false, "", true},
	'.': {".", ".", false, "", false},
	'/': {"/", "/", false, "", false},
	';': {";", ";", true, "", false},
	'?': {"?", "&", true, "=", false},
	'&': {"&", "&", true, "=", false},
}

// expand fills a template in. Every variable must have a value, which is a
// text, a number or a boolean. Values come from callers, so by default
// whatever could leave its place in the URI is escaped.
func expand(template string, parameters rest.Object) (string, error) {
	values, err := scalars(parameters)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for left := template; left != ""; {
		before, after, found := strings.Cut(left, "{")
		out.WriteString(before)
		if !found {
			break
		}
		expression, tail, closed := strings.Cut(after, "}")
		if !closed || expression == "" {
			return "", errAnswer
		}
		if err := expandOne(&out, expression, values); err != nil {
			return "", err
		}
		left = tail
	}
	return out.String(), nil
}

func expandOne(out *strings.Builder, expression string, values map[string]string) error {
	op, known := operators[expression[0]]
	if known {
		expression = expression[1:]
	} else {
		op = operators[0]
	}
	var problems []rest.Problem
	for i, name := range strings.Split(expression, ",") {
		name = strings.TrimSuffix(name, "*")
		name, prefix, cut := strings.Cut(name, ":")
		value, given := values[name]
		if !given {
			problems = append(problems, rest.Problem{Field: "body.parameters." + name, Message: "is needed to fill in the resource's URI"})
			continue
		}
		if cut {
			value = firstRunes(value, prefix)
		}
		out.WriteString(map[bool]string{true: op.first, false: op.separator}[i == 0])
		if op.named {
			out.WriteString(escape(name, false))
			if value == "" {
				out.WriteString(op.ifEmpty)
				continue
			}
			out.WriteByte('=')
		}
		out.WriteString(escape(value, op.reserved))
	}
	if len(problems) > 0 {
		return rest.Invalid(problems...)
	}
	return nil
}

func firstRunes(value, count string) string {
	n := 0
	if _, err := fmt.Sscanf(count, "%d", &n); err != nil || n <= 0 {
		return value
	}
	for i := range value {
		if n--; n < 0 {
			return value[:i]
		}
	}
	return value
}

// escape percent-encodes what is not unreserved, or, for the operators that
// let structure through, not reserved either.
func escape(value string, reserved bool) string {
	var out strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0,
			reserved && strings.IndexByte(":/?#[]@!$&'()*+,;=", c) >= 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// scalars reads parameters as texts. Numbers stay as they were written.
func scalars(parameters rest.Object) (map[string]string, error) {
	values := map[string]string{}
	if len(parameters) == 0 {
		return values, nil
	}
	var given map[string]any
	dec := json.NewDecoder(bytes.NewReader(parameters))
	dec.UseNumber()
	if err := dec.Decode(&given); err != nil {
		return nil, rest.Invalid(rest.Problem{Field: "body.parameters", Message: "must be an object"})
	}
	for name, v := range given {
		switch v := v.(type) {
		case string:
			values[name] = v
		case json.Number:
			values[name] = v.String()
		case bool:
			values[name] = fmt.Sprint(v)
		default:
			return nil, rest.Invalid(rest.Problem{Field: "body.parameters", Message: "must hold texts, numbers and booleans only"})
		}
	}
	return values, nil
}
