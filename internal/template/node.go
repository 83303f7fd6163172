package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/catalog"
	"headgate/internal/workspace"
)

// Node is one workspace of a recipe, with those below it. Its JSON is the form
// of templates and bundles, the same on every door.
type Node struct {
	Name           string            `json:"name"`
	Description    string            `json:"description,omitempty"`
	Role           string            `json:"role,omitempty"`
	Runtime        string            `json:"runtime,omitempty"`
	Tier           int64             `json:"tier,omitempty"`
	Model          string            `json:"model,omitempty"`
	SystemPrompt   string            `json:"system_prompt,omitempty"`
	Template       string            `json:"template,omitempty"` // made of this one first; what is said here wins
	RequiredEnv    []Need            `json:"required_env,omitempty"`
	RecommendedEnv []Need            `json:"recommended_env,omitempty"`
	Servers        []Server          `json:"servers,omitempty"`
	Skills         []Skill           `json:"skills,omitempty"`
	Files          map[string]string `json:"files,omitempty"`
	Budget         map[string]*int64 `json:"budget_limits,omitempty"` // cents by period
	BillingMode    string            `json:"llm_billing_mode,omitempty"`
	SubWorkspaces  []Node            `json:"sub_workspaces,omitempty"`
}

// Server is a server of a recipe.
type Server struct {
	Slug         string            `json:"slug"`
	Name         string            `json:"name,omitempty"`
	Service      string            `json:"service,omitempty"` // a service on offer, by slug or id
	Description  string            `json:"description,omitempty"`
	Version      string            `json:"version,omitempty"`
	Transport    string            `json:"transport,omitempty"`
	URL          string            `json:"url,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	Era          string            `json:"era,omitempty"`
	TimeoutMs    int64             `json:"timeout_ms,omitempty"`
	ConfigScope  string            `json:"config_scope,omitempty"`
	ConfigSchema json.RawMessage   `json:"config_schema,omitempty"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Off          bool              `json:"off,omitempty"`
}

// Skill is a directory of files below skills/.
type Skill struct {
	Name  string            `json:"name"`
	Files map[string]string `json:"files"`
}

// Need is a secret that must be there, or one of several.
type Need []string

// MarshalJSON implements json.Marshaler: one name is a text.
func (n Need) MarshalJSON() ([]byte, error) {
	if len(n) == 1 {
		return json.Marshal(n[0])
	}
	return json.Marshal([]string(n))
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Need) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*n = Need{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(n))
}

// Organization is a recipe for several workspaces.
type Organization struct {
	Name           string `json:"name"`
	Description    string `json:"description,omitempty"`
	RequiredEnv    []Need `json:"required_env,omitempty"`
	RecommendedEnv []Need `json:"recommended_env,omitempty"`
	Workspaces     []Node `json:"workspaces"`
}

// The bounds of one recipe.
const (
	maxNodes   = 200
	maxDepth   = 8
	maxServers = 100
	maxNeeds   = 100
)

// Count returns how many workspaces nodes make.
func Count(nodes []Node) int {
	n := len(nodes)
	for _, each := range nodes {
		n += Count(each.SubWorkspaces)
	}
	return n
}

// decode reads a document strictly: unknown names are mistakes.
func decode(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return ErrRecipe.Saying("The recipe cannot be read: %s.", reason(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ErrRecipe.Saying("The recipe goes on after its end.")
	}
	return nil
}

// reason says what is wrong with a document, without its values.
func reason(err error) string {
	var kind *json.UnmarshalTypeError
	switch text := err.Error(); {
	case errors.As(err, &kind):
		return fmt.Sprintf("%s must be of another type", kind.Field)
	case strings.HasPrefix(text, "json: unknown field "):
		return strings.TrimPrefix(text, "json: ")
	}
	return "it is no JSON or YAML of that form"
}

// checker holds a whole recipe to its rules.
type checker struct {
	catalog *catalog.Catalog
	by      *access.Principal
	names   map[string]bool
	nodes   int
}

func wrong(at, format string, args ...any) error {
	return ErrRecipe.Saying("%s: %s.", at, fmt.Sprintf(format, args...)).With("field", at)
}

func (c *checker) all(nodes []Node, at string, depth int) error {
	if depth > maxDepth {
		return wrong(at, "is more than %d levels deep", maxDepth)
	}
	for i := range nodes {
		if err := c.node(&nodes[i], fmt.Sprintf("%s[%d]", at, i), depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) node(n *Node, at string, depth int) error {
	if c.nodes++; c.nodes > maxNodes {
		return wrong(at, "is more than %d workspaces", maxNodes)
	}
	if strings.TrimSpace(n.Name) == "" {
		return wrong(at+".name", "is missing")
	}
	if c.names[n.Name] {
		return wrong(at+".name", "is there twice")
	}
	c.names[n.Name] = true
	spec := workspace.Spec{Name: n.Name, Role: n.Role, Description: n.Description, Runtime: workspace.Runtime(n.Runtime), Tier: n.Tier, Model: n.Model, Instructions: n.SystemPrompt}
	if err := spec.Check(); err != nil {
		return err
	}
	files := n.files()
	if err := workspace.CheckFiles(files); err != nil {
		return err
	}
	for path := range files {
		if strings.HasPrefix(path, ourDirectory) {
			return wrong(at+".files", "holds a path below "+ourDirectory)
		}
	}
	if _, err := n.limits(); err != nil {
		return err
	}
	if err := checkNeeds(at, append(n.RequiredEnv, n.RecommendedEnv...)); err != nil {
		return err
	}
	switch workspace.Mode(n.BillingMode) {
	case "", workspace.PlatformManaged, workspace.BYOK, workspace.NoModels:
	default:
		return wrong(at+".llm_billing_mode", "is platform_managed, byok or disabled")
	}
	if err := c.servers(n, at); err != nil {
		return err
	}
	return c.all(n.SubWorkspaces, at+".sub_workspaces", depth+1)
}

func (c *checker) servers(n *Node, at string) error {
	if len(n.Servers) > maxServers {
		return wrong(at+".servers", "are more than %d", maxServers)
	}
	slugs := map[string]bool{}
	for i, s := range n.Servers {
		if slugs[s.Slug] {
			return wrong(fmt.Sprintf("%s.servers[%d].slug", at, i), "is there twice")
		}
		slugs[s.Slug] = true
		if err := c.catalog.CheckServer(owner(c.by, s), s.input("")); err != nil {
			return err
		}
	}
	return nil
}

// owner is who makes a server: those built into the program are Headgate's own.
func owner(by *access.Principal, s Server) *access.Principal {
	if s.Transport != string(catalog.Builtin) {
		return by
	}
	own := *by
	own.Kind = access.System
	return &own
}

func (s Server) input(ws string) catalog.ServerInput {
	return catalog.ServerInput{Workspace: ws, Service: s.Service, ServiceInput: catalog.ServiceInput{Slug: s.Slug, Name: s.Name, Description: s.Description, Version: s.Version,
		Transport: catalog.Transport(s.Transport), URL: s.URL, Headers: s.Headers, Era: catalog.Era(s.Era), Timeout: time.Duration(s.TimeoutMs) * time.Millisecond,
		ConfigScope: catalog.ConfigScope(s.ConfigScope), ConfigSchema: s.ConfigSchema, Capabilities: s.Capabilities}}
}

func checkNeeds(at string, needs []Need) error {
	if len(needs) > maxNeeds {
		return wrong(at+".required_env", "are more than %d", maxNeeds)
	}
	for _, n := range needs {
		if len(n) == 0 || len(n) > 20 {
			return wrong(at+".required_env", "has a group without names, or with too many")
		}
		for _, name := range n {
			if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool {
				return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
			}) {
				return wrong(at+".required_env", "names something that is no secret's name")
			}
		}
	}
	return nil
}

// files are all files of a node, those of its skills included.
func (n *Node) files() map[string]string {
	all := make(map[string]string, len(n.Files))
	for path, text := range n.Files {
		all[path] = text
	}
	for _, s := range n.Skills {
		for path, text := range s.Files {
			all["skills/"+s.Name+"/"+path] = text
		}
	}
	return all
}

// setFiles is the reverse of files.
func (n *Node) setFiles(all map[string]string) {
	skills := map[string]map[string]string{}
	for path, text := range all {
		rest, ok := strings.CutPrefix(path, "skills/")
		name, file, inside := strings.Cut(rest, "/")
		if !ok || !inside {
			if n.Files == nil {
				n.Files = map[string]string{}
			}
			n.Files[path] = text
			continue
		}
		if skills[name] == nil {
			skills[name] = map[string]string{}
		}
		skills[name][file] = text
	}
	for _, name := range sorted(skills) {
		n.Skills = append(n.Skills, Skill{name, skills[name]})
	}
}

// limits are a node's budget; nothing said is no limit.
func (n *Node) limits() (budget.Limits, error) {
	l := budget.NoLimits
	for word, cents := range n.Budget {
		p, ok := budget.PeriodOf(word)
		if !ok || cents != nil && *cents < 0 {
			return l, budget.ErrLimits.With("period", word)
		}
		if cents != nil {
			l[p] = *cents
		}
	}
	return l, nil
}
