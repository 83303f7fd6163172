package gateway

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/mcp"
)

const (
	maxTape     = 256 << 10 // events kept of one stream, beside the last
	maxTapes    = 16        // ended streams kept for a session
	maxTapesAll = 64 << 20  // bytes over all sessions; beyond, ended streams are not kept
	tapeLife    = 2 * time.Minute
	retryMillis = "1000"
)

// tape is the stream of one call of a legacy client: what was sent, so that a
// client whose connection broke hears the rest on another one (Last-Event-ID).
type tape struct {
	all   *tapes
	id    string // before the number in its events' ids
	prime bool   // begins with an event without a message (2025-11-25)

	mu     sync.Mutex
	frames [][]byte // with their ids
	first  int      // the number of frames[0]
	size   int
	w      http.ResponseWriter // who listens; nil when nobody does
	end    chan struct{}       // closed when the answer is in
	over   bool
	at     time.Time // of the end
	dead   bool      // nothing is kept any more
}

// tapes is what all tapes share.
type tapes struct {
	boot   string // tells ids of this process from those before a restart
	serial atomic.Uint64
	bytes  atomic.Int64
}

func (a *tapes) init() { a.boot = strings.ToLower(rand.Text()[:8]) }

// name returns what the ids of a stream's events begin with.
func (a *tapes) name() string { return a.boot + strconv.FormatUint(a.serial.Add(1), 36) }

// eventID appends the line of an event's id.
func eventID(dst []byte, stream string, n int) []byte {
	return strconv.AppendInt(append(append(append(dst, "id: "...), stream...), '-'), int64(n), 10)
}

func (a *tapes) make(rev mcp.Revision) *tape {
	return &tape{all: a, id: a.name(), prime: rev.AtLeast(mcp.Revision20251125), first: 1, end: make(chan struct{})}
}

// start begins to play to the client of the call itself.
func (t *tape) start(w http.ResponseWriter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.w = w
	if t.prime { // so that the client has an id to come back with
		t.out([]byte("id: " + t.id + "-0\nretry: " + retryMillis + "\ndata: \n\n"))
	}
}

// out writes to whoever listens; the caller holds the lock.
func (t *tape) out(text []byte) {
	if t.w != nil && write(t.w, text) != nil {
		t.w = nil
	}
}

// put writes what is not kept.
func (t *tape) put(text []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out(text)
}

// add keeps and plays a message.
func (t *tape) add(message []byte, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	frame := appendEvent(append(eventID(nil, t.id, t.first+len(t.frames)), '\n'), message)
	if !t.dead {
		t.frames = append(t.frames, frame)
		t.grow(len(frame))
	}
	for t.size > maxTape && len(t.frames) > 1 {
		t.grow(-len(t.frames[0]))
		t.frames, t.first = t.frames[1:], t.first+1
	}
	t.out(frame)
	if last {
		t.over, t.at = true, time.Now()
		close(t.end)
	}
}

func (t *tape) grow(n int) {
	t.size += n
	t.all.bytes.Add(int64(n))
}

// leave stops playing to w.
func (t *tape) leave(w http.ResponseWriter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.w == w {
		t.w = nil
	}
}

// erase forgets everything, for good.
func (t *tape) erase() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grow(-t.size)
	t.frames, t.dead = nil, true
}

func (t *tape) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// old reports whether the tape need not be kept any more.
func (t *tape) old(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over && (now.Sub(t.at) > tapeLife || t.all.bytes.Load() > maxTapesAll)
}

// play sends what came after an event, and goes on until the answer is in or
// the client has gone.
func (t *tape) play(g *Gateway, w http.ResponseWriter, r *http.Request, after int) {
	streamHeaders(w)
	t.mu.Lock()
	from := max(after+1-t.first, 0)
	t.w = w
	for _, frame := range t.frames[min(from, len(t.frames)):] {
		t.out(frame)
	}
	t.mu.Unlock()
	defer t.leave(w)
	alive := time.NewTicker(g.KeepAlive)
	defer alive.Stop()
	for {
		select {
		case <-t.end:
			return
		case <-r.Context().Done():
			return
		case <-alive.C:
			t.put([]byte(": keep-alive\n\n"))
		}
	}
}

// parseEventID reads the id of an event of a tape.
func parseEventID(text string) (tape string, n int, ok bool) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(text[i+1:])
	return text[:i], n, err == nil && n >= 0
}
