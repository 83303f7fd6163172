package recall

import (
	"context"
	"sync"
	"time"

	"headgate/internal/db"
)

const maxAge = 30 * time.Second

// Cache remembers values by reference. It is safe for concurrent use; its
// values are shared and must not be changed.
type Cache[V any] struct {
	load func(ctx context.Context, ref string) (V, error)
	size int
	now  func() time.Time

	mu      sync.Mutex
	rows    map[string]row[V]
	flights map[*flight]struct{}
}

type row[V any] struct {
	value V
	until time.Time
}

type flight struct {
	ref   string
	stale bool
}

// New returns a cache of at most size values, which forgets a value when a
// committed transaction has announced (db.Tx.Changed) its kind and reference.
func New[V any](store *db.Store, kind string, size int, now func() time.Time, load func(ctx context.Context, ref string) (V, error)) *Cache[V] {
	c := &Cache[V]{load: load, size: size, now: now, rows: map[string]row[V]{}, flights: map[*flight]struct{}{}}
	store.OnChange(func(k, ref string) {
		if k == kind {
			c.Forget(ref)
		}
	})
	return c
}

// Get returns the value, loaded when it is not remembered.
func (c *Cache[V]) Get(ctx context.Context, ref string) (V, error) {
	for {
		c.mu.Lock()
		if r, ok := c.rows[ref]; ok && c.now().Before(r.until) {
			c.mu.Unlock()
			return r.value, nil
		}
		f := &flight{ref: ref}
		c.flights[f] = struct{}{}
		c.mu.Unlock()

		value, err := c.load(ctx, ref)
		if c.land(f, value, err) || err != nil {
			return value, err
		}
	}
}

// land ends a load; it reports whether the value is still good.
func (c *Cache[V]) land(f *flight, value V, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, f)
	if f.stale || err != nil {
		return false
	}
	if _, known := c.rows[f.ref]; !known && len(c.rows) >= c.size {
		c.evict()
	}
	c.rows[f.ref] = row[V]{value, c.now().Add(maxAge)}
	return true
}

// evict makes room: it drops what has aged, or else some row, whichever the
// map's random order meets first.
func (c *Cache[V]) evict() {
	now := c.now()
	for ref, r := range c.rows {
		if !now.Before(r.until) {
			delete(c.rows, ref)
		}
	}
	for ref := range c.rows {
		if len(c.rows) < c.size {
			return
		}
		delete(c.rows, ref)
	}
}

// Forget drops one value; a load of it that is under way will not count.
func (c *Cache[V]) Forget(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rows, ref)
	for f := range c.flights {
		if f.ref == ref {
			f.stale = true
		}
	}
}
