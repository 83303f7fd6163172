package activity

import (
	"bytes"
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

// Body is what a call sent and got, redacted and capped.
type Body struct {
	Organization string
	ID           id.Raw
	Request      []byte
	Response     []byte
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
	log     *slog.Logger
	mu      sync.Mutex
	waiting []*Body
	size    int
	full    chan struct{}
	dropped atomic.Int64
}

// NewBodies returns the writer over the log store. Run does the writing.
func NewBodies(store *db.Store, log *slog.Logger) *Bodies {
	return &Bodies{store: store, log: log, full: make(chan struct{}, 1)}
}

// Add queues a body. It copies what it keeps, so the caller may reuse the
// slices. secrets are member names whose values the tool's schema marks secret.
func (b *Bodies) Add(organization string, call id.Raw, request, response []byte, secrets []string) {
	body := &Body{Organization: organization, ID: call, Request: Redact(request, BodyCap, secrets), Response: Redact(response, BodyCap, secrets)}
	n := len(body.Request) + len(body.Response)
	b.mu.Lock()
	fits := b.size+n <= bodyQueue
	if fits {
		b.waiting = append(b.waiting, body)
		b.size += n
	}
	wake := b.size > bodyQueue/2
	b.mu.Unlock()
	if !fits {
		b.dropped.Add(1)
	}
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
	slices.SortStableFunc(list, func(x, y *Body) int { return bytes.Compare([]byte(x.Organization), []byte(y.Organization)) })
	err := b.store.Tx(ctx, func(tx *db.Tx) error {
		for rest := list; len(rest) > 0; {
			n, chunk := pack(rest)
			if err := chunk.insert(ctx, tx); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		b.dropped.Add(int64(len(list)))
		b.log.Error("bodies of calls were not written", "calls", len(list), "error", err)
	}
}

type chunk struct {
	organization string
	first, last  id.Raw
	data         []byte
}

// pack puts bodies of one organization into a chunk and says how many it took.
func pack(list []*Body) (int, chunk) {
	c := chunk{organization: list[0].Organization, first: list[0].ID, last: list[0].ID}
	n := 0
	for _, b := range list {
		if b.Organization != c.organization || n > 0 && len(c.data)+len(b.Request)+len(b.Response) > bodyChunk {
			break
		}
		if bytes.Compare(b.ID[:], c.first[:]) < 0 {
			c.first = b.ID
		}
		if bytes.Compare(b.ID[:], c.last[:]) > 0 {
			c.last = b.ID
		}
		c.data = append(c.data, b.ID[:]...)
		for _, part := range [][]byte{b.Request, b.Response} {
			c.data = binary.AppendUvarint(c.data, uint64(len(part)))
			c.data = append(c.data, part...)
		}
		n++
	}
	return n, c
}

func (c chunk) insert(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO body_chunks (organization_id, first_id, last_id, created_at, data) VALUES ($1,$2,$3,$4,$5) ON CONFLICT DO NOTHING`,
		c.organization, c.first[:], c.last[:], c.last.Time().UnixMilli(), c.data)
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
	chunks, err := db.All(ctx, b.store, func(v *[]byte) []any { return []any{v} },
		`SELECT data FROM body_chunks WHERE organization_id = $1 AND first_id <= $2 AND last_id >= $2 ORDER BY first_id DESC LIMIT 64`, organization, call[:])
	if err != nil {
		return nil, nil, false, fmt.Errorf("read bodies: %w", err)
	}
	for _, data := range chunks {
		if request, response, ok = find(data, call); ok {
			return request, response, true, nil
		}
	}
	return nil, nil, false, nil
}

// Expire removes bodies older than the given moment and returns how many
// chunks went, at most a thousand at a time so that writers get their turn.
func (b *Bodies) Expire(ctx context.Context, before time.Time) (int64, error) {
	return db.Exec(ctx, b.store, `DELETE FROM body_chunks WHERE (organization_id, first_id, last_id) IN
		(SELECT organization_id, first_id, last_id FROM body_chunks WHERE created_at < $1 LIMIT 1000)`, before.UnixMilli())
}
