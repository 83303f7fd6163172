package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/tenancy"
)

const (
	maxGrants = 50_000
	grantAge  = 30 * time.Second // after which a grant is read again, should a notice have been lost
)

// grant is what a session may, read once and kept until something it stands on
// changes. done is closed when it does.
type grant struct {
	principal access.Principal
	expires   time.Time // the session's end
	until     time.Time // when to read again
	done      *access.Done
}

// grants remembers what live sessions may.
type grants struct {
	load func(ctx context.Context, ref string) (*grant, error)
	now  func() time.Time

	mu      sync.Mutex
	known   map[string]*grant
	flights map[*flight]struct{}
}

// flight is a load under way, with the changes that were announced meanwhile.
type flight struct{ changes []notice }

type notice struct{ kind, ref string }

func newGrants(now func() time.Time, load func(ctx context.Context, ref string) (*grant, error)) *grants {
	return &grants{load: load, now: now, known: map[string]*grant{}, flights: map[*flight]struct{}{}}
}

// touches reports whether the change may alter what the session ref may.
func (g *grant) touches(ref string, n notice) bool {
	switch n.kind {
	case KindSession:
		return n.ref == ref
	case KindUser, tenancy.KindMembership:
		return n.ref == g.principal.User
	case tenancy.KindOrganization:
		return n.ref == g.principal.Organization
	case tenancy.KindTenant:
		return n.ref == g.principal.Tenant
	case "workspace":
		return n.ref == g.principal.Workspace
	case "account":
		return n.ref == g.principal.Account
	}
	return false
}

// changed is told of every committed change. Who stands on what changed is
// told so at once and asks again.
func (s *grants) changed(kind, ref string) {
	n := notice{kind, ref}
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.flights {
		f.changes = append(f.changes, n)
	}
	if kind == KindSession {
		if g, ok := s.known[ref]; ok {
			s.drop(ref, g)
		}
		return
	}
	for r, g := range s.known {
		if g.touches(r, n) {
			s.drop(r, g)
		}
	}
}

func (s *grants) drop(ref string, g *grant) {
	delete(s.known, ref)
	g.done.Close()
}

// get returns what the session may now.
func (s *grants) get(ctx context.Context, ref string) (*grant, error) {
	for {
		s.mu.Lock()
		if g, ok := s.known[ref]; ok && s.now().Before(g.until) {
			s.mu.Unlock()
			return g, nil
		}
		f := &flight{}
		s.flights[f] = struct{}{}
		s.mu.Unlock()

		g, err := s.load(ctx, ref)
		if g, ok := s.land(f, ref, g, err); ok {
			return g, err
		}
	}
}

// land ends a load. ok is false when a change overtook it.
func (s *grants) land(f *flight, ref string, g *grant, err error) (_ *grant, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, f)
	old := s.known[ref]
	if err != nil {
		if old != nil && fault.Of(err).Kind != fault.Internal { // a failing store ends nobody's streams
			s.drop(ref, old)
		}
		return nil, true
	}
	for _, n := range f.changes {
		if g.touches(ref, n) {
			return nil, false
		}
	}
	g.until = s.now().Add(grantAge)
	if old != nil {
		if old.principal == *g.principal.WithDone(old.done) && old.expires.Equal(g.expires) {
			g.done = old.done // nothing changed: streams go on
		} else {
			s.drop(ref, old)
		}
	}
	g.principal = *g.principal.WithDone(g.done)
	if old == nil && len(s.known) >= maxGrants {
		for r, victim := range s.known { // the map's order is random
			s.drop(r, victim)
			break
		}
	}
	s.known[ref] = g
	return g, true
}

// grantRow is everything a session stands on, in one look.
type grantRow struct {
	user, organization, pool, email, tenant string
	role                                    access.Role
	active                                  bool
	expires, ended, userSuspended           time.Time
	orgSuspended, orgRemoved, tenSuspended  time.Time
}

const grantJoins = ` u.pool, u.email, u.suspended_at, COALESCE(m.role, ''), COALESCE(m.active, FALSE), o.tenant_id, o.suspended_at, o.removed_at, t.suspended_at`

func (r *grantRow) fields() []any {
	return []any{&r.user, &r.organization, (*db.Time)(&r.expires), (*db.Time)(&r.ended), &r.pool, &r.email, (*db.Time)(&r.userSuspended),
		&r.role, &r.active, &r.tenant, (*db.Time)(&r.orgSuspended), (*db.Time)(&r.orgRemoved), (*db.Time)(&r.tenSuspended)}
}

func oneGrant(ctx context.Context, q db.Querier, session string) (*grantRow, error) {
	r, err := db.One(ctx, q, (*grantRow).fields, `SELECT s.user_id, s.organization_id, s.expires_at, s.ended_at,`+grantJoins+`
		FROM sessions s JOIN users u ON u.id = s.user_id JOIN organizations o ON o.id = s.organization_id JOIN tenants t ON t.id = o.tenant_id
		LEFT JOIN memberships m ON m.organization_id = s.organization_id AND m.user_id = s.user_id WHERE s.id = $1`, session)
	if errors.Is(err, db.ErrNone) {
		return nil, errEnded
	}
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return &r, nil
}

// check returns nil when the session may be used now.
func (r *grantRow) check(now time.Time) error {
	switch {
	case !r.ended.IsZero() || !now.Before(r.expires) || !r.userSuspended.IsZero() || !r.active || !r.orgRemoved.IsZero():
		return errEnded
	case !r.orgSuspended.IsZero() || !r.tenSuspended.IsZero():
		return tenancy.ErrSuspended
	}
	return nil
}

func (s *Service) loadGrant(ctx context.Context, ref string) (*grant, error) {
	if issuer, subject, ok := cutExternal(ref); ok {
		return s.loadExternal(ctx, issuer, subject)
	}
	r, err := oneGrant(ctx, s.store, ref)
	if err != nil {
		return nil, err
	}
	if err := r.check(s.now()); err != nil {
		return nil, err
	}
	return s.newGrant(ctx, r, ref)
}

func (s *Service) newGrant(ctx context.Context, r *grantRow, credential string) (*grant, error) {
	p := access.Principal{Kind: access.Session, ID: credential, Name: r.email, Tenant: r.tenant, Organization: r.organization, User: r.user, Role: r.role, Scopes: access.Every}
	if r.pool != PlatformPool {
		p.Kind = access.EndUser
	}
	if s.o.Complete != nil {
		if err := s.o.Complete(ctx, &p); err != nil {
			return nil, fmt.Errorf("complete the principal: %w", err)
		}
	}
	return &grant{principal: p, expires: r.expires, done: access.NewDone()}, nil
}
