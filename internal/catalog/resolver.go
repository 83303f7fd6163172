package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
)

// maxSpaces bounds the workspaces kept in memory; those not used longest go first.
const maxSpaces = 8192

// Resolver keeps what the call path needs of the workspaces in use. Look-ups
// of a workspace in memory take no lock and no query. A change that has been
// committed through this process's store is in force before its Tx returns.
type Resolver struct {
	store   *db.Store
	keys    *seal.Keys
	schemas schemaCache
	secrets Secrets // nil: there are none
	now     func() time.Time

	spaces sync.Map // spaceKey to *space
	count  atomic.Int64
	serial atomic.Uint64

	mu    sync.Mutex // guards epoch and the step from loaded to current
	epoch uint64
}

type spaceKey struct{ organization, workspace string }

type space struct {
	load    sync.Mutex // one load at a time
	current atomic.Pointer[Workspace]
	used    atomic.Int64 // unix seconds, coarse
}

// NewResolver returns a resolver that follows the store's changes.
func NewResolver(store *db.Store, keys *seal.Keys) *Resolver {
	r := &Resolver{store: store, keys: keys, now: time.Now}
	store.OnChange(r.changed)
	return r
}

// changed drops what a committed change has made old.
func (r *Resolver) changed(kind, ref string) {
	switch kind {
	case "server", "servers", "service", "price", "configuration", "workspace", "secret", kindAllowlist:
	default:
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	r.spaces.Range(func(_, v any) bool {
		s := v.(*space)
		if w := s.current.Load(); w != nil && w.touchedBy(kind, ref) {
			s.current.Store(nil)
		}
		return true
	})
}

// Workspace returns a live workspace of the organization, by its id.
func (r *Resolver) Workspace(ctx context.Context, organization, workspace string) (*Workspace, error) {
	key := spaceKey{organization, workspace}
	if v, ok := r.spaces.Load(key); ok {
		s := v.(*space)
		if w := s.current.Load(); w != nil {
			if now := r.now().Unix(); s.used.Load() != now {
				s.used.Store(now)
			}
			return w, nil
		}
		return r.fill(ctx, key, s)
	}
	canonical, ok := id.Parse("ws", workspace)
	if !ok {
		return nil, ErrWorkspaceNotFound
	}
	key.workspace = canonical
	v, loaded := r.spaces.LoadOrStore(key, &space{})
	if !loaded && r.count.Add(1) > maxSpaces {
		r.evict()
	}
	return r.fill(ctx, key, v.(*space))
}

// fill loads a workspace, once for all who wait for it. Whoever starts to wait
// after a change has returned gets a load that began after it.
func (r *Resolver) fill(ctx context.Context, key spaceKey, s *space) (*Workspace, error) {
	s.load.Lock()
	defer s.load.Unlock()
	s.used.Store(r.now().Unix())
	for try := 0; ; try++ {
		if w := s.current.Load(); w != nil {
			return w, nil
		}
		r.mu.Lock()
		epoch := r.epoch
		r.mu.Unlock()
		w, err := r.read(ctx, key)
		if err != nil {
			if errors.Is(err, ErrWorkspaceNotFound) && r.spaces.CompareAndDelete(key, s) {
				r.count.Add(-1)
			}
			return nil, err
		}
		r.mu.Lock()
		still := epoch == r.epoch
		if still {
			s.current.Store(w)
		}
		r.mu.Unlock()
		// In a storm of changes the load is right for this caller and kept for nobody.
		if still || try == 3 {
			return w, nil
		}
	}
}

// evict forgets the workspaces that were not used in the last minutes, more of
// them while there are too many.
func (r *Resolver) evict() {
	for idle := int64(600); r.count.Load() > maxSpaces && idle >= 0; idle -= 200 {
		before := r.now().Unix() - idle
		r.spaces.Range(func(k, v any) bool {
			if v.(*space).used.Load() <= before && r.spaces.CompareAndDelete(k, v) {
				r.count.Add(-1)
			}
			return r.count.Load() > maxSpaces*3/4
		})
	}
}

// read loads a workspace from the store.
func (r *Resolver) read(ctx context.Context, key spaceKey) (*Workspace, error) {
	status, err := db.Value[string](ctx, r.store, `SELECT status FROM workspaces WHERE organization_id=$1 AND id=$2 AND removed_at IS NULL`, key.organization, key.workspace)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrWorkspaceNotFound
	}
	if err != nil {
		return nil, err
	}
	rows, err := serversIn(ctx, r.store, key.organization, key.workspace)
	if err != nil {
		return nil, err
	}
	prices, err := pricesIn(ctx, r.store, key.organization, key.workspace)
	if err != nil {
		return nil, err
	}
	timeouts, err := timeoutsIn(ctx, r.store, key.organization, key.workspace)
	if err != nil {
		return nil, err
	}
	configs, err := configurationsIn(ctx, r.store, key.organization, key.workspace)
	if err != nil {
		return nil, err
	}
	allowed, err := allowlist(ctx, r.store, key.organization)
	if err != nil {
		return nil, err
	}
	w := newWorkspace(key, status, r.serial.Add(1))
	for i := range rows {
		s, err := r.server(ctx, &rows[i].ServerDetail, &rows[i].service, configs, allowed)
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", rows[i].ID, err)
		}
		w.add(s)
	}
	w.fill(prices, timeouts)
	return w, nil
}

// server makes the call path's view of a server.
func (r *Resolver) server(ctx context.Context, d *ServerDetail, s *Service, configs []configRow, allowed allowed) (*Server, error) {
	v := &Server{
		ID: d.ID, Organization: d.Organization, Workspace: d.Workspace, Slug: d.Slug, Name: d.Name, Enabled: d.Enabled,
		Service: s.ID, ServiceName: s.Name, Transport: s.Transport, URL: s.URL, Command: s.Command, Era: s.Era, Timeout: or(d.Timeout, s.Timeout),
		DefaultPrice: s.Price, ReadPrice: s.ReadPrice, ChargeRejected: s.ChargeRejected, ConfigScope: s.ConfigScope,
		Version: d.Revision + s.Revision, CreatedAt: d.CreatedAt,
	}
	var err error
	if v.headers, err = openHeaders(r.keys, s.ID, s.headers); err != nil {
		return nil, err
	}
	if v.schema, err = r.schemas.compile(s.ConfigSchema); err != nil {
		return nil, err
	}
	if v.barred = !allowed.has(s.ID); v.barred {
		v.shared = binding{err: ErrNotAllowed.With("serviceId", s.ID)}
		return v, nil
	}
	v.shared, err = r.bind(ctx, v, pickConfig(configs, s.ID, ForOrganization, ""))
	return v, err
}

// Service returns the server that uses of a service in a workspace go to: the
// oldest enabled one that is made of it, or, for a service on offer, one that
// stands for the service itself and has no id.
func (r *Resolver) Service(ctx context.Context, by *access.Principal, workspace, service string) (*Server, error) {
	w, err := r.Workspace(ctx, by.Organization, workspace)
	if err != nil {
		return nil, err
	}
	canonical, ok := id.Parse("svc", service)
	if !ok {
		return nil, ErrServiceNotFound
	}
	if s := w.madeOf(canonical); s != nil {
		return s, nil
	}
	if v, ok := w.offered.Load(canonical); ok {
		return v.(*Server), nil
	}
	return r.offer(ctx, by, w, canonical)
}

// offer loads a service on offer into a workspace.
func (r *Resolver) offer(ctx context.Context, by *access.Principal, w *Workspace, service string) (*Server, error) {
	r.mu.Lock()
	epoch := r.epoch
	r.mu.Unlock()
	s, err := visibleService(ctx, r.store, by.Organization, by.Tenant, service)
	if err != nil {
		return nil, err
	}
	if s.Private {
		return nil, ErrServiceNotFound
	}
	configs, err := configurationsOf(ctx, r.store, by.Organization, "", []string{service})
	if err != nil {
		return nil, err
	}
	prices, err := pricesAt(ctx, r.store, service, time.Time{})
	if err != nil {
		return nil, err
	}
	allowed, err := allowlist(ctx, r.store, by.Organization)
	if err != nil {
		return nil, err
	}
	v, err := r.server(ctx, &ServerDetail{Organization: by.Organization, Workspace: w.ID, Slug: s.Slug, Name: s.Name, Enabled: true, CreatedAt: s.CreatedAt}, s, configs, allowed)
	if err != nil {
		return nil, err
	}
	for _, p := range prices {
		v.override(p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch == r.epoch {
		w.offered.Store(service, v)
	}
	return v, nil
}
