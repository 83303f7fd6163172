// Package replay keeps the answers of requests that carried an
// Idempotency-Key, so that a repeat gets the stored one instead of a second
// effect. It is rest.IdempotencyStore over the database and owns the table
// idempotency.
//
// Promises: a key belongs to one organization; one request at a time has it; a
// claim whose process died lapses after ClaimFor; a stored answer stays for 24
// hours. Answers come sealed from rest and are kept as they come.
package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/rest"
)

const (
	// ClaimFor is how long a request may hold its key; no idempotent operation
	// runs longer.
	ClaimFor = 10 * time.Minute
	keepFor  = 24 * time.Hour
)

// Store is the table. Its methods open their own transactions.
type Store struct {
	store *db.Store
	now   func() time.Time
	owner string
}

// New returns the store of one replica.
func New(store *db.Store, now func() time.Time) *Store {
	return &Store{store: store, now: now, owner: id.New("rep")}
}

type row struct {
	print, body []byte
	state       string
}

// Begin implements rest.IdempotencyStore.
func (s *Store) Begin(ctx context.Context, org, key string, fingerprint [32]byte) (stored []byte, err error) {
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		stored = nil
		now := s.now()
		n, err := db.Exec(ctx, tx, `INSERT INTO idempotency (organization_id, key, fingerprint, state, owner, created_at, expires_at)
			VALUES ($1, $2, $3, 'running', $4, $5, $6)
			ON CONFLICT (organization_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, state = 'running', body = NULL,
				owner = excluded.owner, created_at = excluded.created_at, expires_at = excluded.expires_at
			WHERE idempotency.expires_at <= excluded.created_at`,
			org, key, fingerprint[:], s.owner, now.UnixMilli(), now.Add(ClaimFor).UnixMilli())
		if err != nil || n == 1 {
			return err
		}
		r, err := db.One(ctx, tx, func(r *row) []any { return []any{&r.print, &r.state, &r.body} },
			`SELECT fingerprint, state, body FROM idempotency WHERE organization_id = $1 AND key = $2`, org, key)
		switch {
		case errors.Is(err, db.ErrNone): // freed at this very moment
			return rest.ErrInFlight
		case err != nil:
			return err
		case !bytes.Equal(r.print, fingerprint[:]):
			return rest.ErrKeyReused
		case r.state != "done":
			return rest.ErrInFlight
		}
		stored = r.body
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim an idempotency key: %w", err)
	}
	return stored, nil
}

// Finish implements rest.IdempotencyStore.
func (s *Store) Finish(ctx context.Context, org, key string, answer []byte) error {
	n, err := db.Exec(ctx, s.store, `UPDATE idempotency SET state = 'done', body = $4, expires_at = $5
		WHERE organization_id = $1 AND key = $2 AND owner = $3 AND state = 'running'`, org, key, s.owner, answer, s.now().Add(keepFor).UnixMilli())
	if err == nil && n == 0 {
		err = errors.New("the claim has lapsed")
	}
	return err
}

// Abandon implements rest.IdempotencyStore.
func (s *Store) Abandon(ctx context.Context, org, key string) error {
	_, err := db.Exec(ctx, s.store, `DELETE FROM idempotency WHERE organization_id = $1 AND key = $2 AND owner = $3 AND state = 'running'`, org, key, s.owner)
	return err
}

// Expire removes what is too old to be asked for, and returns how much it was.
func (s *Store) Expire(ctx context.Context) (int64, error) {
	return db.Exec(ctx, s.store, `DELETE FROM idempotency WHERE expires_at <= $1`, s.now().UnixMilli())
}
