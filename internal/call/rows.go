package call

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/activity"
	"headgate/internal/budget"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/journal"
)

const (
	rowsEvery = 100 * time.Millisecond // how long rows may lag behind the journal
	rowsSoon  = 2_000                  // waiting records that are made rows at once
	rowsMost  = 50_000                 // waiting records at which callers wait for the rows
)

// rows turns journalled records into rows, hundreds to a transaction. What
// reads the tables waits for them (catchUp), so nobody sees the lag.
type rows struct {
	c       *Committer
	j       *journal.Journal
	payload []byte
	kick    chan struct{}

	applying sync.Mutex // one application at a time; taken before mu
	spare    []Record   // empty; waiting's next array
	mu       sync.Mutex
	waiting  []Record
	last     uint64 // the newest frame that was confirmed
	done     uint64 // the newest frame whose rows are there
}

var markApplied = db.Prepare(`INSERT INTO counters (name, value) VALUES ('journal', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`)

// Journalled makes the committer write records to a journal first, and their
// rows after it: for SQLite, whose commit is the larger half of a call. What a
// run that ended without a word left in the journal becomes rows now; the
// number of records is returned. Run must run from then on.
func (c *Committer) Journalled(ctx context.Context, dir string, jid journal.ID) (recovered int, err error) {
	after, err := db.Value[int64](ctx, c.store, `SELECT value FROM counters WHERE name = 'journal'`)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return 0, fmt.Errorf("read the journal's mark: %w", err)
	}
	j, err := journal.Open(dir, jid, uint64(after), 0)
	if err != nil {
		return 0, err
	}
	r := &rows{c: c, j: j, kick: make(chan struct{}, 1)}
	err = j.Replay(func(number uint64, payload []byte) error {
		for len(payload) > 0 {
			rec, rest, err := readRecord(payload)
			if err != nil {
				return fmt.Errorf("frame %d: %w", number, err)
			}
			r.waiting, payload = append(r.waiting, rec), rest
		}
		r.last = number
		return nil
	})
	recovered = len(r.waiting)
	if err == nil {
		err = r.apply(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, j.Close())
	}
	c.rows = r
	c.store.Barrier(touchesRows, r.catchUp)
	return recovered, nil
}

// touchesRows reports whether a statement reads or writes what rows make.
func touchesRows(text string) bool {
	for _, t := range []string{"accounts", "entries", "calls", "counters", "budget_"} {
		if strings.Contains(text, t) {
			return true
		}
	}
	return false
}

// catchUp makes rows of everything committed so far.
func (r *rows) catchUp(ctx context.Context) error {
	r.mu.Lock()
	behind := r.done < r.last // also while an application has taken what waits
	r.mu.Unlock()
	if !behind {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return r.apply(ctx)
}

// take makes a group durable. Its rows follow.
func (r *rows) take(group []*entry) error {
	r.payload = r.payload[:0]
	for _, e := range group {
		r.payload = appendRecord(r.payload, e.rec)
	}
	number, err := r.append()
	if err != nil {
		return err
	}
	r.mu.Lock()
	for _, e := range group {
		r.waiting = append(r.waiting, *e.rec)
	}
	r.last = number
	n := len(r.waiting)
	r.mu.Unlock()
	if n >= rowsMost {
		_ = r.apply(context.Background()) // a store that fails is found by Ready before the next call
	} else if n >= rowsSoon {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
	return nil
}

// append writes the frame; a journal that is full or broken is first made
// ready by applying what it holds.
func (r *rows) append() (uint64, error) {
	number, err := r.j.Append(r.payload)
	if !errors.Is(err, journal.ErrFull) && !errors.Is(err, journal.ErrBroken) {
		return number, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.apply(ctx); err != nil {
		return 0, err
	}
	if err := r.j.Heal(func(skip uint64) error {
		return r.c.store.Fast(ctx, func(f *db.Fast) error { return f.Queue(markApplied, 1, int64(skip)) })
	}); err != nil {
		return 0, err
	}
	return r.j.Append(r.payload)
}

// apply writes the rows of everything waiting, in one transaction with the
// mark that says so.
func (r *rows) apply(ctx context.Context) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	r.mu.Lock()
	list, last := r.waiting, r.last
	if len(list) == 0 {
		r.mu.Unlock()
		return nil // whoever held the lock before has written it all
	}
	r.waiting, r.spare = r.spare, nil
	r.mu.Unlock()
	err := r.write(ctx, list, last)
	if errors.Is(err, db.ErrGuard) || errors.Is(err, db.ErrDuplicate) || errors.Is(err, db.ErrRefused) || errors.Is(err, credit.ErrInsufficient) || errors.Is(err, credit.ErrNoAccount) {
		err = r.oneByOne(ctx, list, last)
	}
	if err != nil {
		r.mu.Lock()
		r.waiting = append(list, r.waiting...)
		r.last = max(r.last, last)
		r.mu.Unlock()
		r.c.sick.Store(true)
		return fmt.Errorf("write rows of calls: %w", err)
	}
	r.j.Applied(last)
	r.mu.Lock()
	r.done = max(r.done, last)
	r.mu.Unlock()
	if cap(list) <= 2*rowsSoon { // a burst's is let go
		clear(list)
		r.spare = list[:0]
	}
	return nil
}

func (r *rows) write(ctx context.Context, list []Record, mark uint64) error {
	settlements := make([]*credit.Settlement, len(list))
	lines := make([]*activity.Line, len(list))
	var spent []budget.Spend
	for i := range list {
		settlements[i] = &list[i].Settlement
		lines[i] = &list[i].Line
		spent = spending(spent, &list[i], r.c.rows == nil)
	}
	// In the order of the table, so that rows of one page come one after the other.
	slices.SortFunc(lines, func(a, b *activity.Line) int {
		if c := strings.Compare(a.Organization, b.Organization); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return r.c.store.Fast(ctx, func(f *db.Fast) error {
		if err := r.c.settle(f, settlements, spent); err != nil {
			return err
		}
		for _, l := range lines {
			if err := activity.Append(f, l); err != nil {
				return err
			}
		}
		if mark == 0 {
			return nil
		}
		return f.Queue(markApplied, 1, int64(mark))
	})
}

// oneByOne writes rows that together were refused, so that one that can never
// be written holds up no other. Such a one is a bug; it is logged whole enough
// to be mended by hand, and reconciliation finds the difference.
func (r *rows) oneByOne(ctx context.Context, list []Record, last uint64) error {
	for i := range list {
		err := r.write(ctx, list[i:i+1], 0)
		if err == nil {
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		l := &list[i].Line
		r.c.log.Error("a recorded call cannot be written as rows", "call", l.ID.Text("log"), "organization", l.Organization, "account", l.Account,
			"operation", l.Operation, "name", l.Name, "cost", l.Cost, "charged", l.Charged, "error", err)
	}
	return r.c.store.Fast(ctx, func(f *db.Fast) error { return f.Queue(markApplied, 1, int64(last)) })
}

// Run makes rows of journalled records until ctx ends, and of the rest then.
// Without a journal there is nothing to do.
func (c *Committer) Run(ctx context.Context) error {
	r := c.rows
	if r == nil {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(rowsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return r.catchUp(end)
		case <-t.C:
		case <-r.kick:
		}
		if err := r.catchUp(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("rows of calls are late; they are safe in the journal", "error", err)
			select { // a store that refuses is not asked in a circle
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// Close closes the journal. Run must have ended.
func (c *Committer) Close() error {
	if c.rows == nil {
		return nil
	}
	return c.rows.j.Close()
}
