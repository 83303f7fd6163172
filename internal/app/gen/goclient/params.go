package goclient

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"headgate/internal/app/gen/spec"
)

// writeParams prints the struct of query and header parameters, and how they
// get into a request. A zero value is not sent.
func (m method) writeParams(b *strings.Builder) error {
	list := m.op.InQuery()
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintf(b, "\n// %sParams are the parameters of %s; zero values are not sent.\n", m.name, m.name)
	fmt.Fprintf(b, "type %sParams struct {\n", m.name)
	var apply strings.Builder
	for _, p := range list {
		goName, set, err := paramType(p)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		described := *p.Schema
		if described.Doc == "" {
			described.Doc = p.Doc
		}
		fmt.Fprintf(b, "\t%s %s%s\n", exported(p.Name), goName, trailing(&described))
		fmt.Fprintf(&apply, "\tr.%s(%q, p.%s)\n", set, p.Name, exported(p.Name))
	}
	fmt.Fprintf(b, "}\n\nfunc (p %sParams) apply(r *call) {\n%s}\n", m.name, apply.String())
	return nil
}

// setters send parameters; those in use become a file of the client.
var setters = map[string]string{
	"queryText": `func (r *call) queryText(name, v string) {
	if v == "" {
		return
	}
	if r.query == nil {
		r.query = url.Values{}
	}
	r.query.Set(name, v)
}`,
	"queryInt": `func (r *call) queryInt(name string, v int64) {
	if v != 0 {
		r.queryText(name, strconv.FormatInt(v, 10))
	}
}`,
	"queryTime": `func (r *call) queryTime(name string, v time.Time) {
	if !v.IsZero() {
		r.queryText(name, v.UTC().Format(time.RFC3339Nano))
	}
}`,
	"queryBool": `func (r *call) queryBool(name string, v bool) {
	if v {
		r.queryText(name, "true")
	}
}`,
	"queryFlag": `func (r *call) queryFlag(name string, v *bool) {
	if v != nil {
		r.queryText(name, strconv.FormatBool(*v))
	}
}`,
	"queryList": `// queryList joins with commas, the form of the API's list parameters.
func (r *call) queryList(name string, v []string) { r.queryText(name, strings.Join(v, ",")) }`,
	"headerText": `func (r *call) headerText(name, v string) {
	if v == "" {
		return
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, v)
}`,
}

// writeSetters prints the setters that the operations use.
func writeSetters(operations string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(setters)) {
		call := "\tr." + name + "("
		if strings.Contains(operations, call) || name == "queryText" && strings.Contains(operations, "\tr.query") {
			b.WriteString("\n" + setters[name] + "\n")
		}
	}
	return b.String()
}

// paramType returns the Go type of a parameter and the setter that sends it. A
// boolean that is true by itself is a pointer.
func paramType(p spec.Param) (goName, set string, err error) {
	goName, err = goType(p.Schema)
	if err != nil {
		return "", "", err
	}
	if p.In == "header" {
		set = "header"
	} else {
		set = "query"
	}
	switch goName {
	case "string":
		set += "Text"
	case "int64":
		set += "Int"
	case "time.Time":
		set += "Time"
	case "bool":
		set += "Bool"
		if p.Schema.Default == true {
			goName, set = "*bool", "queryFlag"
		}
	case "[]string":
		set += "List"
	}
	if _, ok := setters[set]; !ok {
		return "", "", fmt.Errorf("no way to send a %s in a %s", goName, p.In)
	}
	return goName, set, nil
}
