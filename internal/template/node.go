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
	Slug           string            `json:"slug,omitempty"`    // taken, one is made of the name
	Default        bool              `json:"default,omitempty"` // of an organization: its default workspace
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

// Server is a server of a recipe, or a service of the organization's own.
type Server struct {
	Slug           string            `json:"slug"`
	Name           string            `json:"name,omitempty"`
	Service        string            `json:"service,omitempty"` // a service on offer, by slug or id
	Description    string            `json:"description,omitempty"`
	Version        string            `json:"version,omitempty"`
	Transport      string            `json:"transport,omitempty"`
	URL            string            `json:"url,omitempty"`
	Headers        map[string]string `json:"headers,omitempty"`
	Era            string            `json:"era,omitempty"`
	TimeoutMs      int64             `json:"timeout_ms,omitempty"`
	ToolTimeoutsMs map[string]int64  `json:"tool_timeouts_ms,omitempty"`
	ConfigScope    string            `json:"config_scope,omitempty"`
	ConfigSchema   Document          `json:"config_schema,omitempty"`
	Configuration  Document          `json:"configuration,omitempty"` // the organization's, where it has none
	Capabilities   []string          `json:"capabilities,omitempty"`
	Price          *int64            `json:"price,omitempty"` // prices are a seller's
	ReadPrice      *int64            `json:"read_price,omitempty"`
	ChargeRejected *bool             `json:"charge_rejected,omitempty"`
	ToolPrices     map[string]int64  `json:"tool_prices,omitempty"`
	Off            bool              `json:"off,omitempty"`
}

// Document is a JSON object in one form, so that its digest is the same however
// it was written on its way.
type Document json.RawMessage

// MarshalJSON implements json.Marshaler.
func (d Document) MarshalJSON() ([]byte, error) { return normal(d) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Document) UnmarshalJSON(text []byte) (err error) {
	*d, err = normal(text)
	return err
}

// normal writes an object anew: members by name, no spaces, numbers as they are.
func normal(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// object reads a document; nil when there is none.
func (d Document) object() (map[string]any, error) {
	if len(d) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(d))
	dec.UseNumber()
	var v map[string]any
	return v, dec.Decode(&v)
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

// Organization is a recipe for several workspaces, and for what they share.
type Organization struct {
	Name           string     `json:"name"`
	Description    string     `json:"description,omitempty"`
	RequiredEnv    []Need     `json:"required_env,omitempty"`
	RecommendedEnv []Need     `json:"recommended_env,omitempty"`
	BillingMode    string     `json:"llm_billing_mode,omitempty"` // its workspaces' default
	Services       []Server   `json:"services,omitempty"`         // of its own, that its workspaces' servers may name
	Allowlist      *Allowlist `json:"plugin_allowlist,omitempty"`
	Workspaces     []Node     `json:"workspaces"`
}

// Allowlist is which services workspaces may have: services by slug, a
// workspace's own server as workspace/server.
type Allowlist struct {
	Plugins   []string `json:"plugins"`
	EnabledBy string   `json:"enabled_by"`
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
	spec := workspace.Spec{Name: n.Name, Slug: n.Slug, Role: n.Role, Description: n.Description, Runtime: workspace.Runtime(n.Runtime), Tier: n.Tier, Model: n.Model, Instructions: n.SystemPrompt}
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
	if err := checkMode(n.BillingMode, at); err != nil {
		return err
	}
	if err := c.servers(n.Servers, at+".servers"); err != nil {
		return err
	}
	return c.all(n.SubWorkspaces, at+".sub_workspaces", depth+1)
}

func checkMode(mode, at string) error {
	switch workspace.Mode(mode) {
	case "", workspace.PlatformManaged, workspace.BYOK, workspace.NoModels:
		return nil
	}
	return wrong(at+".llm_billing_mode", "is platform_managed, byok or disabled")
}

func (c *checker) servers(servers []Server, at string) error {
	if len(servers) > maxServers {
		return wrong(at, "are more than %d", maxServers)
	}
	slugs := map[string]bool{}
	for i, s := range servers {
		if slugs[s.Slug] {
			return wrong(fmt.Sprintf("%s[%d].slug", at, i), "is there twice")
		}
		slugs[s.Slug] = true
		p, err := s.portable("")
		if err != nil {
			return wrong(fmt.Sprintf("%s[%d]", at, i), "holds a document that is no JSON object")
		}
		if err := c.catalog.CheckPortable(owner(c.by, s), p); err != nil {
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

// portable is a server as the catalog takes it.
func (s Server) portable(ws string) (p catalog.Portable, err error) {
	p = catalog.Portable{Off: s.Off, ToolPrices: s.ToolPrices, ServerInput: catalog.ServerInput{Workspace: ws, Service: s.Service, ServiceInput: catalog.ServiceInput{
		Slug: s.Slug, Name: s.Name, Description: s.Description, Version: s.Version, Transport: catalog.Transport(s.Transport), URL: s.URL, Headers: s.Headers,
		Era: catalog.Era(s.Era), Timeout: time.Duration(s.TimeoutMs) * time.Millisecond, ConfigScope: catalog.ConfigScope(s.ConfigScope), ConfigSchema: json.RawMessage(s.ConfigSchema),
		Capabilities: s.Capabilities, Price: s.Price, ReadPrice: s.ReadPrice, ChargeRejected: s.ChargeRejected}}}
	p.ToolTimeouts = map[string]time.Duration{}
	for tool, ms := range s.ToolTimeoutsMs {
		p.ToolTimeouts[tool] = time.Duration(ms) * time.Millisecond
	}
	p.Config, err = s.Configuration.object()
	return p, err
}

// carry is the reverse of portable.
func carry(p catalog.Portable) (s Server, err error) {
	s = Server{Slug: p.Slug, Name: p.Name, Service: p.Service, Description: p.Description, Version: p.Version, Transport: string(p.Transport), URL: p.URL, Headers: p.Headers,
		Era: string(p.Era), TimeoutMs: p.Timeout.Milliseconds(), ConfigScope: string(p.ConfigScope), Capabilities: p.Capabilities, Price: p.Price, ReadPrice: p.ReadPrice,
		ChargeRejected: p.ChargeRejected, ToolPrices: p.ToolPrices, Off: p.Off}
	for tool, timeout := range p.ToolTimeouts {
		if s.ToolTimeoutsMs == nil {
			s.ToolTimeoutsMs = map[string]int64{}
		}
		s.ToolTimeoutsMs[tool] = timeout.Milliseconds()
	}
	if p.ConfigSchema != nil {
		if s.ConfigSchema, err = normal(p.ConfigSchema); err != nil {
			return s, err
		}
	}
	if p.Config != nil {
		s.Configuration, err = json.Marshal(p.Config)
	}
	return s, err
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
