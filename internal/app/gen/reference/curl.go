package reference

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"headgate/internal/app/gen/spec"
)

// Curl returns a command that performs the operation. Ids in the path are
// shell variables.
func Curl(o *spec.Operation) string {
	var b strings.Builder
	b.WriteString("curl -sS")
	if o.AnswerType == "text/event-stream" {
		b.WriteString(" -N")
	}
	if o.Method != "GET" {
		b.WriteString(" -X " + o.Method)
	}
	fmt.Fprintf(&b, " \"$HEADGATE_URL%s%s\"", variables(o.Path), query(o))
	if !o.Public {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $HEADGATE_KEY\"")
	}
	for _, p := range o.Params {
		if p.In == "header" && p.Required {
			fmt.Fprintf(&b, " \\\n  -H '%s: %v'", p.Name, spec.Sample(p.Schema, p.Name, false))
		}
	}
	if h, ok := headers[o.ID]; ok {
		fmt.Fprintf(&b, " \\\n  -H '%s'", h)
	}
	if o.Body != nil && o.BodyType == "application/json" {
		fmt.Fprintf(&b, " \\\n  -H 'Content-Type: application/json' \\\n  -d '%s'", strings.ReplaceAll(sampleBody(o), "'", `'\''`))
	} else if o.Body != nil {
		fmt.Fprintf(&b, " \\\n  -H 'Content-Type: %s' \\\n  --data-binary @-", o.BodyType)
	}
	return b.String()
}

// variables turns {serviceId} into $SERVICE_ID and /users/{id} into
// /users/$USER_ID.
func variables(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parts[i] = "$" + variable(strings.TrimSuffix(name, "}"), parts[i-1])
		}
	}
	return strings.Join(parts, "/")
}

func variable(parameter, before string) string {
	if parameter == "id" {
		parameter = strings.TrimSuffix(before, "s") + "-id"
	}
	var b strings.Builder
	for i, r := range parameter {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(strings.ReplaceAll(b.String(), "-", "_"))
}

// query shows the required parameters and, as an idea, the size of a page.
func query(o *spec.Operation) string {
	v := url.Values{}
	for _, p := range o.Params {
		if p.In == "query" && (p.Required || p.Name == "limit" && p.Schema.Maximum != nil && *p.Schema.Maximum <= 1000) {
			v.Set(p.Name, fmt.Sprint(spec.Sample(p.Schema, p.Name, false)))
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// sampleBody is the operation's own example, else made of the required fields,
// or where nothing is required of all.
func sampleBody(o *spec.Operation) string {
	for _, name := range []string{o.Method + " " + o.Path, o.ID} {
		if own, ok := bodies[name]; ok {
			return own
		}
	}
	text, err := json.Marshal(spec.Sample(o.Body, "", len(o.Body.Required) == 0))
	if err != nil { // a schema's example that JSON cannot hold; it came from JSON
		panic(err)
	}
	return string(text)
}
