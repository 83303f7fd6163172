package eras

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// Translator is an upstream.Exchanger for callers of every era.
type Translator struct {
	hub     *upstream.Hub
	keys    *seal.Keys
	now     func() time.Time
	serial  atomic.Uint64
	errands chan struct{}
	slots   slots

	mu      sync.Mutex
	parked  map[string]*parked
	per     map[string]int            // parked calls by principal
	waiting map[waitKey]chan<- []byte // legacy clients' answers that calls wait for
}

const (
	maxErrands = 64 // small replies under way at once
	errandTime = 5 * time.Second
)

// New returns a translator in front of a hub. keys seal what clients keep for
// it between two requests.
func New(hub *upstream.Hub, keys *seal.Keys, now func() time.Time) *Translator {
	return &Translator{hub: hub, keys: keys, now: now, errands: make(chan struct{}, maxErrands), slots: slots{hub: hub, sets: map[string]*slotSet{}},
		parked: map[string]*parked{}, per: map[string]int{}, waiting: map[waitKey]chan<- []byte{}}
}

// Exchange implements upstream.Exchanger.
func (t *Translator) Exchange(ctx context.Context, r *upstream.Request, sink upstream.Sink) (*upstream.Answer, error) {
	a, err := t.hub.Exchange(ctx, r, sink)
	if !errors.Is(err, upstream.ErrEra) {
		return a, err
	}
	f, ferr := t.hub.Eras(ctx, r.Server, r.By, r.Revision.Era())
	switch {
	case ferr != nil:
		return nil, ferr
	case f.Era == r.Revision.Era():
		// How to reach it was found out meanwhile: a server of HTTP+SSE refuses what
		// is sent before. It was refused as a whole, so it may be sent again.
		return t.hub.Exchange(ctx, r, sink)
	case f.Era == mcp.Legacy:
		return t.down(ctx, r, f, sink)
	}
	return t.up(ctx, r, f, sink)
}

// Reply passes on a legacy client's answer to a server's request, or its
// notification. Modern servers hear no notifications.
func (t *Translator) Reply(ctx context.Context, r *upstream.Request, message []byte) error {
	var e mcp.Envelope
	if err := mcp.ScanReply(message, &e, mcp.Limits{}); err != nil {
		return err
	}
	if e.Kind.IsReply() && t.answered(r.Affinity, message, &e) {
		return nil
	}
	return t.hub.Reply(ctx, r, message)
}

// park makes a call that may have to wait for its client.
func (t *Translator) park(d *descent) *parked {
	return &parked{t: t, handle: rand.Text(), principal: d.r.By.ID, digest: d.digest(), asked: make(chan struct{}, 1), done: make(chan struct{}), d: d}
}

// admit takes a call in among those that wait.
func (t *Translator) admit(p *parked) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parked[p.handle] == p {
		return nil
	}
	if len(t.parked) >= maxParked || t.per[p.principal] >= maxParkedOne {
		return ErrParked
	}
	t.parked[p.handle] = p
	t.per[p.principal]++
	return nil
}

func (t *Translator) unpark(p *parked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parked[p.handle] != p {
		return
	}
	delete(t.parked, p.handle)
	if t.per[p.principal]--; t.per[p.principal] == 0 {
		delete(t.per, p.principal)
	}
}

// errand runs a small task that nobody waits for, unless too many are under way.
func (t *Translator) errand(task func(ctx context.Context)) {
	select {
	case t.errands <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-t.errands }()
		ctx, cancel := context.WithTimeout(context.Background(), errandTime)
		defer cancel()
		task(ctx)
	}()
}
