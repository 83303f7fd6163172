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

// Verify walks a tenant's trail from its beginning and names the first event
// that was edited, removed or reordered, then holds it to its checkpoint, if it
// has one here. The only gap that is excused is before the signed mark that
// Expire leaves.
func (c *Checkpoints) Verify(ctx context.Context, q db.Querier, tenant string) (Verdict, error) {
	v := Verdict{Tenant: tenant}
	f, err := c.floor(ctx, q, tenant)
	if errors.Is(err, ErrTrail) {
		v.Problem = err.Error()
		return v, nil
	}
	if err == nil {
		err = v.walk(ctx, q, f.link)
	}
	if err != nil || !v.OK {
		return v, err
	}
	p, err := c.Read(tenant)
	if errors.Is(err, ErrTrail) {
		v.OK, v.Problem = false, err.Error()
		return v, nil
	}
	if err != nil || p == nil {
		return v, err
	}
	problem, err := p.check(ctx, q, f)
	if problem != "" {
		v.OK, v.Problem, v.BadSeq = false, problem, p.Seq
		if head, err := db.Value[int64](ctx, q, `SELECT COALESCE(MAX(seq), 0) FROM events WHERE tenant_id = $1`, tenant); err == nil && head < p.Seq {
			v.BadSeq = head + 1
		}
	}
	return v, err
}

// walk judges the chain from a place in it to its head.
func (v *Verdict) walk(ctx context.Context, q db.Querier, at link) error {
	head, err := db.One(ctx, q, func(e *Event) []any { return []any{&e.Seq, &e.Hash} }, `SELECT seq, hash FROM event_heads WHERE tenant_id = $1`, v.Tenant)
	if errors.Is(err, db.ErrNone) {
		head = Event{Hash: make([]byte, sha256.Size)}
	} else if err != nil {
		return fmt.Errorf("read the trail's head: %w", err)
	}
	for {
		page, err := db.All(ctx, q, (*eventRow).fields, `SELECT `+eventColumns+` FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT 1000`, v.Tenant, at.seq)
		if err != nil {
			return fmt.Errorf("read the trail: %w", err)
		}
		for i := range page {
			v.Events++
			if v.Problem = at.follow(&page[i]); v.Problem != "" {
				v.BadSeq = at.seq + 1
				return nil
			}
		}
		if len(page) < 1000 {
			break
		}
	}
	if at.seq != head.Seq || !bytes.Equal(at.hash, head.Hash) {
		v.BadSeq, v.Problem = at.seq+1, "the end of the trail is missing"
		return nil
	}
	v.OK = true
	return nil
}
