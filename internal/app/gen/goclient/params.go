package goclient

import (
	"fmt"
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

// paramType returns the Go type of a parameter and the method of call that
// sends it. A boolean that is true by itself is a pointer.
func paramType(p spec.Param) (goName, set string, err error) {
	place := "query"
	if p.In == "header" {
		place = "header"
	}
	goName, err = goType(p.Schema)
	if err != nil {
		return "", "", err
	}
	kind := ""
	switch goName {
	case "string":
		kind = "Text"
	case "int64":
		kind = "Int"
	case "time.Time":
		kind = "Time"
	case "bool":
		kind = "Bool"
		if p.Schema.Default == true {
			goName, kind = "*bool", "Flag"
		}
	case "[]string":
		kind = "List"
	default:
		return "", "", fmt.Errorf("no way to send a %s", goName)
	}
	return goName, place + kind, nil
}
