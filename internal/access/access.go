package access

import (
	"sync/atomic"
	"time"

	"headgate/internal/fault"
)

// Kind is the kind of credential a principal came with; see design.md section 3.
type Kind uint8

// The kinds of principals.
const (
	Anonymous Kind = iota
	Session
	PersonalKey
	DiagnosticsKey
	AccountKey
	OrganizationKey
	WorkspaceKey
	OperatorKey
	PublishableKey
	SecretKey
	EndUser
	System // Headgate itself: jobs, first start
)

var kindNames = [...]string{"anonymous", "session", "personal", "diagnostics", "account", "organization", "workspace", "operator", "publishable", "secret", "end_user", "system"}

// String returns the kind's word, as key lists and events show it.
func (k Kind) String() string { return kindNames[k] }

// Role is what a membership grants in its organization.
type Role string

// The roles, weakest last. Member is the role of customers' people and end users.
const (
	Owner     Role = "owner"
	Admin     Role = "admin"
	Developer Role = "developer"
	Viewer    Role = "viewer"
	Member    Role = "member"
)

// ValidRole reports whether r is one of the five roles.
func ValidRole(r Role) bool {
	switch r {
	case Owner, Admin, Developer, Viewer, Member:
		return true
	}
	return false
}

// Principal is who acts, as the door that authenticated the request found
// them. It is immutable but for the switch that Revoke throws.
type Principal struct {
	Kind         Kind
	ID           string // the key or session
	Name         string // a key's name, a user's e-mail: for trails, not for decisions
	Tenant       string
	Organization string
	Workspace    string // the default workspace; a workspace key's own
	User         string // "" for organization, workspace and operator keys
	Role         Role   // of User in Organization; Owner for organization keys
	Scopes       Scopes
	Account      string // the credit account that pays; "" when nothing can be paid
	ExpiresAt    time.Time
	done         *Done
}

// Metered returns whose rate a request counts against: the key's, and of
// sessions the person's, so that signing in again buys nothing.
func (p *Principal) Metered() string {
	if p.Kind == Session {
		return p.User
	}
	return p.ID
}

// Done is closed when a credential dies, so that open streams can end.
type Done struct {
	c      chan struct{}
	closed atomic.Bool
}

// NewDone returns an open Done.
func NewDone() *Done { return &Done{c: make(chan struct{})} }

// Close ends every stream that waits for it. It may be called more than once.
func (d *Done) Close() {
	if d.closed.CompareAndSwap(false, true) {
		close(d.c)
	}
}

// WithDone returns a copy of p whose Revoked channel is d's.
func (p Principal) WithDone(d *Done) *Principal {
	p.done = d
	return &p
}

// Revoked returns a channel that is closed once the credential is revoked;
// nil (never ready) when the credential cannot be.
func (p *Principal) Revoked() <-chan struct{} {
	if p.done == nil {
		return nil
	}
	return p.done.c
}

// Live reports whether the credential still holds at the given moment.
func (p *Principal) Live(now time.Time) bool {
	return (p.done == nil || !p.done.closed.Load()) && (p.ExpiresAt.IsZero() || now.Before(p.ExpiresAt))
}

// The faults of this package.
var (
	ErrDenied      = fault.New(fault.Forbidden, "access.denied", "This credential may not do that. Use another, or ask an owner or admin.")
	ErrNeedSession = fault.New(fault.Forbidden, "access.session_only", "Keys cannot manage keys. Sign in (headgate login) and use the session instead.")
)

// Require returns nil when p may do what the permission stands for, and
// ErrDenied otherwise, with the missing scope or the roles that have it.
func Require(p *Principal, perm Permission) error {
	rule, ok := rules[perm]
	if !ok || p == nil {
		return ErrDenied
	}
	if rule.operator {
		if p.Kind == OperatorKey || p.Kind == System {
			return nil
		}
		return ErrDenied.Saying("This needs the operator key of the installation.")
	}
	if rule.person && p.Kind != Session {
		return ErrDenied.Saying("This needs a person's session: sign in (headgate login).")
	}
	if p.Kind == OperatorKey {
		return ErrDenied.Saying("Operator keys act on the installation (/v1/admin), not inside an organization.")
	}
	if !p.Scopes.Has(rule.scope) {
		return ErrDenied.Saying("This needs the scope %s, which this credential lacks. Create a key that has it.", rule.scope).With("scope", string(rule.scope))
	}
	if !rule.roles.has(p.Role) {
		return ErrDenied.Saying("Your role in this organization (%s) may not do that. Ask an owner or admin to do it, or for another role.", p.Role).With("role", string(p.Role))
	}
	return nil
}

// Can is Require as a question.
func (p *Principal) Can(perm Permission) bool { return Require(p, perm) == nil }
