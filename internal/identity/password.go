package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// argon is the cost of a password's hash.
type argon struct {
	memory, time uint32 // KiB, passes
	lanes        uint8
}

// today is OWASP's minimum; more memory would be a weapon against ourselves.
func today() argon { return argon{memory: 19 * 1024, time: 2, lanes: 1} }

const (
	minPassword  = 8
	maxPassword  = 1024
	maxMemory    = 128 * 1024 // KiB, in a stored hash: a hostile row must not eat the machine
	hashQueue    = 64
	hashPatience = 5 * time.Second
	smallHeap    = 128 << 20
)

// hasher hashes passwords, a few at a time. More than hashQueue waiting is
// refused: each would hold a caller, and each hash 19 MiB.
type hasher struct {
	slots  chan struct{}
	inside atomic.Int64
	worked atomic.Int64
	cost   argon
	dummy  string // compared with when there is no user, so that time tells nothing
}

func newHasher(parallel int, cost argon) *hasher {
	return &hasher{slots: make(chan struct{}, parallel), cost: cost, dummy: encodeHash(cost, random(16), random(32))}
}

// enter waits for a slot. The slot is kept until release, also when the
// caller has gone: its memory is in use until the work ends.
func (h *hasher) enter(ctx context.Context) (release func(), err error) {
	if h.inside.Add(1) > int64(cap(h.slots)+hashQueue) {
		h.inside.Add(-1)
		return nil, ErrBusy.After(time.Second)
	}
	ctx, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		return h.leave, nil
	case <-ctx.Done():
		h.inside.Add(-1)
		return nil, ErrBusy.After(time.Second).Because(ctx.Err())
	}
}

func (h *hasher) leave() {
	// Each hash leaves 19 MiB of garbage, and the collector would let several
	// times as much pile up in a small process. In a large one a collection
	// costs more than the garbage.
	if h.worked.Add(1)%int64(cap(h.slots)) == 0 {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		if metrics.Read(live); live[0].Value.Kind() == metrics.KindUint64 && live[0].Value.Uint64() < smallHeap {
			runtime.GC()
		}
	}
	<-h.slots
	h.inside.Add(-1)
}

// hash returns the PHC string of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	release, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return h.hashNow(password), nil
}

// hashNow is hash for a caller that is inside.
func (h *hasher) hashNow(password string) string {
	salt := random(16)
	return encodeHash(h.cost, salt, argon2.IDKey([]byte(password), salt, h.cost.time, h.cost.memory, h.cost.lanes, 32))
}

// verifyNow reports whether a password fits a stored hash; stale says that the
// hash was made at another cost than ours. The caller is inside.
func (h *hasher) verifyNow(stored, password string) (ok, stale bool, err error) {
	c, salt, sum, err := decodeHash(stored)
	if err != nil {
		return false, false, err
	}
	got := argon2.IDKey([]byte(password), salt, c.time, c.memory, c.lanes, uint32(len(sum)))
	return subtle.ConstantTimeCompare(got, sum) == 1, c != h.cost || len(sum) != 32, nil
}

func encodeHash(c argon, salt, sum []byte) string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.memory, c.time, c.lanes, b.EncodeToString(salt), b.EncodeToString(sum))
}

var errStoredHash = errors.New("a stored password hash cannot be read or costs too much")

func decodeHash(text string) (c argon, salt, sum []byte, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errStoredHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.lanes); err != nil || n != 3 || parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", c.memory, c.time, c.lanes) {
		return c, nil, nil, errStoredHash
	}
	b := base64.RawStdEncoding.Strict()
	salt, err1 := b.DecodeString(parts[4])
	sum, err2 := b.DecodeString(parts[5])
	if err1 != nil || err2 != nil || c.memory > maxMemory || c.memory < 8 || c.time < 1 || c.time > 16 || c.lanes < 1 || c.lanes > 8 ||
		len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return c, nil, nil, errStoredHash
	}
	return c, salt, sum, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails on supported systems
	return b
}
