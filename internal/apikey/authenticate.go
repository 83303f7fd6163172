package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
)

const (
	loadDeadline = 5 * time.Second
	loadAttempts = 8
)

// Authenticate returns who a key stands for. It is on the way of every call:
// a known key is answered from memory, junk is refused by its form, and only a
// well-formed unknown one reads the store, after its address has paid for it.
func (s *Service) Authenticate(ctx context.Context, value string, addr netip.Addr) (*access.Principal, error) {
	if len(value) > longestInput {
		return nil, ErrInvalid
	}
	sum, _ := s.keys.Hash(value)
	e := s.cache.get(sum)
	kind, ok := access.Anonymous, e != nil
	if !ok {
		kind, ok = Parse(value)
	}
	if !ok {
		return nil, ErrInvalid
	}
	// A load that this call merely joined may have read before the last change.
	for range loadAttempts {
		if e != nil && !e.stale.Load() {
			p, err := s.use(e)
			if err == nil && !s.store.Current() {
				return nil, db.ErrAlone // it may have been revoked elsewhere
			}
			return p, err
		}
		var err error
		if e != nil {
			e, err = s.reread(ctx, e)
		} else {
			e, err = s.lookUp(ctx, value, kind, sum, addr)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrBusy.After(time.Second)
}

// use judges what may change without anybody saying so: time.
func (s *Service) use(e *entry) (*access.Principal, error) {
	if e.dead != nil {
		return nil, e.dead
	}
	now := s.now()
	if e.principal.Live(now) {
		e.touch(now)
		return e.principal, nil
	}
	if !e.principal.ExpiresAt.IsZero() && !now.Before(e.principal.ExpiresAt) {
		return nil, ErrExpired
	}
	return nil, ErrRevoked // it died between the look into memory and here
}

// lookUp reads an unknown key. Parallel uses of one key share one read and
// one charge; a key that is found, dead or not, gets its charge back: it is
// known from then on.
func (s *Service) lookUp(ctx context.Context, value string, kind access.Kind, sum [32]byte, addr netip.Addr) (*entry, error) {
	return s.share(ctx, string(sum[:]), func(ctx context.Context) (*entry, error) {
		from := network(addr)
		if d := s.missed.Take(from, s.misses); !d.OK {
			return nil, ErrThrottled.After(d.RetryAfter)
		}
		e, err := s.load(ctx, sum, func() (record, error) { return s.find(ctx, value, kind) })
		if err == nil {
			s.missed.Return(from, s.misses)
		}
		return e, err
	})
}

// network is whom a miss is charged to: an IPv4 address, or an IPv6 /64,
// which is what one subscriber has.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the zero Addr gives the zero Prefix
	return p
}

// find reads a key by its text, under every pepper there is.
func (s *Service) find(ctx context.Context, value string, kind access.Kind) (record, error) {
	for _, sum := range s.keys.Hashes(value) {
		r, err := byHash(ctx, s.store, sum)
		if errors.Is(err, db.ErrNone) {
			continue
		}
		if err == nil && (r.Kind != kind || !equal(r.hash, sum[:])) {
			break
		}
		return r, err
	}
	return record{}, db.ErrNone
}

// reread reads a known key again after a change, at no charge.
func (s *Service) reread(ctx context.Context, known *entry) (*entry, error) {
	key := known.principal.ID
	return s.share(ctx, key, func(ctx context.Context) (*entry, error) {
		e, err := s.load(ctx, known.sum, func() (record, error) { return byID(ctx, s.store, key) })
		if errors.Is(err, ErrInvalid) {
			s.cache.kill(key) // its row is gone
		}
		return e, err
	})
}

// share runs one load at a time per name. The load outlives a caller that
// gives up, because others may wait for it, but not its own deadline. One that
// has given up before begins none.
func (s *Service) share(ctx context.Context, name string, load func(ctx context.Context) (*entry, error)) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result := s.loads.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadDeadline)
		defer cancel()
		return load(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-result:
		e, _ := r.Val.(*entry)
		return e, r.Err
	}
}

// load reads, judges and remembers a key, again and again until no change has
// overtaken the reading. A key that may not be used is remembered as such.
func (s *Service) load(ctx context.Context, sum [32]byte, read func() (record, error)) (*entry, error) {
	for range loadAttempts {
		epoch := s.cache.now()
		r, err := read()
		if errors.Is(err, db.ErrNone) {
			return nil, ErrInvalid
		}
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		p, dead := r.principal(s.now())
		if e, ok := s.cache.put(sum, p, dead, epoch); ok {
			return e, nil
		}
	}
	return nil, ErrBusy.After(time.Second)
}

// principal judges the key by the present state of what it depends on. With an
// error the principal still names all of that, so that a change finds it.
func (r *record) principal(now time.Time) (access.Principal, error) {
	p := access.Principal{
		Kind: r.Kind, ID: r.ID, Name: r.Name, Tenant: r.tenant, Organization: r.Organization, Workspace: r.defaultWorkspace,
		User: r.User, Scopes: r.Scopes, Account: r.payingAccount, ExpiresAt: r.ExpiresAt,
	}
	if r.Kind == access.WorkspaceKey {
		p.Workspace = r.Workspace
	}
	switch {
	case !r.RevokedAt.IsZero():
		return p, ErrRevoked
	case !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt):
		return p, ErrExpired
	case r.Kind == access.OperatorKey:
		return p, nil
	case r.organization == "" || !r.orgRemoved.IsZero():
		return p, ErrOrphaned
	case !r.orgSuspended.IsZero() || !r.tenantSuspended.IsZero():
		return p, ErrSuspended
	}
	switch r.Kind {
	case access.OrganizationKey:
		p.Role = access.Owner
	case access.WorkspaceKey:
		if r.workspaceOf != r.organization || !r.workspaceRemoved.IsZero() {
			return p, ErrOrphaned
		}
		p.Role = access.Member // enough to call; its scopes say the rest
	case access.PersonalKey, access.DiagnosticsKey, access.AccountKey:
		if !r.ownerSuspended.IsZero() {
			return p, ErrSuspended
		}
		if r.owner == "" || !access.ValidRole(access.Role(r.role)) {
			return p, ErrOrphaned
		}
		p.Role = access.Role(r.role)
		if r.Kind == access.AccountKey {
			p.Account = r.Account
			if r.accountOff {
				return p, ErrAccountOff
			}
		}
	default:
		return p, ErrInvalid
	}
	return p, nil
}
