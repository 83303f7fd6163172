package quota

import (
	"hash/maphash"
	"sync"
	"time"
)

// Limit is a rate: so many per minute, and so many at once after a pause.
// A limit of zero per minute refuses everything.
type Limit struct {
	PerMinute int64
	Burst     int64
}

// interval returns the nanoseconds between two events at the sustained rate.
func (l Limit) interval() int64 { return max(int64(time.Minute)/l.PerMinute, 1) }

// depth returns how far ahead of the clock a bucket may run. It is capped at
// a day, so that no limit overflows and no debt outlives one.
func (l Limit) depth(interval int64) int64 {
	burst := max(l.Burst, 1)
	if burst > int64(24*time.Hour)/interval {
		return max(int64(24*time.Hour)/interval, 1) * interval
	}
	return burst * interval
}

// Decision is the answer to one Take, with what X-RateLimit-* headers say.
type Decision struct {
	OK         bool
	Limit      int64         // per minute
	Remaining  int64         // what may be taken at once, now
	Reset      time.Time     // when the whole burst is there again
	RetryAfter time.Duration // when refused: how long until the next one fits
}

// Err returns nil when the decision is yes, and ErrRate with the time to wait
// otherwise.
func (d Decision) Err() error {
	if d.OK {
		return nil
	}
	return ErrRate.After(d.RetryAfter)
}

const (
	limiterShards  = 64
	evictionSample = 8
)

// Limiter keeps one bucket per key by the generic cell rate algorithm, which
// needs one number each. It is safe for parallel use.
type Limiter[K comparable] struct {
	now    func() time.Time
	seed   maphash.Seed
	cap    int // per shard
	shards [limiterShards]limiterShard[K]
}

type limiterShard[K comparable] struct {
	mu sync.Mutex
	// Theoretical arrival times, in nanoseconds: when the bucket is full again.
	at map[K]int64
	_  [40]byte // a cache line of its own
}

// NewLimiter returns a limiter that remembers about as many keys as capacity.
func NewLimiter[K comparable](capacity int, now func() time.Time) *Limiter[K] {
	l := &Limiter[K]{now: now, seed: maphash.MakeSeed(), cap: max(capacity/limiterShards, 1)}
	for i := range l.shards {
		l.shards[i].at = map[K]int64{}
	}
	return l
}

func (l *Limiter[K]) shard(key K) *limiterShard[K] {
	return &l.shards[maphash.Comparable(l.seed, key)%limiterShards]
}

// Take takes one from key's bucket, if one is there.
func (l *Limiter[K]) Take(key K, limit Limit) Decision {
	now := l.now()
	if limit.PerMinute <= 0 {
		return Decision{Reset: now}
	}
	n, interval := now.UnixNano(), limit.interval()
	depth := limit.depth(interval)
	s := l.shard(key)
	s.mu.Lock()
	at, known := s.at[key]
	// A bucket is never deeper than its limit, even when the clock was set back
	// or the limit was made smaller.
	at = min(max(at, n), n+depth)
	next := at + interval
	ok := next-n <= depth
	if ok {
		if !known && len(s.at) >= l.cap {
			s.evict(n)
		}
		s.at[key] = next
		at = next
	}
	s.mu.Unlock()
	d := Decision{OK: ok, Limit: limit.PerMinute, Remaining: (depth - (at - n)) / interval, Reset: time.Unix(0, at).UTC()}
	if !ok {
		d.RetryAfter = time.Duration(next - n - depth)
	}
	return d
}

// Return gives back what a Take took: it turned out not to count.
func (l *Limiter[K]) Return(key K, limit Limit) {
	if limit.PerMinute <= 0 {
		return
	}
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[key]; ok {
		s.at[key] = at - limit.interval()
	}
}

// Len returns how many keys are remembered.
func (l *Limiter[K]) Len() int {
	n := 0
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += len(l.shards[i].at)
		l.shards[i].mu.Unlock()
	}
	return n
}

// evict forgets the key that owes least of a small sample; a full bucket,
// which is the same as none, at once. Map order is random enough for it.
func (s *limiterShard[K]) evict(now int64) {
	var victim K
	least, seen := int64(0), 0
	for k, at := range s.at {
		if seen == 0 || at < least {
			victim, least = k, at
		}
		if seen++; seen == evictionSample || least <= now {
			break
		}
	}
	delete(s.at, victim)
}
