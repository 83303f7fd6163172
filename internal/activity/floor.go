package activity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
)

// floor is the place in a tenant's trail up to which events have expired. It is
// signed: whoever can only write to the database cannot cut off more.
type floor struct {
	link
	tenant    string
	at        time.Time
	signature []byte
}

// link is a place in a chain: the number of an event and its hash.
type link struct {
	seq  int64
	hash []byte
}

// follow goes on to the next event, or says why it does not follow.
func (l *link) follow(r *eventRow) (problem string) {
	switch {
	case r.Seq != l.seq+1:
		return "an event is missing here"
	case !bytes.Equal(r.Previous, l.hash):
		return "it does not follow the event before it"
	case !bytes.Equal(r.sum([]byte(r.details)), r.Hash):
		return "its content was changed"
	}
	l.seq, l.hash = r.Seq, r.Hash
	return ""
}

func (f *floor) message() []byte {
	return fmt.Appendf(nil, "headgate trail begins after\n%s\n%d\n%s\n%d\n", f.tenant, f.seq, hex.EncodeToString(f.hash), f.at.UnixMilli())
}

// floor returns where a tenant's trail begins: at nothing, when no event has
// expired. ErrTrail when this installation did not sign it.
func (c *Checkpoints) floor(ctx context.Context, q db.Querier, tenant string) (floor, error) {
	var at int64
	f, err := db.One(ctx, q, func(f *floor) []any { return []any{&f.seq, &f.hash, &at, &f.signature} },
		`SELECT seq, hash, at, signature FROM event_floors WHERE tenant_id = $1`, tenant)
	if errors.Is(err, db.ErrNone) {
		return floor{tenant: tenant, link: link{hash: make([]byte, sha256.Size)}}, nil
	}
	if err != nil {
		return floor{}, fmt.Errorf("read the trail's floor: %w", err)
	}
	f.tenant, f.at = tenant, time.UnixMilli(at)
	if !ed25519.Verify(c.key.Public().(ed25519.PublicKey), f.message(), f.signature) {
		return floor{}, fmt.Errorf("%w: %s: the mark of its beginning was not signed by this installation", ErrTrail, tenant)
	}
	return f, nil
}

// expired is the event that Expire leaves.
const expired = "trail.expire"

// Expire removes the events of every trail that were made before the moment and
// returns how many went. Each trail keeps a signed mark of where it begins now,
// and an event that says so. One that has been tampered with loses nothing; the
// others do, and ErrTrail is returned.
func (c *Checkpoints) Expire(ctx context.Context, store *db.Store, before time.Time) (gone int64, err error) {
	tenants, err := db.All(ctx, store, func(s *string) []any { return []any{s} }, `SELECT tenant_id FROM event_heads ORDER BY tenant_id`)
	if err != nil {
		return 0, fmt.Errorf("list trails: %w", err)
	}
	var errs []error
	for _, tenant := range tenants {
		for n := int64(expireStep); n == expireStep; gone += n {
			err := store.Tx(ctx, func(tx *db.Tx) error {
				n, err = c.cut(ctx, tx, tenant, before)
				return err
			})
			if err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	return gone, errors.Join(errs...)
}

// cut removes the oldest events of a trail, a step at most.
func (c *Checkpoints) cut(ctx context.Context, tx *db.Tx, tenant string, before time.Time) (int64, error) {
	f, err := c.floor(ctx, tx, tenant)
	if err != nil {
		return 0, err
	}
	if p, err := c.Read(tenant); err != nil {
		return 0, err
	} else if p != nil {
		if problem, err := p.check(ctx, tx, f); err != nil || problem != "" {
			return 0, errors.Join(fmt.Errorf("%w: %s: %s", ErrTrail, tenant, problem), err)
		}
	}
	page, err := db.All(ctx, tx, (*eventRow).fields, `SELECT `+eventColumns+` FROM events WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, tenant, f.seq, int64(expireStep))
	if err != nil {
		return 0, fmt.Errorf("read the trail: %w", err)
	}
	worth := false // else the event of the last time alone would make room for the next
	for i := range page {
		if !page[i].CreatedAt.Before(before) {
			break
		}
		worth = worth || page[i].Action != expired
		if problem := f.follow(&page[i]); problem != "" {
			return 0, fmt.Errorf("%w: %s: event %d: %s", ErrTrail, tenant, f.seq+1, problem)
		}
	}
	if !worth {
		return 0, nil
	}
	f.at = c.now().UTC().Truncate(time.Millisecond)
	f.signature = ed25519.Sign(c.key, f.message())
	if _, err := db.Exec(ctx, tx, `INSERT INTO event_floors (tenant_id, seq, hash, at, signature) VALUES ($1,$2,$3,$4,$5)
		ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at, signature = excluded.signature`,
		tenant, f.seq, f.hash, f.at.UnixMilli(), f.signature); err != nil {
		return 0, fmt.Errorf("write the trail's floor: %w", err)
	}
	n, err := db.Exec(ctx, tx, `DELETE FROM events WHERE tenant_id = $1 AND seq <= $2`, tenant, f.seq)
	if err != nil {
		return 0, fmt.Errorf("expire events: %w", err)
	}
	return n, Record(ctx, tx, nil, Event{Tenant: tenant, Action: expired, TargetType: "trail", TargetID: tenant, Details: map[string]any{"events": n, "through": f.seq}})
}
