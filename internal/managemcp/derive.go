package managemcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"headgate/internal/rest"
)

// tool is a spec with what the Platform API's document says about it.
type tool struct {
	spec
	method, path string
	places       map[string]place // by argument
	fixedAt      map[string]place
	input        map[string]any // JSON Schema
	output       map[string]any
	answer       *huma.Schema // of what the tool returns, in camelCase
	valid        *jsonschema.Schema
	registry     huma.Registry
	body         bool // the operation takes one
}

// place is where a value goes in the request.
type place struct {
	in     string // path, query, body
	name   string
	schema *huma.Schema
}

// deriver makes tools of specs.
type deriver struct {
	door     *rest.Door
	document *huma.OpenAPI
	ops      map[string]rest.Op
}

func newDeriver(door *rest.Door) *deriver {
	d := &deriver{door: door, document: door.OpenAPI(), ops: map[string]rest.Op{}}
	for _, op := range door.Operations() {
		d.ops[op.ID] = op
	}
	return d
}

// all makes every tool. A spec that does not fit the document is a mistake in
// the program.
func (d *deriver) all(specs []spec) ([]*tool, error) {
	var list []*tool
	seen := map[string]bool{}
	for _, s := range specs {
		if seen[s.name] {
			return nil, fmt.Errorf("two tools are called %s", s.name)
		}
		seen[s.name] = true
		t, err := d.tool(s)
		if err != nil {
			return nil, fmt.Errorf("tool %s: %w", s.name, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (d *deriver) tool(s spec) (*tool, error) {
	op, ok := d.ops[s.op]
	if !ok {
		return nil, fmt.Errorf("there is no operation %s", s.op)
	}
	described := operationOf(d.document.Paths[op.Path], op.Method)
	if described == nil {
		return nil, fmt.Errorf("operation %s is not documented", s.op)
	}
	t := &tool{spec: s, method: op.Method, path: d.door.Base() + op.Path, places: map[string]place{}, fixedAt: map[string]place{}, registry: d.document.Components.Schemas, body: described.RequestBody != nil}
	places, required := d.placesOf(described)
	properties, must := map[string]any{}, []string{}
	defs := map[string]any{}
	for _, a := range s.args {
		to := a.to
		if to == "" {
			to = camel(a.name)
		}
		at, ok := places[to]
		if !ok {
			return nil, fmt.Errorf("operation %s takes no %s", s.op, to)
		}
		t.places[a.name] = at
		properties[a.name] = d.schema(at.schema, defs)
		_, fixed := s.fixed[to]
		if (required[to] || s.needs == a.name) && !fixed && !(s.before != nil && a.name == "name") {
			must = append(must, a.name)
		}
		delete(required, to)
	}
	for name := range s.fixed {
		if t.fixedAt[name], ok = places[name]; !ok {
			return nil, fmt.Errorf("operation %s takes no %s", s.op, name)
		}
		delete(required, name)
	}
	if len(required) > 0 {
		return nil, fmt.Errorf("operation %s needs %v too", s.op, slices.Sorted(maps.Keys(required)))
	}
	t.input = map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(must) > 0 {
		t.input["required"] = must
	}
	if len(defs) > 0 {
		t.input["$defs"] = defs
	}
	if err := t.compile(); err != nil {
		return nil, err
	}
	return t, d.derive(t, op, described)
}

// placesOf lists what an operation takes, by name, and which of it it needs.
func (d *deriver) placesOf(op *huma.Operation) (places map[string]place, required map[string]bool) {
	places, required = map[string]place{}, map[string]bool{}
	for _, p := range op.Parameters {
		if p.In == "path" || p.In == "query" {
			s := p.Schema
			if s.Description == "" && p.Description != "" {
				described := *s
				described.Description = p.Description
				s = &described
			}
			places[p.Name] = place{p.In, p.Name, s}
			if p.Required {
				required[p.Name] = true
			}
		}
	}
	if op.RequestBody != nil {
		body := d.resolve(op.RequestBody.Content["application/json"].Schema)
		for name, s := range body.Properties {
			places[name] = place{"body", name, s}
		}
		for _, name := range body.Required {
			required[name] = true
		}
	}
	return places, required
}

func (d *deriver) resolve(s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return d.document.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// derive finds the schema of a tool's answer: the data of the operation's, or a
// member of it. An operation that may be held back answers an approval instead.
func (d *deriver) derive(t *tool, op rest.Op, described *huma.Operation) error {
	if op.Status == http.StatusNoContent && t.told != nil {
		t.output = map[string]any{"type": "object", "properties": maps.Clone(t.told), "additionalProperties": false, "required": slices.Sorted(maps.Keys(t.told))}
		d.mayWait(t, op, map[string]any{})
		return nil
	}
	response := described.Responses[fmt.Sprint(op.Status)]
	if response == nil || response.Content["application/json"] == nil {
		return fmt.Errorf("operation %s answers no JSON", op.ID)
	}
	data := d.resolve(d.resolve(response.Content["application/json"].Schema).Properties["data"])
	t.answer = data
	if t.out != "" {
		main := d.resolve(data.Properties[t.out])
		if main == nil {
			return fmt.Errorf("operation %s answers no %s", op.ID, t.out)
		}
		t.answer = flat(data, main, t.out)
	}
	defs := map[string]any{}
	t.output = d.object(t.answer, defs)
	t.call(t.output, defs)
	for name, schema := range t.told {
		t.output["properties"].(map[string]any)[name] = schema
	}
	d.mayWait(t, op, defs)
	if len(defs) > 0 {
		t.output["$defs"] = defs
	}
	return nil
}

// mayWait lets an answer be an approval, where the operation may be held back.
func (d *deriver) mayWait(t *tool, op rest.Op, defs map[string]any) {
	if !op.MayWait() {
		return
	}
	delete(t.output, "required") // an answer that waits has none of it
	delete(t.output, "additionalProperties")
	t.output["properties"].(map[string]any)["approval"] = d.schema(d.resolve(&huma.Schema{Ref: "#/components/schemas/ApprovalRow"}), defs)
}

// call gives members of an answer's schema, and of the rows of its lists, the
// contract's names.
func (t *tool) call(schema, defs map[string]any) {
	for from, to := range t.renamed {
		in, list, member := schema, "", from
		if head, rest, nested := strings.Cut(from, "."); nested {
			list, member = head, rest
			rows, _ := schema["properties"].(map[string]any)
			many, _ := rows[or(t.renamed[list], snake(list))].(map[string]any)
			if many == nil {
				many, _ = rows[snake(list)].(map[string]any)
			}
			one, _ := many["items"].(map[string]any)
			if ref, ok := one["$ref"].(string); ok {
				one, _ = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
			}
			in = one
		}
		properties, _ := in["properties"].(map[string]any)
		if p, ok := properties[snake(member)]; ok {
			delete(properties, snake(member))
			properties[to] = p
		}
		required, _ := in["required"].([]string)
		if i := slices.Index(required, snake(member)); i >= 0 {
			required[i] = to
		}
	}
}

// worded gives an answer's members the contract's names.
func (t *tool) worded(out map[string]any) {
	rename := func(in map[string]any, from, to string) {
		if v, ok := in[from]; ok {
			delete(in, from)
			in[to] = v
		}
	}
	for from, to := range t.renamed { // the rows first, while their list has its name
		if list, member, nested := strings.Cut(from, "."); nested {
			rows, _ := out[snake(list)].([]any)
			for _, r := range rows {
				if row, ok := r.(map[string]any); ok {
					rename(row, snake(member), to)
				}
			}
		}
	}
	for from, to := range t.renamed {
		if !strings.Contains(from, ".") {
			rename(out, snake(from), to)
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// flat lifts a member of data up beside the others.
func flat(data, main *huma.Schema, out string) *huma.Schema {
	s := *main
	s.Properties = maps.Clone(main.Properties)
	if s.Properties == nil {
		s.Properties = map[string]*huma.Schema{}
	}
	for name, p := range data.Properties {
		if name != out {
			s.Properties[name] = p
		}
	}
	return &s
}

// schema turns a schema of the document into one of a tool: names in
// snake_case, references into $defs.
func (d *deriver) schema(s *huma.Schema, defs map[string]any) map[string]any {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		if _, ok := defs[name]; !ok {
			defs[name] = map[string]any{} // a schema that holds itself ends here
			defs[name] = d.object(d.resolve(s), defs)
		}
		return map[string]any{"$ref": "#/$defs/" + name}
	}
	return d.object(s, defs)
}

func (d *deriver) object(s *huma.Schema, defs map[string]any) map[string]any {
	own := *s
	own.Properties, own.Items, own.Required, own.AdditionalProperties, own.Examples = nil, nil, nil, nil, nil
	out := map[string]any{}
	text, err := own.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(fmt.Errorf("a schema of the document is none: %w", err)) // found by any test
	}
	if types, ok := out["type"].([]any); ok && slices.Contains(types, any("null")) && out["enum"] != nil {
		out["enum"] = append(out["enum"].([]any), nil) // huma lets null pass beside the enum
	}
	if len(s.Properties) > 0 {
		properties := map[string]any{}
		for name, p := range s.Properties {
			properties[snake(name)] = d.schema(p, defs)
		}
		out["properties"] = properties
	}
	if len(s.Required) > 0 {
		names := make([]string, len(s.Required))
		for i, n := range s.Required {
			names[i] = snake(n)
		}
		out["required"] = names
	}
	if s.Items != nil {
		out["items"] = d.schema(s.Items, defs)
	}
	switch more := s.AdditionalProperties.(type) {
	case bool:
		out["additionalProperties"] = more
	case *huma.Schema:
		out["additionalProperties"] = d.schema(more, defs)
	}
	return out
}

// compile readies the input's schema for validation.
func (t *tool) compile() error {
	text, err := json.Marshal(t.input)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("tool.json", doc); err != nil {
		return err
	}
	t.valid, err = c.Compile("tool.json")
	return err
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[method]
}

// rename gives the members of a value the names that its schema's have on the
// other side. What the schema does not name stays as it is: it is somebody's
// own data.
func (t *tool) rename(v any, s *huma.Schema, name func(string) (from, to string)) any {
	if s != nil && s.Ref != "" {
		s = t.registry.SchemaFromRef(s.Ref)
	}
	if s == nil {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		known := map[string]bool{}
		for property, ps := range s.Properties {
			from, to := name(property)
			if member, ok := v[from]; ok {
				out[to], known[from] = t.rename(member, ps, name), true
			}
		}
		more, _ := s.AdditionalProperties.(*huma.Schema)
		for member, value := range v {
			if !known[member] {
				out[member] = t.rename(value, more, name)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = t.rename(v[i], s.Items, name)
		}
		return out
	}
	return v
}

func toSnake(property string) (from, to string) { return property, snake(property) }
func toCamel(property string) (from, to string) { return snake(property), property }
