package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Args is what a job is told. Kind names the work ("credit.grant") and never
// changes, because rows hold it; the value is kept as JSON, without secrets.
type Args interface{ Kind() string }

// InsertOpts refine one Enqueue.
type InsertOpts struct {
	ScheduledAt time.Time // zero: now
	MaxAttempts int64     // 0: DefaultAttempts
	// UniqueKey makes Enqueue do nothing while a job of this kind and key is
	// not finished. One that runs counts: work that must see a change made
	// meanwhile looks again before it ends.
	UniqueKey string
}

// DefaultAttempts spreads over about nine hours.
const DefaultAttempts = 10

const (
	maxArgs   = 64 << 10
	maxReason = 1000
	// Keys of periodic jobs outlive the job, so that a period is not begun twice.
	periodicMark = "periodic:"
)

// Enqueue puts a job into the queue in the caller's transaction, and reports
// whether it did: false means that UniqueKey found one there.
func Enqueue(ctx context.Context, tx *db.Tx, args Args, o InsertOpts) (bool, error) {
	key := ""
	if o.UniqueKey != "" {
		key = "unique:" + args.Kind() + ":" + o.UniqueKey
	}
	return insert(ctx, tx, args, o, key)
}

func insert(ctx context.Context, tx *db.Tx, args Args, o InsertOpts, key string) (bool, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return false, fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	if len(text) > maxArgs {
		return false, fmt.Errorf("enqueue %s: %d bytes of arguments are too many", args.Kind(), len(text))
	}
	raw := id.NewRaw()
	created := raw.Time()
	if o.ScheduledAt.IsZero() {
		o.ScheduledAt = created
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = DefaultAttempts
	}
	n, err := db.Exec(ctx, tx, `INSERT INTO jobs (id, kind, args, unique_key, state, run_at, attempts, max_attempts, created_at)
		VALUES ($1, $2, $3, $4, 'available', $5, 0, $6, $7) ON CONFLICT (unique_key) DO NOTHING`,
		raw.Text("job"), args.Kind(), string(text), db.Null(key), o.ScheduledAt.UnixMilli(), o.MaxAttempts, created.UnixMilli())
	if err != nil {
		return false, fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	if n > 0 {
		tx.Changed("job", args.Kind())
	}
	return n > 0, nil
}

// Job is a row, for people who look after them.
type Job struct {
	ID         string
	Kind       string
	Attempts   int64
	LastError  string
	CreatedAt  time.Time
	FinishedAt time.Time
}

// Dead returns the newest dead jobs.
func Dead(ctx context.Context, q db.Querier, limit int) ([]Job, error) {
	return db.All(ctx, q, func(j *Job) []any {
		return []any{&j.ID, &j.Kind, &j.Attempts, (*db.Text)(&j.LastError), (*db.Time)(&j.CreatedAt), (*db.Time)(&j.FinishedAt)}
	}, `SELECT id, kind, attempts, last_error, created_at, finished_at FROM jobs WHERE state = 'dead' ORDER BY finished_at DESC, id DESC LIMIT $1`, limit)
}

// ErrNotDead means that a job to retry is not dead, or not there.
var ErrNotDead = errors.New("there is no dead job of this id")

// Retry makes a dead job available again, with as many attempts as a new one.
func Retry(ctx context.Context, tx *db.Tx, job string, now time.Time) error {
	kind, err := db.Value[string](ctx, tx, `UPDATE jobs SET state = 'available', run_at = $2, attempts = 0, finished_at = NULL WHERE id = $1 AND state = 'dead' RETURNING kind`, job, now.UnixMilli())
	if errors.Is(err, db.ErrNone) {
		return ErrNotDead
	}
	if err == nil {
		tx.Changed("job", kind)
	}
	return err
}

// Cancel wraps the error of a handler that will never succeed: the job is dead
// at once, with this reason.
func Cancel(err error) error { return cancelled{err} }

type cancelled struct{ error }

func (c cancelled) Unwrap() error { return c.error }

// claimed is a job in a runner's hands. Owner and attempts together are its
// fence: whoever claims it later changes them.
type claimed struct {
	id, kind, args, key   string
	attempts, maxAttempts int64
}

func (c *claimed) fields() []any {
	return []any{&c.id, &c.kind, &c.args, (*db.Text)(&c.key), &c.attempts, &c.maxAttempts}
}

// claim takes up to n jobs that are due, or whose runner's lease has run out.
// SKIP LOCKED is the one place where the engines' texts differ: without it
// PostgreSQL would give two runners the same row.
func claim(ctx context.Context, s *db.Store, owner string, kinds []string, now time.Time, lease time.Duration, n int) ([]claimed, error) {
	args := []any{owner, now.Add(lease).UnixMilli(), now.UnixMilli(), n}
	marks := make([]string, len(kinds))
	for i, k := range kinds {
		args = append(args, k)
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	lock := ""
	if s.Engine() == db.PostgreSQL {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	return db.All(ctx, s, (*claimed).fields, `UPDATE jobs SET state = 'running', attempts = attempts + 1, owner = $1, leased_until = $2 WHERE id IN (
		SELECT id FROM jobs WHERE kind IN (`+strings.Join(marks, ", ")+`) AND (state = 'available' AND run_at <= $3 OR state = 'running' AND leased_until <= $3)
		ORDER BY run_at, id LIMIT $4`+lock+`) RETURNING id, kind, args, unique_key, attempts, max_attempts`, args...)
}

// due reports whether a claim would find something; it spares the one writer
// of SQLite an empty statement every Poll.
func due(ctx context.Context, s *db.Store, now time.Time) (bool, error) {
	n, err := db.Value[int64](ctx, s, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM jobs WHERE state = 'available' AND run_at <= $1 OR state = 'running' AND leased_until <= $1 LIMIT 1) found`, now.UnixMilli())
	return n > 0, err
}

// extend lengthens the lease; false means that the job is somebody else's.
func extend(ctx context.Context, s *db.Store, owner string, c claimed, until time.Time) (bool, error) {
	n, err := db.Exec(ctx, s, `UPDATE jobs SET leased_until = $4 WHERE id = $1 AND owner = $2 AND attempts = $3 AND state = 'running'`, c.id, owner, c.attempts, until.UnixMilli())
	return n > 0, err
}

// outcome is how one attempt ended.
type outcome struct {
	state    string // done, dead, or available for another attempt
	at       time.Time
	attempts int64
	reason   string
}

// record writes the outcome, unless the job is somebody else's by now.
func record(ctx context.Context, s *db.Store, owner string, c claimed, o outcome) error {
	finished, key := o.at, c.key
	if o.state == "available" {
		finished = time.Time{}
	} else if !strings.HasPrefix(key, periodicMark) {
		key = ""
	}
	if len(o.reason) > maxReason {
		o.reason = strings.ToValidUTF8(o.reason[:maxReason], "")
	}
	_, err := db.Exec(ctx, s, `UPDATE jobs SET state = $4, run_at = $5, attempts = $6, last_error = $7, finished_at = $8, unique_key = $9, owner = NULL, leased_until = NULL
		WHERE id = $1 AND owner = $2 AND attempts = $3 AND state = 'running'`,
		c.id, owner, c.attempts, o.state, o.at.UnixMilli(), o.attempts, db.Null(o.reason), db.Millis(finished), db.Null(key))
	return err
}

// sweep deletes a bounded number of finished jobs that nobody will look for.
// Those with a key are a period's mark and go with prune.
func sweep(ctx context.Context, s *db.Store, now time.Time) error {
	_, err := db.Exec(ctx, s, `DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE unique_key IS NULL
		AND (state = 'done' AND finished_at < $1 OR state = 'dead' AND finished_at < $2) LIMIT 1000)`,
		now.Add(-keepDone).UnixMilli(), now.Add(-keepDead).UnixMilli())
	return err
}

// prune deletes the marks of periods so long gone that no clock is that wrong.
func prune(ctx context.Context, tx *db.Tx, kind string, before time.Time) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM jobs WHERE kind = $1 AND unique_key LIKE '`+periodicMark+`%' AND state IN ('done', 'dead') AND finished_at < $2`, kind, before.UnixMilli())
	return err
}

const (
	keepDone = 7 * 24 * time.Hour
	keepDead = 90 * 24 * time.Hour
)
