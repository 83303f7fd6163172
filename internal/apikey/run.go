package apikey

import (
	"context"
	"time"

	"headgate/internal/db"
)

const (
	flushEvery = time.Minute
	flushBatch = 500
)

// Run does what no caller waits for: it reads keys again after a change, so
// that the streams of those that lost a right end without a further use, and
// writes last uses once a minute and at the end. It returns when ctx is done.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadDeadline)
			defer cancel()
			return s.Flush(last)
		case <-s.cache.stale:
			s.Reread(ctx)
		case <-tick.C:
			if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("last uses of keys were not written; they will be with the next ones", "error", err)
			}
		}
	}
}

// Reread reads every key again that a change may have touched. One that
// cannot be judged is forgotten, which ends its streams: better that than a
// stream under rights that may be gone.
func (s *Service) Reread(ctx context.Context) {
	for _, key := range s.cache.staleKeys() {
		if ctx.Err() != nil {
			return
		}
		e := s.cache.known(key)
		if e == nil || !e.stale.Load() {
			continue
		}
		if _, err := s.reread(ctx, e); err != nil && ctx.Err() == nil {
			s.cache.kill(key)
		}
	}
}

// Flush writes the last uses the store does not know yet.
func (s *Service) Flush(ctx context.Context) error {
	uses := s.cache.unwritten()
	batch := map[string]int64{}
	write := func() error {
		err := s.store.Tx(ctx, func(tx *db.Tx) error {
			for key, used := range batch {
				if _, err := db.Exec(ctx, tx, `UPDATE keys SET last_used_at = $2 WHERE id = $1 AND COALESCE(last_used_at, 0) < $2`, key, used); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			s.cache.written(batch)
			clear(batch)
		}
		return err
	}
	for key, used := range uses {
		if batch[key] = used; len(batch) == flushBatch {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return write()
}
