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

	done = "done" // the state of a key with a stored answer; the other is running
)

// Store is the table. Its methods open their own transactions.
type Store struct {
	store *db.Store
	now   func() time.Time
}

// New returns the store of one replica.
func New(store *db.Store, now func() time.Time) *Store {
	return &Store{store: store, now: now}
}

// row is a key's. Its owner is the id of the request that claimed it.
type row struct {
	print, body      []byte
	state, owner     string
	created, expires int64
}

func (r *row) fields() []any {
	return []any{&r.print, &r.body, &r.state, &r.owner, &r.created, &r.expires}
}

// Begin implements rest.IdempotencyStore.
func (s *Store) Begin(ctx context.Context, org, key string, fingerprint [32]byte) (stored []byte, err error) {
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		stored = nil
		now := s.now()
		claim := []any{org, key, fingerprint[:], rest.RequestID(ctx), now.UnixMilli(), now.Add(ClaimFor).UnixMilli()}
		n, err := db.Exec(ctx, tx, `INSERT INTO idempotency (organization_id, key, fingerprint, state, owner, created_at, expires_at)
			VALUES ($1, $2, $3, 'running', $4, $5, $6) ON CONFLICT (organization_id, key) DO NOTHING`, claim...)
		if err != nil || n == 1 {
			return err
		}
		// The update locks the row: of two that find a lapsed claim one takes it over.
		r, err := db.One(ctx, tx, (*row).fields, `UPDATE idempotency SET state = state WHERE organization_id = $1 AND key = $2
			RETURNING fingerprint, body, state, owner, created_at, expires_at`, org, key)
		if errors.Is(err, db.ErrNone) { // freed at this very moment
			return rest.ErrInFlight
		}
		if err != nil {
			return err
		}
		if stored, err = s.judge(ctx, tx, org, &r, fingerprint, now); !errors.Is(err, errFree) {
			return err
		}
		_, err = db.Exec(ctx, tx, `UPDATE idempotency SET fingerprint = $3, state = 'running', body = NULL, owner = $4, created_at = $5, expires_at = $6
			WHERE organization_id = $1 AND key = $2`, claim...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim an idempotency key: %w", err)
	}
	return stored, nil
}

var errFree = errors.New("the key is free")

// judge says what a request meets under a key that was used before.
func (s *Store) judge(ctx context.Context, tx *db.Tx, org string, r *row, fingerprint [32]byte, now time.Time) ([]byte, error) {
	lapsed := r.expires <= now.UnixMilli()
	if lapsed && (r.state == done || r.created <= now.Add(-keepFor).UnixMilli()) {
		return nil, errFree
	}
	if !lapsed && !bytes.Equal(r.print, fingerprint[:]) {
		return nil, rest.ErrKeyReused
	}
	switch {
	case r.state == done:
		return r.body, nil
	case !lapsed:
		return nil, rest.ErrInFlight
	}
	happened, err := carriedOut(ctx, tx, org, r.owner)
	switch {
	case err != nil:
		return nil, err
	case !happened:
		return nil, errFree
	case !bytes.Equal(r.print, fingerprint[:]):
		return nil, rest.ErrKeyReused
	}
	return nil, rest.ErrAnswerLost
}

// carriedOut reports whether a request left something behind: an event of a
// change, or the line of a call that worked or was paid for. Both are written
// in the transaction of what they tell of.
func carriedOut(ctx context.Context, tx *db.Tx, org, request string) (bool, error) {
	raw, ok := id.ParseRaw("req", request)
	if !ok {
		return false, nil
	}
	// An operator's request has no organization, and its event another's.
	// Ids begin with their time: what a request did is not older than itself.
	since := "evt" + request[len("req"):][:len("_0123456789")]
	n, err := db.Value[int64](ctx, tx, `SELECT (SELECT COUNT(*) FROM calls WHERE organization_id = $1 AND id = $2 AND (success OR credits_charged > 0))
		+ (SELECT COUNT(*) FROM events WHERE (organization_id = $1 OR $1 = '') AND id >= $3 AND request_id = $4)`, org, raw[:], since, request)
	return n > 0, err
}

// Recover lapses the claims of a run that ended, where this process is the
// only one (SQLite). It returns how many there were.
func (s *Store) Recover(ctx context.Context) (int64, error) {
	if s.store.Engine() != db.SQLite {
		return 0, nil
	}
	return db.Exec(ctx, s.store, `UPDATE idempotency SET expires_at = $1 WHERE state = 'running'`, s.now().UnixMilli())
}

// Finish implements rest.IdempotencyStore.
func (s *Store) Finish(ctx context.Context, org, key string, answer []byte) error {
	n, err := db.Exec(ctx, s.store, `UPDATE idempotency SET state = 'done', body = $4, expires_at = $5
		WHERE organization_id = $1 AND key = $2 AND owner = $3 AND state = 'running'`, org, key, rest.RequestID(ctx), answer, s.now().Add(keepFor).UnixMilli())
	if err == nil && n == 0 {
		err = errors.New("the claim has lapsed")
	}
	return err
}

// Abandon implements rest.IdempotencyStore.
func (s *Store) Abandon(ctx context.Context, org, key string) error {
	_, err := db.Exec(ctx, s.store, `DELETE FROM idempotency WHERE organization_id = $1 AND key = $2 AND owner = $3 AND state = 'running'`, org, key, rest.RequestID(ctx))
	return err
}

// Expire removes what is too old to be asked for, and returns how much it was.
func (s *Store) Expire(ctx context.Context) (int64, error) {
	now := s.now()
	return db.Exec(ctx, s.store, `DELETE FROM idempotency WHERE expires_at <= $1 AND (state = 'done' OR created_at <= $2)`, now.UnixMilli(), now.Add(-keepFor).UnixMilli())
}
