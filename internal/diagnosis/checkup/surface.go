package checkup

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

const (
	bytesPerToken  = 4
	manyTokens     = 10_000
	manyTools      = 40
	largeTool      = 1_500 // tokens
	deepSchema     = 8
	deepestSchema  = 64
	largestSchema  = 64 << 10
	maxToolName    = 128
	maxSchemasRead = 500
)

// tool is a definition as far as it is judged.
type tool struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Input       json.RawMessage `json:"inputSchema"`
	Output      json.RawMessage `json:"outputSchema"`
	Annotations *struct {
		Title       string `json:"title"`
		ReadOnly    *bool  `json:"readOnlyHint"`
		Destructive *bool  `json:"destructiveHint"`
		Idempotent  *bool  `json:"idempotentHint"`
	} `json:"annotations"`
	raw []byte
}

// surface judges what a model gets to see: size, names, schemas and hints.
func (d *doctor) surface() {
	r := d.report
	tools := make([]tool, 0, len(r.Tools))
	for _, raw := range r.Tools {
		t := tool{raw: raw}
		if err := json.Unmarshal(raw, &t); err != nil {
			r.Find(report.Finding{ID: "schemas.bad-tool", Check: "schemas", Severity: report.SevError, What: "A tool's definition has members of the wrong type.",
				Why: "Clients drop the tool, or the whole list.", Fix: "Make name and description texts, and inputSchema an object."}, cmp.Or(t.Name, "(no name)"))
			continue
		}
		tools = append(tools, t)
	}
	d.size(tools)
	d.names(tools)
	d.schemas(tools)
	d.hints(tools)
}

func (d *doctor) size(tools []tool) {
	r := d.report
	s := &report.Size{Tools: len(tools), LargestTools: []report.Big{}}
	for _, t := range tools {
		n := len(t.Name) + len(t.Description) + len(t.Input)
		s.Bytes += n
		s.LargestTools = append(s.LargestTools, report.Big{Name: report.Clip(t.Name, 128), Tokens: n / bytesPerToken})
	}
	s.Tokens = s.Bytes / bytesPerToken
	slices.SortStableFunc(s.LargestTools, func(a, b report.Big) int { return cmp.Compare(b.Tokens, a.Tokens) })
	s.LargestTools = s.LargestTools[:min(len(s.LargestTools), 5)]
	r.Size = s
	if s.Tokens > manyTokens {
		r.Find(report.Finding{ID: "size.context", Check: "size", Severity: report.SevWarning, What: fmt.Sprintf("The tools take about %d tokens of a model's context.", s.Tokens),
			Why: "Every conversation pays for them, and models choose worse among much text.", Fix: "Shorten descriptions and schemas, or offer a toolset with fewer tools."})
	}
	if s.Tools > manyTools {
		r.Find(report.Finding{ID: "size.many-tools", Check: "size", Severity: report.SevWarning, What: fmt.Sprintf("There are %d tools.", s.Tools),
			Why: "Some clients take no more than 40, and models choose worse among many.", Fix: "Offer a toolset with those that are needed."})
	}
	for _, b := range s.LargestTools {
		if b.Tokens > largeTool {
			r.Find(report.Finding{ID: "size.large-tool", Check: "size", Severity: report.SevInfo, What: "A tool's definition is large.",
				Why: "It is read by the model in every conversation.", Fix: "Move details into the answer or into a resource."}, b.Name)
		}
	}
	r.Note("size", r.Worst("size"), fmt.Sprintf("%d tools, about %d tokens.", s.Tools, s.Tokens))
}

func (d *doctor) names(tools []tool) {
	r := d.report
	exact, folded := map[string]bool{}, map[string]string{}
	for _, t := range tools {
		switch {
		case t.Name == "":
			r.Find(report.Finding{ID: "names.missing", Check: "names", Severity: report.SevError, What: "A tool has no name.", Why: "It cannot be called.", Fix: "Give it one."}, "(no name)")
			continue
		case exact[t.Name]:
			r.Find(report.Finding{ID: "names.twice", Check: "names", Severity: report.SevError, What: "A tool's name comes twice.",
				Why: "Only one of the two can be called, and clients differ on which.", Fix: "Give each tool its own name."}, t.Name)
			continue
		}
		exact[t.Name] = true
		if other, ok := folded[strings.ToLower(t.Name)]; ok {
			r.Find(report.Finding{ID: "names.alike", Check: "names", Severity: report.SevWarning, What: "Two tools differ by upper and lower case only.",
				Why: "Models and people confuse them.", Fix: "Rename one."}, other+" / "+t.Name)
		}
		folded[strings.ToLower(t.Name)] = t.Name
		if strings.ContainsFunc(t.Name, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.'
		}) {
			r.Find(report.Finding{ID: "names.characters", Check: "names", Severity: report.SevError, What: "A tool's name holds characters other than letters, digits, _, - and dot.",
				Why: "Model providers refuse the whole request with such a tool.", Fix: "Use letters, digits, _, - and dot."}, t.Name)
		}
		switch {
		case len(t.Name) > maxToolName:
			r.Find(report.Finding{ID: "names.too-long", Check: "names", Severity: report.SevError, What: "A tool's name is longer than 128 characters.",
				Why: "The specification ends there.", Fix: "Shorten it to 64."}, t.Name)
		case len(t.Name) > mcp.MaxName:
			r.Find(report.Finding{ID: "names.long", Check: "names", Severity: report.SevWarning, What: "A tool's name is longer than 64 characters.",
				Why: "Large clients take no more.", Fix: "Shorten it."}, t.Name)
		case d.Slug != "" && mcp.MergedName(d.Slug, t.Name) != d.Slug+"_"+t.Name:
			r.Find(report.Finding{ID: "names.shortened", Check: "names", Severity: report.SevInfo, What: "With the server's name before it, a tool's name has to be changed.",
				Why: "On an endpoint of several servers it appears under another name.", Fix: "Shorten the tool's name or the server's slug."}, t.Name)
		}
	}
	r.Note("names", r.Worst("names"), fmt.Sprintf("%d names.", len(exact)))
}

// noLoader refuses every schema outside the document.
type noLoader struct{}

var errRemote = errors.New("the schema refers to another document")

func (noLoader) Load(string) (any, error) { return nil, errRemote }

func (d *doctor) schemas(tools []tool) {
	r := d.report
	read := 0
	for _, t := range tools {
		if !annotated(t.Input) {
			r.Find(report.Finding{ID: "schemas.param-headers", Check: "schemas", Severity: report.SevError, What: "An x-mcp-header annotation is not allowed as it is.",
				Why: "Clients of 2026-07-28 must drop the tool.", Fix: "Annotate texts, whole numbers and booleans only, each with its own header name."}, t.Name)
		}
		if root := mcp.Root(t.Input); len(t.Input) == 0 || t.Input[root.Start] != '{' {
			r.Find(report.Finding{ID: "schemas.no-input", Check: "schemas", Severity: report.SevError, What: "A tool has no input schema.",
				Why: "It is required; clients drop the tool.", Fix: `Say at least {"type": "object"}.`}, t.Name)
		} else if v, ok := mcp.Get(t.Input, root, "type"); !ok || !mcp.Equal(t.Input, v, "object") {
			r.Find(report.Finding{ID: "schemas.not-object", Check: "schemas", Severity: report.SevError, What: `An input schema is not of type "object".`,
				Why: "Arguments are always an object; model providers refuse the tool.", Fix: `Set "type": "object" at the top.`}, t.Name)
		}
		for _, s := range []json.RawMessage{t.Input, t.Output} {
			if len(s) > 0 && read < maxSchemasRead {
				read++
				d.schema(t.Name, s)
			}
		}
	}
	r.Note("schemas", r.Worst("schemas"), fmt.Sprintf("%d schemas read.", read))
}

// annotated reports whether a schema's x-mcp-header annotations are allowed.
func annotated(schema []byte) bool {
	if !bytes.Contains(schema, []byte("x-mcp-header")) {
		return true
	}
	_, err := mcp.ParamHeaders(schema)
	return err == nil
}

// schema judges one schema: its validity, its references and its depth.
func (d *doctor) schema(name string, text []byte) {
	r := d.report
	depth := depthOf(text)
	if len(text) > largestSchema || depth > deepestSchema {
		r.Find(report.Finding{ID: "schemas.huge", Check: "schemas", Severity: report.SevError, What: "A schema is larger than 64 KiB or deeper than 64 levels, and was not read.",
			Why: "Clients refuse it.", Fix: "Simplify it."}, name)
		return
	}
	if depth > deepSchema*2 { // an object and its properties are two levels
		r.Find(report.Finding{ID: "schemas.deep", Check: "schemas", Severity: report.SevWarning, What: fmt.Sprintf("A schema is nested deeper than %d objects.", deepSchema),
			Why: "Models fill deep arguments badly.", Fix: "Flatten it."}, name)
	}
	if bytes.Contains(text, []byte(`"$ref":"http`)) {
		r.Find(report.Finding{ID: "schemas.remote-ref", Check: "schemas", Severity: report.SevError, What: "A schema refers to a document on the network.",
			Why: "Clients must not fetch it, so the schema is incomplete to them.", Fix: "Write the definition into $defs."}, name)
		return
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource("schema.json", doc); err == nil {
		_, err = c.Compile("schema.json")
		if err != nil {
			r.Find(report.Finding{ID: "schemas.invalid", Check: "schemas", Severity: report.SevError, What: "A schema is no valid JSON Schema.",
				Why: "Clients that check it drop the tool; others let wrong arguments through.", Fix: "Check it against the JSON Schema of its $schema (2020-12 by default)."}, name)
		}
	}
}

// depthOf counts nesting without decoding.
func depthOf(text []byte) (deepest int) {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

var destroyers = []string{"delete", "remove", "drop", "destroy", "purge", "erase", "wipe"}

func (d *doctor) hints(tools []tool) {
	r := d.report
	for _, t := range tools {
		if t.Description == "" {
			r.Find(report.Finding{ID: "hints.no-description", Check: "hints", Severity: report.SevWarning, What: "A tool has no description.",
				Why: "A model can only guess when to use it.", Fix: "Say in one sentence what it does and when."}, t.Name)
		}
		if t.Title == "" && (t.Annotations == nil || t.Annotations.Title == "") {
			r.Find(report.Finding{ID: "hints.no-title", Check: "hints", Severity: report.SevInfo, What: "A tool has no title.",
				Why: "People see its technical name when they are asked to agree; directories of clients want one.", Fix: "Set title to a few words for people."}, t.Name)
		}
		if catchAll(t.Input) {
			r.Find(report.Finding{ID: "hints.catch-all", Check: "hints", Severity: report.SevInfo, What: "A tool passes any request on (a method and an address as arguments).",
				Why: "Nobody can agree to reading alone, and directories of clients refuse it.", Fix: "Offer one tool for each thing to do."}, t.Name)
		}
		a := t.Annotations
		if a == nil {
			r.Find(report.Finding{ID: "hints.none", Check: "hints", Severity: report.SevInfo, What: "A tool has no annotations.",
				Why: "Clients ask people before every call of a tool that may change something, and that is what they must assume.", Fix: "Set readOnlyHint, and destructiveHint where it applies."}, t.Name)
			continue
		}
		readOnly := a.ReadOnly != nil && *a.ReadOnly
		if readOnly && a.Destructive != nil && *a.Destructive {
			r.Find(report.Finding{ID: "hints.contradiction", Check: "hints", Severity: report.SevError, What: "A tool says that it only reads and that it destroys.",
				Why: "Clients that believe the first let it run without asking.", Fix: "Correct one of the two."}, t.Name)
		}
		lower := strings.ToLower(t.Name)
		if readOnly && slices.ContainsFunc(destroyers, func(w string) bool { return strings.HasPrefix(lower, w) || strings.Contains(lower, "_"+w) }) {
			r.Find(report.Finding{ID: "hints.suspicious", Check: "hints", Severity: report.SevWarning, What: "A tool says that it only reads, and is named as if it destroyed.",
				Why: "Clients that believe the hint let it run without asking.", Fix: "Correct the hint or the name."}, t.Name)
		}
	}
	r.Note("hints", r.Worst("hints"), fmt.Sprintf("%d tools.", len(tools)))
}

// catchAll reports whether a tool's arguments are those of an HTTP client.
func catchAll(schema []byte) bool {
	has := map[string]bool{}
	properties, _ := mcp.Get(schema, mcp.Root(schema), "properties")
	for m := range mcp.Members(schema, properties) {
		if key, err := mcp.String(schema, m.Key); err == nil {
			has[strings.ToLower(key)] = true
		}
	}
	return has["method"] && (has["url"] || has["path"] || has["endpoint"])
}
