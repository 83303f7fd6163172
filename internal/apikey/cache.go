package apikey

import (
	"crypto/subtle"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
)

const cacheShards = 64

// cache holds the principals of keys in use, by the hash of the key's text;
// those of dead keys too, so that a program that goes on using one costs
// nothing but memory, which is capped.
//
// Reading takes one shard's read lock. Everything else holds mu, and a shard's
// lock inside it. A change of something a principal was made of raises epoch
// and marks the principal stale; a principal that was read before the change
// is then refused by put. So no read is ever older than the last change.
type cache struct {
	capacity int
	shards   [cacheShards]cacheShard
	stale    chan struct{} // wakes the one who re-reads stale principals

	mu    sync.Mutex
	epoch uint64
	byID  map[string]*entry
	late  map[string]int64 // last uses of keys that left the cache, not yet written
}

type cacheShard struct {
	sync.RWMutex
	entries map[[32]byte]*entry
}

type entry struct {
	sum       [32]byte
	principal *access.Principal
	dead      error // why the key may not be used; nil when it may
	done      *access.Done
	stale     atomic.Bool
	used      atomic.Int64 // last use, in milliseconds
	flushed   atomic.Int64 // the last use that was written
}

func newCache(capacity int) *cache {
	c := &cache{capacity: capacity, stale: make(chan struct{}, 1), byID: map[string]*entry{}, late: map[string]int64{}}
	for i := range c.shards {
		c.shards[i].entries = map[[32]byte]*entry{}
	}
	return c
}

func (c *cache) shard(sum [32]byte) *cacheShard { return &c.shards[sum[0]%cacheShards] }

func (c *cache) get(sum [32]byte) *entry {
	s := c.shard(sum)
	s.RLock()
	e := s.entries[sum]
	s.RUnlock()
	return e
}

// touch notes a use, coarsely: writing once a second keeps the line shared
// between cores for the rest of it.
func (e *entry) touch(now time.Time) {
	if ms := now.UnixMilli(); ms-e.used.Load() >= 1000 {
		e.used.Store(ms)
	}
}

func (c *cache) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// put makes p known, or known as dead, unless something changed since epoch.
// When the key was known with the same rights its streams go on; when its
// rights are others, they end, because they were opened under the old ones.
func (c *cache) put(sum [32]byte, p access.Principal, dead error, epoch uint64) (*entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return nil, false
	}
	e := &entry{sum: sum, dead: dead, done: access.NewDone()}
	if old := c.byID[p.ID]; old != nil {
		e.used.Store(old.used.Load())
		e.flushed.Store(old.flushed.Load())
		if dead == nil && old.dead == nil && sameRights(old.principal, &p) {
			e.done = old.done
		} else {
			old.done.Close()
		}
	} else if len(c.byID) >= c.capacity {
		c.evict()
	}
	e.principal = p.WithDone(e.done)
	c.byID[p.ID] = e
	s := c.shard(sum)
	s.Lock()
	s.entries[sum] = e
	s.Unlock()
	return e, true
}

func sameRights(a, b *access.Principal) bool {
	return a.Tenant == b.Tenant && a.Organization == b.Organization && a.Workspace == b.Workspace &&
		a.User == b.User && a.Role == b.Role && a.Scopes == b.Scopes && a.Account == b.Account
}

// evict drops the least recently used key of a small sample. Its streams end:
// once forgotten, a revocation could no longer reach them.
func (c *cache) evict() {
	var victim *entry
	seen := 0
	for _, e := range c.byID {
		if victim == nil || e.used.Load() < victim.used.Load() {
			victim = e
		}
		if seen++; seen == 8 {
			break
		}
	}
	c.drop(victim)
}

// kill forgets a key and ends its streams.
func (c *cache) kill(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[key]; e != nil {
		c.drop(e)
	}
}

func (c *cache) drop(e *entry) {
	if used := e.used.Load(); used > e.flushed.Load() && len(c.late) < c.capacity {
		c.late[e.principal.ID] = used
	}
	delete(c.byID, e.principal.ID)
	s := c.shard(e.sum)
	s.Lock()
	delete(s.entries, e.sum)
	s.Unlock()
	e.done.Close()
}

// changed is told of every committed change of the store.
func (c *cache) changed(kind, ref string) {
	var affected func(p *access.Principal) bool
	switch kind {
	case "key":
	case "membership", "user":
		affected = func(p *access.Principal) bool { return p.User == ref }
	case "organization":
		affected = func(p *access.Principal) bool { return p.Organization == ref }
	case "tenant":
		affected = func(p *access.Principal) bool { return p.Tenant == ref }
	case "workspace":
		// A principal without one may be about to get its default.
		affected = func(p *access.Principal) bool { return p.Workspace == ref || p.Workspace == "" && p.Organization != "" }
	case "account":
		// Balances come and go; only who has no account yet may get another one,
		// and an account's own key ends with it when it is switched off.
		affected = func(p *access.Principal) bool {
			return p.Account == "" && p.Organization != "" || p.Account == ref && p.Kind == access.AccountKey
		}
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	found := false
	if affected == nil {
		if e := c.byID[ref]; e != nil {
			e.stale.Store(true)
			found = true
		}
	} else {
		for _, e := range c.byID {
			if affected(e.principal) {
				e.stale.Store(true)
				found = true
			}
		}
	}
	if found {
		select {
		case c.stale <- struct{}{}:
		default:
		}
	}
}

// staleKeys returns the ids of the keys to read again.
func (c *cache) staleKeys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []string
	for key, e := range c.byID {
		if e.stale.Load() {
			keys = append(keys, key)
		}
	}
	return keys
}

// lastUse returns when a key was last used as far as memory knows.
func (c *cache) lastUse(key string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := c.late[key]
	if e := c.byID[key]; e != nil {
		ms = max(ms, e.used.Load())
	}
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// unwritten returns the last uses the store does not know yet.
func (c *cache) unwritten() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	uses := map[string]int64{}
	for key, used := range c.late {
		uses[key] = used
	}
	for key, e := range c.byID {
		if used := e.used.Load(); used > e.flushed.Load() {
			uses[key] = used
		}
	}
	return uses
}

// written notes that the store knows these uses.
func (c *cache) written(uses map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, used := range uses {
		if c.late[key] <= used {
			delete(c.late, key)
		}
		if e := c.byID[key]; e != nil {
			e.flushed.Store(used)
		}
	}
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

func (c *cache) known(key string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[key]
}
