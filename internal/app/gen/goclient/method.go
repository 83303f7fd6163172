package goclient

import (
	"fmt"
	"strings"

	"headgate/internal/app/gen/spec"
)

// method writes one operation.
type method struct {
	op    *spec.Operation
	types *types
	name  string
}

func (m method) write(b *strings.Builder) error {
	if m.op.Body != nil && m.op.BodyType == "application/json" && !m.op.Body.Struct() {
		return fmt.Errorf("its body is no object with a list of fields")
	}
	if err := m.writeParams(b); err != nil {
		return err
	}
	result, do, err := m.result()
	if err != nil {
		return err
	}
	m.writeComment(b)
	fmt.Fprintf(b, "func (c *Client) %s(%s) %s {\n", m.name, m.arguments(), result)
	fmt.Fprintf(b, "\tr := call{method: %q, path: %s, options: options", m.op.Method, m.path())
	if m.op.Public {
		b.WriteString(", public: true")
	}
	switch {
	case m.op.Body == nil:
	case m.op.BodyType == "application/json":
		b.WriteString(", body: body")
	default:
		fmt.Fprintf(b, ", body: body, bodyType: %q", m.op.BodyType)
	}
	if m.op.Streams() && m.op.AnswerType != "text/event-stream" {
		fmt.Fprintf(b, ", accept: %q", m.op.AnswerType)
	}
	b.WriteString("}\n")
	if len(m.op.InQuery()) > 0 {
		b.WriteString("\tp.apply(&r)\n")
	}
	fmt.Fprintf(b, "\treturn %s\n}\n", do)
	return nil
}

func (m method) writeComment(b *strings.Builder) {
	o := m.op
	fmt.Fprintf(b, "\n// %s: %s.\n//\n", m.name, strings.TrimSuffix(o.Summary, "."))
	if o.Detail != "" {
		for _, line := range wrap(o.Detail, 76) {
			fmt.Fprintf(b, "// %s\n", line)
		}
		b.WriteString("//\n")
	}
	fmt.Fprintf(b, "// %s %s", o.Method, o.Path)
	switch {
	case o.Public:
		b.WriteString("; no credential.")
	case o.Scope != "":
		fmt.Fprintf(b, "; permission %s, scope %s.", o.Permission, o.Scope)
	case o.Permission != "":
		fmt.Fprintf(b, "; permission %s.", o.Permission)
	default:
		b.WriteString("; a credential.")
	}
	if o.Idempotent {
		b.WriteString(" Takes Idempotent.")
	}
	if o.Gated {
		b.WriteString("\n// Where a person must agree first, the error is a *Waiting.")
	}
	b.WriteString("\n")
}

// wrap breaks a text into lines of at most width characters, where it can.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+w, " ")
	}
	return append(lines, line)
}

// arguments lists the method's parameters: context, path, query, body, options.
func (m method) arguments() string {
	list := []string{"ctx context.Context"}
	for _, p := range m.op.InPath() {
		list = append(list, argument(p.Name)+" string")
	}
	if len(m.op.InQuery()) > 0 {
		list = append(list, "p "+m.name+"Params")
	}
	switch {
	case m.op.Body == nil:
	case m.op.BodyType == "application/json":
		list = append(list, "body "+exported(m.op.Body.Name))
	default:
		list = append(list, "body io.Reader")
	}
	return strings.Join(append(list, "options ...RequestOption"), ", ")
}

// path is the expression of the path: literals and encoded parameters.
func (m method) path() string {
	var parts []string
	rest := m.op.Path
	for rest != "" {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			parts = append(parts, fmt.Sprintf("%q", before))
		}
		if !found {
			break
		}
		name, behind, _ := strings.Cut(after, "}")
		parts, rest = append(parts, "part("+argument(name)+")"), behind
	}
	return strings.Join(parts, " + ")
}

// result returns the method's results and the expression that makes them.
func (m method) result() (results, do string, err error) {
	o := m.op
	switch {
	case o.Answer == nil:
		return "error", "c.json(ctx, r, nil)", m.use(o.Body, true)
	case o.AnswerType == "text/event-stream":
		return "(*Stream, error)", "c.events(ctx, r)", m.use(o.Body, true)
	case o.Streams():
		return "(io.ReadCloser, error)", "c.download(ctx, r)", m.use(o.Body, true)
	}
	if err := m.use(o.Body, true); err != nil {
		return "", "", err
	}
	if data, meta, ok := o.Envelope(); ok {
		d, err := m.answer(data, "Data")
		if err != nil {
			return "", "", err
		}
		n, err := m.answer(meta, "Meta")
		return fmt.Sprintf("(*%s, *%s, error)", d, n), fmt.Sprintf("unwrap[%s, %s](ctx, c, r)", d, n), err
	}
	v, err := m.answer(o.Answer, "Answer")
	return fmt.Sprintf("(*%s, error)", v), fmt.Sprintf("bare[%s](ctx, c, r)", v), err
}

func (m method) use(s *spec.Schema, sent bool) error {
	if s == nil || sent && m.op.BodyType != "application/json" {
		return nil
	}
	return m.types.use(s, m.name+"Body", m.name, sent)
}

func (m method) answer(s *spec.Schema, part string) (string, error) {
	if err := m.types.use(s, m.name+part, m.name, false); err != nil {
		return "", err
	}
	return goType(s)
}
