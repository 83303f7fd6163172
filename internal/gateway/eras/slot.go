package eras

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

const (
	slotIdle  = 2 * time.Minute
	maxSlots  = 64              // sessions with one server of clients that are alike
	readyTime = 2 * time.Second // for a session's own stream to open
)

// slots are sessions with legacy servers that one call at a time uses. Old
// servers ask on their session's own stream as well as on the call's, so only a
// session with a single call tells whose client is meant.
type slots struct {
	hub  *upstream.Hub
	mu   sync.Mutex
	sets map[string]*slotSet
}

// slotSet are the sessions of one principal with one server, for clients that
// promise the same.
type slotSet struct {
	key  string
	free []*slot
	all  int
	next int
}

// slot is one session, and the stream of what it says outside of calls.
type slot struct {
	set   *slotSet
	r     upstream.Request // whose session it is
	stop  func()
	leave *time.Timer

	mu   sync.Mutex
	call *parked // that uses it
}

// take gives a call a session of its own; nil when there are too many, and the
// call has to do with one that is shared.
func (s *slots) take(ctx context.Context, p *parked) *slot {
	key := slotKey(&p.sent)
	s.mu.Lock()
	set := s.sets[key]
	if set == nil {
		set = &slotSet{key: key}
		s.sets[key] = set
	}
	var x *slot
	if n := len(set.free); n > 0 {
		x = set.free[n-1]
		set.free = set.free[:n-1]
		x.leave.Stop()
	} else if set.all < maxSlots {
		set.all++
		set.next++
		x = &slot{set: set, r: upstream.Request{Server: p.sent.Server, By: p.sent.By, Revision: p.sent.Revision, Client: p.sent.Client,
			Affinity: "eras-" + key + "-" + strconv.Itoa(set.next)}}
	}
	s.mu.Unlock()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	x.call = p
	x.mu.Unlock()
	if x.stop == nil {
		s.listen(ctx, x)
	}
	return x
}

func slotKey(r *upstream.Request) string {
	h := sha256.New()
	for _, part := range []string{r.Server.Key(), strconv.FormatInt(r.Server.Version, 10), r.By.ID, string(r.Client.Capabilities), string(r.Client.Info), r.Client.Level} {
		h.Write(append([]byte(part), 0))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// listen opens a session's own stream.
func (s *slots) listen(ctx context.Context, x *slot) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	stop, err := s.hub.Watch(ctx, &x.r, nil, x.hear)
	if err != nil {
		stop = func() {} // the call itself will say what is wrong
	}
	x.stop = stop
	s.hub.Ready(ctx, &x.r)
}

// hear gives the call what its session says outside of it.
func (x *slot) hear(message []byte, e *mcp.Envelope) {
	x.mu.Lock()
	p := x.call
	x.mu.Unlock()
	if p != nil {
		_ = p.Event(message, e) // the client's end of it is the call's business
	}
}

// give gives a session back; it ends when nobody needs it for a while. One
// whose call was cut off is not used again: the server may go on about it.
func (s *slots) give(x *slot, clean bool) {
	x.mu.Lock()
	x.call = nil
	x.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !clean {
		s.drop(x, errandTime) // first it is told that the call is cancelled
		return
	}
	x.set.free = append(x.set.free, x)
	x.leave = time.AfterFunc(slotIdle, func() { s.retire(x) })
}

// retire ends a session that nobody has taken meanwhile.
func (s *slots) retire(x *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(x.set.free, x); i >= 0 {
		x.set.free = slices.Delete(x.set.free, i, i+1)
		s.drop(x, 0)
	}
}

// drop ends a session after a while; the caller holds the lock.
func (s *slots) drop(x *slot, after time.Duration) {
	if x.set.all--; x.set.all == 0 {
		delete(s.sets, x.set.key)
	}
	time.AfterFunc(after, func() {
		x.stop()
		s.hub.EndSession(x.r.Affinity)
	})
}
