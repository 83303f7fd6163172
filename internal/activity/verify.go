package activity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"headgate/internal/db"
)

// Verdict is what Verify found in one tenant's trail.
type Verdict struct {
	Tenant  string
	Events  int64
	OK      bool
	BadSeq  int64  // the first event that does not fit
	Problem string // what is wrong with it
}

// Verify walks a tenant's trail from its first event and names the first that
// was edited, removed or reordered. Nothing in the trail excuses a gap: it is
// kept for ever. A tail cut off together with its head row, and a trail written
// anew, need a checkpoint kept elsewhere to be noticed.
func Verify(ctx context.Context, q db.Querier, tenant string) (Verdict, error) {
	v := Verdict{Tenant: tenant}
	head, err := db.One(ctx, q, func(e *Event) []any { return []any{&e.Seq, &e.Hash} }, `SELECT seq, hash FROM event_heads WHERE tenant_id = $1`, tenant)
	if errors.Is(err, db.ErrNone) {
		head = Event{Hash: make([]byte, sha256.Size)}
	} else if err != nil {
		return v, fmt.Errorf("read the trail's head: %w", err)
	}
	at, previous := int64(0), make([]byte, sha256.Size)
	for {
		page, err := db.All(ctx, q, (*eventRow).fields, `SELECT `+eventColumns+` FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT 1000`, tenant, at)
		if err != nil {
			return v, fmt.Errorf("read the trail: %w", err)
		}
		for _, r := range page {
			v.Events++
			at++
			switch {
			case r.Seq != at:
				v.BadSeq, v.Problem = at, "an event is missing here"
			case !bytes.Equal(r.Previous, previous):
				v.BadSeq, v.Problem = r.Seq, "it does not follow the event before it"
			case !bytes.Equal(r.sum([]byte(r.details)), r.Hash):
				v.BadSeq, v.Problem = r.Seq, "its content was changed"
			default:
				previous = r.Hash
				continue
			}
			return v, nil
		}
		if len(page) < 1000 {
			break
		}
	}
	if at != head.Seq || !bytes.Equal(previous, head.Hash) {
		v.BadSeq, v.Problem = at+1, "the end of the trail is missing"
		return v, nil
	}
	v.OK = true
	return v, nil
}
