package launch

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// serverJSON is the part of the registry's server.json that may become an
// entry. What it says about running (hints, arguments of the runtime) is the
// publisher's word, and dropped.
type serverJSON struct {
	Name        string        `json:"name"`
	Title       string        `json:"title"`
	Description string        `json:"description"`
	Packages    []jsonPackage `json:"packages"`
}

type jsonPackage struct {
	Type             string            `json:"registryType"`
	Identifier       string            `json:"identifier"`
	Version          string            `json:"version"`
	RuntimeHint      string            `json:"runtimeHint"`
	Transport        map[string]any    `json:"transport"`
	RuntimeArguments []json.RawMessage `json:"runtimeArguments"`
	PackageArguments []jsonInput       `json:"packageArguments"`
	Environment      []jsonInput       `json:"environmentVariables"`
}

type jsonInput struct {
	Type        string               `json:"type"` // positional, named
	Name        string               `json:"name"`
	ValueHint   string               `json:"valueHint"`
	Value       string               `json:"value"`
	Variables   map[string]jsonInput `json:"variables"`
	Description string               `json:"description"`
	Required    bool                 `json:"isRequired"`
	Secret      bool                 `json:"isSecret"`
	Repeated    bool                 `json:"isRepeated"`
	Format      string               `json:"format"` // string, number, boolean, filepath
	Default     string               `json:"default"`
	Choices     []string             `json:"choices"`
}

// reader turns a server.json into an entry.
type reader struct {
	entry    *Entry
	warnings []string
}

func (r *reader) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

func fromServerJSON(text []byte) (*Entry, []string, error) {
	var doc serverJSON
	if len(text) > maxEntry || json.Unmarshal(text, &doc) != nil {
		return nil, nil, ErrEntry.Saying("The server.json is not readable, or longer than %d bytes.", maxEntry)
	}
	i := slices.IndexFunc(doc.Packages, func(p jsonPackage) bool {
		return p.Type == "npm" && (p.Transport == nil || p.Transport["type"] == "stdio")
	})
	if i < 0 {
		return nil, nil, ErrEntry.Saying("The server.json has no npm package that speaks over stdio. Servers with a URL are registered with headgate server add.")
	}
	p := doc.Packages[i]
	pkg := &Package{NPM: p.Identifier, Version: p.Version}
	if err := pkg.check(); err != nil {
		return nil, nil, err
	}
	r := &reader{entry: &Entry{Name: slugOf(p.Identifier), Title: clip(doc.Title, 100), Description: clip(doc.Description, 4000), Package: pkg, Runtime: "node"}}
	if len(p.RuntimeArguments) > 0 {
		r.warn("Arguments of the runtime are not taken over: a package does not decide how it is run.")
	}
	if p.RuntimeHint != "" {
		r.warn("The runtime hint %q is not taken over: packages are installed once and run by node.", clip(p.RuntimeHint, 40))
	}
	for _, in := range p.PackageArguments {
		r.argument(in)
	}
	for _, in := range p.Environment {
		r.variable(in)
	}
	return r.entry, r.warnings, nil
}

func clip(text string, n int) string {
	text = strings.ToValidUTF8(text[:min(len(text), n)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// argument takes an argument of the program over.
func (r *reader) argument(in jsonInput) {
	if in.Secret {
		r.warn("The secret argument %q is not taken over: arguments can be seen by other programs.", clip(in.Name+in.ValueHint, 40))
		return
	}
	value, ok := r.value(in, in.ValueHint)
	if !ok {
		return
	}
	if in.Type != "named" {
		r.entry.Args = append(r.entry.Args, value)
		return
	}
	if !optionName.MatchString(in.Name) {
		r.warn("The option %q is not taken over: its name is not one.", clip(in.Name, 40))
		return
	}
	if value == "" {
		r.entry.Args = append(r.entry.Args, in.Name)
		return
	}
	r.entry.Args = append(r.entry.Args, in.Name+"="+value)
}

var optionName = regexp.MustCompile(`^--?[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// variable takes an environment variable over.
func (r *reader) variable(in jsonInput) {
	if !envName.MatchString(in.Name) || loadsCode(in.Name) {
		r.warn("The variable %q is not taken over: it makes programs load code, or is no name.", clip(in.Name, 40))
		return
	}
	value, ok := r.value(in, in.Name)
	if !ok {
		return
	}
	if r.entry.Env == nil {
		r.entry.Env = map[string]string{}
	}
	r.entry.Env[in.Name] = value
}

// value is a fixed text, or a reference to a new parameter.
func (r *reader) value(in jsonInput, hint string) (string, bool) {
	if in.Value != "" && len(in.Variables) == 0 {
		return in.Value, true
	}
	if in.Value != "" {
		r.warn("The value of %q is made of several variables. It became one parameter: check it.", clip(hint+in.Name, 40))
	}
	if in.Value == "" && in.Type == "named" && in.Format == "" && in.Default == "" && len(in.Choices) == 0 && in.ValueHint == "" {
		return "", true // a flag
	}
	p := Parameter{Name: r.parameterName(hint, in.Name), Description: clip(in.Description, 500), Required: in.Required, Default: in.Default}
	switch {
	case in.Secret:
		p.Type, p.Default = Secret, ""
	case len(in.Choices) > 0:
		p.Type, p.Values = Enum, in.Choices
	case in.Format == "number":
		p.Type = Number
	case in.Format == "boolean":
		p.Type = Boolean
	case in.Format == "filepath":
		p.Type = Path
		if p.Default != "" {
			r.warn("The path %q has no default here: it lies below the server's private directory.", p.Name)
			p.Default = ""
		}
	default:
		p.Type = String
	}
	if in.Repeated && in.Type != "named" && p.Type != Secret && p.Default == "" {
		p.List = true
	}
	r.entry.Parameters = append(r.entry.Parameters, p)
	return "{" + p.Name + "}", true
}

var notParameter = regexp.MustCompile(`[^A-Za-z0-9]+`)

// parameterName makes a name that is not taken yet.
func (r *reader) parameterName(hints ...string) string {
	name := ""
	for _, h := range hints {
		if name = strings.Trim(notParameter.ReplaceAllString(h, "_"), "_"); name != "" {
			break
		}
	}
	name = strings.ToLower(name[:min(len(name), 40)])
	if !parameterName.MatchString(name) || name == privateRef {
		name = "p_" + name
	}
	for base, n := name, 2; slices.ContainsFunc(r.entry.Parameters, func(p Parameter) bool { return p.Name == name }); n++ {
		name = fmt.Sprint(base, "_", n)
	}
	return name
}
