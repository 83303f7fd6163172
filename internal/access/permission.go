package access

import (
	"slices"
	"strings"
)

// Scope narrows what a key may do; a closed list.
type Scope string

// The scopes of design.md section 3.
const (
	MCPRead   Scope = "mcp:read"
	MCPWrite  Scope = "mcp:write"
	MCPAdmin  Scope = "mcp:admin"
	LogsRead  Scope = "logs:read"
	UserRead  Scope = "user:read"
	UserWrite Scope = "user:write"
	OrgRead   Scope = "org:read"
	OrgWrite  Scope = "org:write"
	OrgAdmin  Scope = "org:admin"
)

// AllScopes lists every scope, in the order documents show them.
var AllScopes = []Scope{MCPRead, MCPWrite, MCPAdmin, LogsRead, UserRead, UserWrite, OrgRead, OrgWrite, OrgAdmin}

// Scopes is a set of scopes.
type Scopes uint16

// Every is the set of all scopes, which sessions and organization keys have.
const Every Scopes = 1<<9 - 1

func bit(s Scope) Scopes {
	if i := slices.Index(AllScopes, s); i >= 0 {
		return 1 << i
	}
	return 0
}

// ParseScopes returns the set of the given words; ok is false when one of
// them is no scope.
func ParseScopes(words []string) (set Scopes, ok bool) {
	for _, w := range words {
		b := bit(Scope(w))
		if b == 0 {
			return 0, false
		}
		set |= b
	}
	return set, true
}

// Has reports whether s is in the set.
func (set Scopes) Has(s Scope) bool { b := bit(s); return b != 0 && set&b == b }

// Within reports whether every scope of set is in outer.
func (set Scopes) Within(outer Scopes) bool { return set&^outer == 0 }

// List returns the set's words in the order of AllScopes.
func (set Scopes) List() []string {
	words := []string{}
	for _, s := range AllScopes {
		if set.Has(s) {
			words = append(words, string(s))
		}
	}
	return words
}

// String returns the words joined by spaces, the form the store keeps.
func (set Scopes) String() string { return strings.Join(set.List(), " ") }

// Permission names one kind of action. Operations declare one; Require judges.
type Permission string

// The permissions. Each has one row in rules.
const (
	ProfileRead      Permission = "profile.read"
	ProfileWrite     Permission = "profile.write"
	SessionsManage   Permission = "sessions.manage"
	KeysManage       Permission = "keys.manage"     // one's own personal, diagnostics and account keys
	OrgKeysManage    Permission = "orgkeys.manage"  // organization and workspace keys
	ServicesRead     Permission = "services.read"   // catalog, servers, tools
	ServicesAdmin    Permission = "services.admin"  // register, update, remove, prices
	ServicesConfig   Permission = "services.config" // configure and unconfigure
	Call             Permission = "call"            // tools
	Read             Permission = "read"            // resources and prompts
	LogsOwn          Permission = "logs.read"       // one's own calls
	LogsAll          Permission = "logs.all"        // everybody's calls of the organization, audit and error logs
	OrganizationRead Permission = "organization.read"
	OrgMembers       Permission = "organization.members" // list people
	OrgManage        Permission = "organization.manage"  // settings, members, invitations
	OrgOwn           Permission = "organization.own"     // transfer, removal
	CreditsRead      Permission = "credits.read"
	AccountManage    Permission = "account.manage" // the credit account of the person who asks
	WorkspacesRead   Permission = "workspaces.read"
	WorkspacesAdmin  Permission = "workspaces.admin"
	Diagnose         Permission = "diagnose"
	Operate          Permission = "operate" // the operator tier
)

type roleSet uint8

const (
	owners roleSet = 1 << iota
	admins         // owner passes every admin check, so sets below always hold both
	developers
	viewers
	members
)

const (
	staff    = owners | admins
	builders = staff | developers
	callers  = builders | members
	anyone   = callers | viewers
)

func (s roleSet) has(r Role) bool {
	switch r {
	case Owner:
		return s&owners != 0
	case Admin:
		return s&admins != 0
	case Developer:
		return s&developers != 0
	case Viewer:
		return s&viewers != 0
	case Member:
		return s&members != 0
	}
	return false
}

type rule struct {
	scope    Scope
	roles    roleSet
	person   bool // a session only
	operator bool // the operator key only
}

var rules = map[Permission]rule{
	ProfileRead:      {scope: UserRead, roles: anyone},
	ProfileWrite:     {scope: UserWrite, roles: anyone, person: true},
	SessionsManage:   {scope: UserWrite, roles: anyone, person: true},
	KeysManage:       {scope: UserWrite, roles: callers, person: true},
	OrgKeysManage:    {scope: OrgAdmin, roles: staff},
	ServicesRead:     {scope: MCPRead, roles: anyone},
	ServicesAdmin:    {scope: MCPAdmin, roles: builders},
	ServicesConfig:   {scope: MCPAdmin, roles: builders},
	Call:             {scope: MCPWrite, roles: callers},
	Read:             {scope: MCPRead, roles: anyone},
	LogsOwn:          {scope: LogsRead, roles: anyone},
	LogsAll:          {scope: LogsRead, roles: staff},
	OrganizationRead: {scope: OrgRead, roles: anyone},
	OrgMembers:       {scope: OrgRead, roles: staff},
	OrgManage:        {scope: OrgWrite, roles: staff},
	OrgOwn:           {scope: OrgAdmin, roles: owners, person: true},
	CreditsRead:      {scope: OrgRead, roles: anyone},
	AccountManage:    {scope: UserWrite, roles: anyone, person: true},
	WorkspacesRead:   {scope: OrgRead, roles: anyone},
	WorkspacesAdmin:  {scope: OrgAdmin, roles: staff},
	Diagnose:         {scope: MCPRead, roles: builders},
	Operate:          {operator: true},
}

// Known reports whether perm is one of the permissions.
func Known(perm Permission) bool { _, ok := rules[perm]; return ok }

// ScopeOf returns the scope a permission needs; documents list it.
func ScopeOf(perm Permission) Scope { return rules[perm].scope }

// ScopesOf returns the widest set of scopes a role can lend to a key.
func ScopesOf(r Role) Scopes {
	var set Scopes
	for _, rule := range rules {
		if !rule.operator && rule.roles.has(r) {
			set |= bit(rule.scope)
		}
	}
	return set
}
