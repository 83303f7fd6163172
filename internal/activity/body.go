package activity

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// BodyCap is how much of a request or a response is kept.
const BodyCap = 16 << 10

// body is what a call sent and got, capped; redacted when it is written.
type body struct {
	organization string
	id           id.Raw
	parts        [2][]byte // request, response, both in kept
	kept         *[]byte
	secrets      []string
}

const (
	bodyQueue  = 8 << 20 // bytes waiting; above it bodies are dropped and counted, never calls
	bodyPeriod = 250 * time.Millisecond
	bodyChunk  = 256 << 10
)

// Bodies writes bodies to the log store after their calls were answered. A
// full queue or a failing store loses bodies, counts them, and nothing else.
type Bodies struct {
	store   *db.Store
	dir     string // of segment files; "": bodies are in the rows
	log     *slog.Logger
	mu      sync.Mutex
	waiting []body
	size    int
	full    chan struct{}
	dropped atomic.Int64
	spare   sync.Pool // *[]byte
	scratch []byte    // of Flush
	flush   sync.Mutex
}

// NewBodies returns the writer over the log store. With a directory, bodies go
// to files of an hour each, appended once, and the store keeps only where they
// are: SQLite would write each of them twice. Run does the writing.
func NewBodies(store *db.Store, dir string, log *slog.Logger) *Bodies {
	return &Bodies{store: store, dir: dir, log: log, full: make(chan struct{}, 1)}
}

// Add queues a body. It copies what it keeps, so the caller may reuse the
// slices. secrets are member names whose values the tool's schema marks secret.
func (b *Bodies) Add(organization string, call id.Raw, request, response []byte, secrets []string) {
	request, response = request[:min(len(request), BodyCap)], response[:min(len(response), BodyCap)]
	n := len(request) + len(response)
	b.mu.Lock()
	fits := b.size+n <= bodyQueue
	if fits {
		b.size += n
	}
	b.mu.Unlock()
	if !fits {
		b.dropped.Add(1)
		return
	}
	kept, _ := b.spare.Get().(*[]byte)
	if kept == nil {
		kept = new([]byte)
	}
	*kept = append(append((*kept)[:0], request...), response...)
	b.mu.Lock()
	b.waiting = append(b.waiting, body{organization, call, [2][]byte{(*kept)[:len(request)], (*kept)[len(request):]}, kept, secrets})
	wake := b.size > bodyQueue/2
	b.mu.Unlock()
	if wake {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
}

// Dropped returns how many bodies were lost since the start.
func (b *Bodies) Dropped() int64 { return b.dropped.Load() }

// Run writes what is queued until ctx ends, and the rest then.
func (b *Bodies) Run(ctx context.Context) error {
	t := time.NewTicker(bodyPeriod)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			b.Flush(end)
			return nil
		case <-t.C:
		case <-b.full:
		}
		b.Flush(ctx)
	}
}

// Flush writes what is queued now.
func (b *Bodies) Flush(ctx context.Context) {
	b.flush.Lock()
	defer b.flush.Unlock()
	b.mu.Lock()
	list := b.waiting
	b.waiting, b.size = nil, 0
	b.mu.Unlock()
	if len(list) == 0 {
		return
	}
	slices.SortStableFunc(list, func(x, y body) int { return cmp.Compare(x.organization, y.organization) })
	if err := b.write(ctx, list); err != nil {
		b.dropped.Add(int64(len(list)))
		b.log.Error("bodies of calls were not written", "calls", len(list), "error", err)
	}
	for _, l := range list {
		b.spare.Put(l.kept)
	}
}

func (b *Bodies) write(ctx context.Context, list []body) error {
	var chunks []chunk
	out := b.scratch[:0]
	for rest := list; len(rest) > 0; {
		var c chunk
		var n int
		n, c, out = pack(out, rest)
		chunks, rest = append(chunks, c), rest[n:]
	}
	b.scratch = out
	for i := range chunks {
		c := &chunks[i]
		c.data = out[c.start : c.start+c.size : c.start+c.size]
		c.start = 0
	}
	if b.dir != "" {
		if err := b.append(chunks); err != nil {
			return err
		}
	}
	return b.store.Tx(ctx, func(tx *db.Tx) error {
		for i := range chunks {
			if err := chunks[i].insert(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

type chunk struct {
	organization string
	first, last  id.Raw
	data         []byte // nil once it is in a segment
	segment      string
	start, size  int64
}

// pack appends bodies of one organization to out as a chunk, and says how many
// it took.
func pack(out []byte, list []body) (int, chunk, []byte) {
	c := chunk{organization: list[0].organization, first: list[0].id, last: list[0].id, start: int64(len(out))}
	n := 0
	for _, b := range list {
		if b.organization != c.organization || n > 0 && len(out)-int(c.start)+len(b.parts[0])+len(b.parts[1]) > bodyChunk {
			break
		}
		if bytes.Compare(b.id[:], c.first[:]) < 0 {
			c.first = b.id
		}
		if bytes.Compare(b.id[:], c.last[:]) > 0 {
			c.last = b.id
		}
		out = append(out, b.id[:]...)
		for _, part := range b.parts {
			// The length is not known before: it takes a fixed four bytes.
			at := len(out)
			out = appendRedacted(append(out, 0, 0, 0, 0), part, b.secrets)
			binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-4))
		}
		n++
	}
	c.size = int64(len(out)) - c.start
	return n, c, out
}

func (c *chunk) insert(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO body_chunks (organization_id, first_id, last_id, created_at, data, segment, start, size) VALUES ($1,$2,$3,$4,$5,$6,$7,$8) ON CONFLICT DO NOTHING`,
		c.organization, c.first[:], c.last[:], c.last.Time().UnixMilli(), c.data, db.Null(c.segment), c.start, c.size)
	if err != nil {
		return fmt.Errorf("write bodies: %w", err)
	}
	return nil
}

// find returns the body of a call in a chunk's data.
func find(data []byte, call id.Raw) (request, response []byte, ok bool) {
	for len(data) > len(call) {
		mine := bytes.Equal(data[:len(call)], call[:])
		data = data[len(call):]
		var parts [2][]byte
		for i := range parts {
			if len(data) < 4 || uint64(len(data)-4) < uint64(binary.LittleEndian.Uint32(data)) {
				return nil, nil, false
			}
			n := 4 + int(binary.LittleEndian.Uint32(data))
			parts[i], data = data[4:n], data[n:]
		}
		if mine {
			return parts[0], parts[1], true
		}
	}
	return nil, nil, false
}

// Body returns what is kept of a call's request and response; ok is false when
// nothing is (the policy said so, it was dropped, or its time is over).
func (b *Bodies) Body(ctx context.Context, organization string, call id.Raw) (request, response []byte, ok bool, err error) {
	chunks, err := db.All(ctx, b.store, func(c *chunk) []any { return []any{&c.data, (*db.Text)(&c.segment), &c.start, &c.size} },
		`SELECT data, segment, start, size FROM body_chunks WHERE organization_id = $1 AND first_id <= $2 AND last_id >= $2 ORDER BY first_id DESC LIMIT 64`, organization, call[:])
	if err != nil {
		return nil, nil, false, fmt.Errorf("read bodies: %w", err)
	}
	for i := range chunks {
		data, err := b.load(&chunks[i])
		if err != nil {
			return nil, nil, false, err
		}
		if request, response, ok = find(data, call); ok {
			return request, response, true, nil
		}
	}
	return nil, nil, false, nil
}
