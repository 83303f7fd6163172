package checkup

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

// mirroring is a tool whose argument is mirrored in a header. It only reads, by
// its own word, and it requires the argument.
type mirroring struct {
	name, header, argument string
	// spoilt is an object's members that make any arguments invalid, so that a
	// server that looks at them does not run the tool; nil when there are none.
	// "" leaves out what is required.
	spoilt *string
	text   bool // the argument is a text, so that it may need encoding
}

// paramHeader holds the server to the headers that mirror arguments. These are
// the only requests that name a tool, and each has arguments that the tool's
// schema does not allow.
func (d *doctor) paramHeader(ctx context.Context) error {
	t, ok := d.mirroringTool()
	if !ok {
		d.mirrored = "Names were mirrored in headers; no tool has an argument to try that with."
		return nil
	}
	d.mirrored = "Names and an argument were mirrored in headers."
	code, err := d.mirror(ctx, t, mcp.EncodeHeader(noSuch+"-ü"), `{}`)
	if err != nil {
		return err
	}
	if code != mcp.CodeHeaderMismatch {
		d.report.Find(report.Finding{ID: "headers.param", Check: "headers", Severity: report.SevWarning, What: "An Mcp-Param header without its argument is accepted.",
			Why: mirrorWhy, Fix: "Compare each Mcp-Param header with its argument, and answer 400 with error -32020 when they differ."}, t.name+" "+t.header)
		return nil // what it makes of an encoded one cannot be told
	}
	if t.spoilt == nil || !t.text {
		d.mirrored += " The encoded form was not tried: no arguments would keep the tool from running."
		return nil
	}
	return d.encodedParam(ctx, t)
}

// encodedParam sends an argument beyond ASCII, which must be taken for the same
// as its encoded header, and one that looks like an encoded header and is none,
// which must not.
func (d *doctor) encodedParam(ctx context.Context, t mirroring) error {
	const text, lookalike = noSuch + "-ü", "=?base64?aGVhZGdhdGU=?="
	code, err := d.mirror(ctx, t, mcp.EncodeHeader(text), t.arguments(text))
	if err != nil {
		return err
	}
	if code == mcp.CodeHeaderMismatch {
		d.report.Find(report.Finding{ID: "headers.param-base64", Check: "headers", Severity: report.SevWarning, What: "An argument beyond ASCII in Mcp-Param (=?base64?…?=) is taken for a mismatch.",
			Why: "The tool cannot be called with such an argument.", Fix: "Decode the header before comparing it."}, t.name+" "+t.header)
	}
	code, err = d.mirror(ctx, t, lookalike, t.arguments(lookalike))
	if err == nil && code != mcp.CodeHeaderMismatch {
		d.report.Find(report.Finding{ID: "headers.param-undecoded", Check: "headers", Severity: report.SevWarning, What: "An Mcp-Param header in encoded form is taken as it is written, not for what it means.",
			Why: mirrorWhy, Fix: "Decode =?base64?…?= before comparing, always: clients encode texts that look like it too."}, t.name+" "+t.header)
	}
	return err
}

// arguments are the mirrored one, and what makes them invalid.
func (t *mirroring) arguments(value string) string {
	b := mcp.AppendString(append(mcp.AppendString([]byte{'{'}, t.argument), ':'), value)
	if *t.spoilt != "" {
		b = append(append(b, ','), *t.spoilt...)
	}
	return string(append(b, '}'))
}

// mirror names the tool, with a header for its argument, and returns the error
// code of the answer.
func (d *doctor) mirror(ctx context.Context, t mirroring, header, arguments string) (int64, error) {
	id := d.line.next()
	h := d.line.headers(mcp.MethodToolsCall, t.name)
	h.Set(mcp.HeaderParamPrefix+t.header, header)
	members := append(mcp.AppendString([]byte(`"name":`), t.name), `,"arguments":`+arguments...)
	a, err := d.line.send(ctx, d.line.message(id, mcp.MethodToolsCall, members), id, h)
	if err != nil {
		return 0, err
	}
	return a.rpcCode(), nil
}

// mirroringTool finds one, best one whose encoded form can be tried.
func (d *doctor) mirroringTool() (best mirroring, ok bool) {
	for _, raw := range d.report.Tools {
		var t tool
		if json.Unmarshal(raw, &t) != nil || t.Annotations == nil || t.Annotations.ReadOnly == nil || !*t.Annotations.ReadOnly {
			continue
		}
		m, has := mirroringOf(&t)
		if has && (!ok || best.spoilt == nil || !best.text) {
			best, ok = m, true
		}
	}
	return best, ok
}

func mirroringOf(t *tool) (mirroring, bool) {
	var schema struct {
		Required   []string                   `json:"required"`
		Properties map[string]json.RawMessage `json:"properties"`
		Additional any                        `json:"additionalProperties"`
	}
	found, err := mcp.ParamHeaders(t.Input)
	if err != nil || json.Unmarshal(t.Input, &schema) != nil {
		return mirroring{}, false
	}
	for _, p := range found {
		if len(p.Path) != 1 || !slices.Contains(schema.Required, p.Path[0]) {
			continue
		}
		m := mirroring{name: t.Name, header: p.Header, argument: p.Path[0], text: p.Type == "string"}
		isMirrored := func(name string) bool {
			return slices.ContainsFunc(found, func(o mcp.ParamHeader) bool { return o.Path[0] == name })
		}
		if slices.ContainsFunc(schema.Required, func(name string) bool { return !isMirrored(name) }) {
			m.spoilt = new(string)
		} else if schema.Additional == false {
			m.spoilt = ptr(`"` + noSuch + `":true`)
		} else {
			for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
				if wrong := wrongFor(schema.Properties[name]); wrong != "" && !isMirrored(name) {
					m.spoilt = ptr(string(mcp.AppendString(nil, name)) + ":" + wrong)
					break
				}
			}
		}
		return m, true
	}
	return mirroring{}, false
}

func ptr(s string) *string { return &s }

// wrongFor is a value that a property of a plain type does not allow.
func wrongFor(schema json.RawMessage) string {
	var p struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(schema, &p) != nil {
		return "" // no schema, or one of several types
	}
	switch p.Type {
	case "string", "boolean", "array", "object":
		return "7"
	case "integer", "number":
		return `"` + noSuch + `"`
	}
	return ""
}
