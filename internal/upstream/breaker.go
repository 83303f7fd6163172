package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
)

const (
	tripAfter   = 5
	tripWithin  = time.Minute
	restAtLeast = 10 * time.Second
	restAtMost  = time.Minute
)

// breaker leaves a server alone that failed five times in a row within a
// minute. After a rest one request is let through as a probe; its success
// closes the breaker, its failure doubles the rest. The closed path is one
// atomic load.
type breaker struct {
	tripped  atomic.Bool
	failures atomic.Int32

	mu      sync.Mutex
	since   time.Time // of the first failure in the row
	until   time.Time // of the rest
	rest    time.Duration
	probing time.Time // when the probe was let through; zero when there is none
}

// admit returns ErrOpen while the server is left alone.
func (b *breaker) admit(now time.Time) error {
	if !b.tripped.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.tripped.Load() {
		return nil
	}
	// A probe that never reported back (its caller went away) is no reason to wait for ever.
	if now.Before(b.until) || !b.probing.IsZero() && now.Before(b.probing.Add(restAtMost)) {
		return ErrOpen.After(max(b.until.Sub(now), time.Second))
	}
	b.probing = now
	return nil
}

func (b *breaker) succeed() {
	if b.failures.Load() == 0 && !b.tripped.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures.Store(0)
	b.tripped.Store(false)
	b.rest, b.probing = 0, time.Time{}
}

func (b *breaker) fail(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tripped.Load() {
		if b.probing.IsZero() {
			return // sent before it opened
		}
		b.trip(now, min(2*b.rest, restAtMost))
		return
	}
	if n := b.failures.Load(); n == 0 || now.Sub(b.since) > tripWithin {
		b.since = now
		b.failures.Store(1)
	} else if b.failures.Add(1) >= tripAfter {
		b.trip(now, restAtLeast)
	}
}

func (b *breaker) trip(now time.Time, rest time.Duration) {
	b.rest, b.until, b.probing = rest, now.Add(rest), time.Time{}
	b.tripped.Store(true)
}

// pass ends a probe that showed nothing, so that another may be sent.
func (b *breaker) pass() {
	if !b.tripped.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = time.Time{}
}

// Health is the last real exchange with a server.
type Health struct {
	At      time.Time
	Latency time.Duration
	Code    string // "" when it went well, else the fault's
	Message string
	Status  int  // HTTP, when the server answered with an error status
	Open    bool // left alone after failures in a row
	Until   time.Time
}

// health keeps the last exchange.
type health struct {
	mu   sync.Mutex
	last Health
}

// admit asks the breaker.
func (o *origin) admit(now time.Time) error { return o.breaker.admit(now) }

// observe notes the end of an exchange for the breaker and for people.
func (o *origin) observe(start, end time.Time, err error) {
	switch {
	case err == nil:
		o.breaker.succeed()
	case errors.Is(err, context.Canceled), errors.Is(err, ErrEra):
		o.breaker.pass()
		return // the caller went away or asks in the other era, which says nothing of the server
	case sick(err):
		o.breaker.fail(end)
	default:
		o.breaker.succeed()
	}
	h := Health{At: end, Latency: end.Sub(start)}
	if f := fault.Of(err); f != nil {
		h.Code, h.Message = f.Code, f.Message
		h.Status, _ = f.Details["status"].(int)
	}
	o.health.mu.Lock()
	o.health.last = h
	o.health.mu.Unlock()
}

// sick reports whether an error means that the server is down, rather than
// that it did not like one request.
func sick(err error) bool {
	for _, f := range []error{ErrUnreachable, ErrLost, ErrTimeout, ErrFailed, ErrNonsense, ErrSession} {
		if errors.Is(err, f) {
			return true
		}
	}
	return false
}

// Health returns the last exchange with a server in the caller's organization;
// ok is false when there was none since the server was changed last.
func (h *Hub) Health(s *catalog.Server) (last Health, ok bool) {
	h.mu.RLock()
	o := h.origins[originKey{s.Key(), s.Version}]
	h.mu.RUnlock()
	if o == nil {
		return Health{}, false
	}
	o.health.mu.Lock()
	last = o.health.last
	o.health.mu.Unlock()
	o.breaker.mu.Lock()
	defer o.breaker.mu.Unlock()
	if o.breaker.tripped.Load() {
		last.Open, last.Until = true, o.breaker.until
	}
	return last, !last.At.IsZero()
}

// wake wakes a server that may sleep.
func (h *Hub) wake(ctx context.Context, s *catalog.Server, by *access.Principal) error {
	w, sleeps := h.opts.Channels[s.Transport].(Waker)
	if !sleeps {
		return nil
	}
	b, err := h.opts.Binder.Bind(ctx, s, by)
	if err != nil {
		return err
	}
	return w.Wake(ctx, s, b)
}

// Test asks a server anew what it speaks and what tools it has, with the
// caller's credentials and the timeout of a call, and past the breaker.
func (h *Hub) Test(ctx context.Context, s *catalog.Server, by *access.Principal) (*Facts, *Listing, error) {
	p, err := h.peer(ctx, s, by)
	if err != nil {
		return nil, nil, err
	}
	if err := h.wake(ctx, s, by); err != nil {
		return nil, nil, err
	}
	p.eras.forget()
	f, err := p.facts(ctx, preferred(p), force)
	if err != nil {
		return nil, nil, err
	}
	p.lists[Tools].invalidate()
	l, err := p.list(ctx, Tools, force)
	return f, l, err
}
