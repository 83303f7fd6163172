package catalog

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"headgate/internal/vault"
)

// Workspace is what the Resolver knows of one workspace. It never changes; a
// change makes a new one, with another Version.
type Workspace struct {
	ID           string
	Organization string
	Status       string
	Version      uint64 // unique in this process, so that caches can be keyed by it

	servers  []*Server
	byName   map[string]*Server // by slug and by id
	services map[string]*Server // the oldest enabled one of each service, else the oldest
	offered  sync.Map           // services on offer that are used without a server
}

func newWorkspace(key spaceKey, status string, version uint64) *Workspace {
	return &Workspace{ID: key.workspace, Organization: key.organization, Status: status, Version: version,
		byName: map[string]*Server{}, services: map[string]*Server{}}
}

func (w *Workspace) add(s *Server) {
	w.servers = append(w.servers, s)
	w.byName[s.Slug], w.byName[s.ID] = s, s
	if old := w.services[s.Service]; old == nil || !old.Enabled && s.Enabled {
		w.services[s.Service] = s
	}
}

// fill spreads overrides of prices and timeouts over the servers.
func (w *Workspace) fill(prices []priceRow, timeouts []timeoutRow) {
	for _, s := range w.servers {
		for _, p := range prices {
			if p.service == s.Service {
				s.override(p)
			}
		}
	}
	for _, t := range timeouts {
		if s := w.byName[t.server]; s != nil {
			if s.timeouts == nil {
				s.timeouts = map[string]time.Duration{}
			}
			s.timeouts[t.tool] = t.timeout
		}
	}
}

// Servers returns every server, switched-off ones included, oldest first. The
// slice is shared: do not change it.
func (w *Workspace) Servers() []*Server { return w.servers }

// Server returns a server by its slug or id.
func (w *Workspace) Server(name string) (*Server, bool) {
	s, ok := w.byName[name]
	return s, ok
}

func (w *Workspace) madeOf(service string) *Server { return w.services[service] }

// touchedBy reports whether a change of this kind makes the workspace old.
func (w *Workspace) touchedBy(kind, ref string) bool {
	switch kind {
	case "servers", "workspace":
		return ref == w.ID
	case "server":
		return w.byName[ref] != nil
	case kindAllowlist:
		return ref == w.Organization
	case "secret":
		return w.usesSecret(ref)
	default:
		_, offered := w.offered.Load(ref)
		return offered || w.services[ref] != nil
	}
}

// usesSecret reports whether a server refers to a secret that has changed:
// the workspace's own, or one of its organization.
func (w *Workspace) usesSecret(ref string) (uses bool) {
	for _, owner := range []string{"", w.ID} {
		name, ok := strings.CutPrefix(ref, vault.Ref(w.Organization, owner, ""))
		if !ok {
			continue
		}
		for _, s := range w.servers {
			if _, ok := s.uses.Load(name); ok {
				return true
			}
		}
		w.offered.Range(func(_, v any) bool {
			_, uses = v.(*Server).uses.Load(name)
			return !uses
		})
	}
	return uses
}

// Server is one MCP server in one workspace, as calls use it. It never changes.
type Server struct {
	ID             string // "" when it stands for a service on offer
	Organization   string
	Workspace      string
	Service        string
	ServiceName    string
	Slug           string
	Name           string
	Enabled        bool
	Transport      Transport
	URL            string
	Command        json.RawMessage // what starts a stdio server
	Era            Era
	Timeout        time.Duration // of requests without one of their own
	DefaultPrice   int64
	ReadPrice      int64
	ChargeRejected bool
	ConfigScope    ConfigScope
	Version        int64 // rises whenever the address, the headers, the era or the schema changes
	CreatedAt      time.Time

	prices   map[string]int64
	timeouts map[string]time.Duration
	headers  map[string]string
	schema   *configSchema
	shared   binding
	users    userBindings
	uses     sync.Map // names of secrets it refers to
	barred   bool     // not on the organization's allowlist
}

// Key names the server among all of the installation, also when it has no id.
func (s *Server) Key() string {
	if s.ID != "" {
		return s.ID
	}
	return s.Workspace + "/" + s.Service
}

// Price returns what a call of a tool costs.
func (s *Server) Price(tool string) int64 {
	if p, ok := s.prices[tool]; ok {
		return p
	}
	return s.DefaultPrice
}

// TimeoutOf returns the deadline of a call of a tool.
func (s *Server) TimeoutOf(tool string) time.Duration {
	if d, ok := s.timeouts[tool]; ok {
		return d
	}
	return or(s.Timeout, DefaultTimeout)
}

func (s *Server) override(p priceRow) {
	if p.operation != opTool || p.tool == "" {
		return
	}
	if s.prices == nil {
		s.prices = map[string]int64{}
	}
	s.prices[p.tool] = p.price
}
