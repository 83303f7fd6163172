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
	parts        [2][]byte // request, response
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
	copied := append(append(make([]byte, 0, n), request...), response...)
	b.mu.Lock()
	b.waiting = append(b.waiting, body{organization, call, [2][]byte{copied[:len(request)], copied[len(request):]}, secrets})
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
}

func (b *Bodies) write(ctx context.Context, list []body) error {
	var chunks []chunk
	for rest := list; len(rest) > 0; {
		n, c := pack(rest)
		chunks, rest = append(chunks, c), rest[n:]
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

// pack puts bodies of one organization into a chunk and says how many it took.
func pack(list []body) (int, chunk) {
	c := chunk{organization: list[0].organization, first: list[0].id, last: list[0].id}
	n := 0
	for _, b := range list {
		if b.organization != c.organization || n > 0 && len(c.data)+len(b.parts[0])+len(b.parts[1]) > bodyChunk {
			break
		}
		if bytes.Compare(b.id[:], c.first[:]) < 0 {
			c.first = b.id
		}
		if bytes.Compare(b.id[:], c.last[:]) > 0 {
			c.last = b.id
		}
		c.data = append(c.data, b.id[:]...)
		for _, part := range b.parts {
			clean := Redact(part, BodyCap, b.secrets)
			c.data = binary.AppendUvarint(c.data, uint64(len(clean)))
			c.data = append(c.data, clean...)
		}
		n++
	}
	c.size = int64(len(c.data))
	return n, c
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
			n, used := binary.Uvarint(data)
			if used <= 0 || uint64(len(data)-used) < n {
				return nil, nil, false
			}
			parts[i], data = data[used:used+int(n)], data[used+int(n):]
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
