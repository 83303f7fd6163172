package call

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/activity"
	"headgate/internal/budget"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/fault"
)

// ErrStore means that calls cannot be recorded now, so none is made.
var ErrStore = fault.New(fault.Unavailable, "call.store", "Calls cannot be recorded at the moment (the store refuses writes), so none is made. Try again soon; an operator should look at the server's log and disk.").After(2 * time.Second)

// maxGroup bounds one transaction of the committer.
const maxGroup = 256

// Committer writes settlements and log lines, many calls to a transaction.
//
// There is no goroutine: the first caller that finds no commit running leads,
// takes whatever others have queued meanwhile, commits once for all of them and
// hands the lead to the oldest that came later. So a lone call pays no switch,
// and under load groups form by themselves while the disk is busy.
type Committer struct {
	store  *db.Store
	credit *credit.Service
	budget *budget.Service // nil: none
	log    *slog.Logger

	mu      sync.Mutex
	queue   []*entry
	leading bool
	sick    atomic.Bool // the last commit failed; Ready probes before a call is made
	probing atomic.Bool
	free    sync.Pool
	blind   bool
	rows    *rows // with a journal
	groups  atomic.Int64
	records atomic.Int64
}

// Stats is what a committer has done since the start.
type Stats struct {
	Groups  int64 // commits
	Records int64 // calls in them
	Waiting int   // calls that are safe in the journal and not yet rows
	Sick    bool  // the last commit failed
}

// Stats returns what has been done so far.
func (c *Committer) Stats() Stats {
	s := Stats{Groups: c.groups.Load(), Records: c.records.Load(), Sick: c.sick.Load()}
	if c.rows != nil {
		c.rows.mu.Lock()
		s.Waiting = len(c.rows.waiting)
		c.rows.mu.Unlock()
	}
	return s
}

// Blind makes the committer forget every record instead of writing it. It is
// for the benchmark alone, to tell the price of the disk from that of the
// relay; nothing may be sold with it.
func (c *Committer) Blind() { c.blind = true }

// Budgeted makes the committer write what calls cost into their workspaces'
// budgets too. Call it before anything is committed.
func (c *Committer) Budgeted(b *budget.Service) { c.budget = b }

// Record is a finished call: its settlement and its line.
type Record struct {
	Settlement credit.Settlement
	Budget     budget.Hold
	Line       activity.Line
}

// ended ends the holds of a record that is on disk.
func (rec *Record) ended() {
	rec.Settlement.Ended()
	rec.Budget.End(rec.Line.CostMicros)
}

// settle writes the money of records: the accounts' and the budgets'. Of
// records that a crash has left, all that cost something may have been in a
// budget.
func (c *Committer) settle(f *db.Fast, settlements []*credit.Settlement, spent []budget.Spend) error {
	if err := c.credit.Settle(f, settlements); err != nil {
		return err
	}
	if c.budget == nil || len(spent) == 0 {
		return nil
	}
	return c.budget.Settle(f, spent)
}

// spending adds a record's cost to what its workspace's budget must know.
func spending(list []budget.Spend, rec *Record, crashed bool) []budget.Spend {
	if rec.Line.CostMicros == 0 || !crashed && !rec.Budget.Reserved() {
		return list
	}
	return append(list, budget.Spend{Workspace: rec.Line.Workspace, At: rec.Line.CreatedAt, Micros: rec.Line.CostMicros, Reserved: rec.Budget.Reserved()})
}

type entry struct {
	rec  *Record
	err  error
	wake chan signal
}

type signal uint8

const (
	done signal = iota
	lead
)

// NewCommitter returns the group writer over a store.
func NewCommitter(store *db.Store, credits *credit.Service, log *slog.Logger) *Committer {
	return &Committer{store: store, credit: credits, log: log,
		free: sync.Pool{New: func() any { return &entry{wake: make(chan signal, 1)} }}}
}

// Commit returns once the record is on disk, or with ErrStore when it could
// not be written; then nothing of it was, and its hold is released.
func (c *Committer) Commit(rec *Record) error {
	if c.blind {
		rec.ended()
		return nil
	}
	e := c.free.Get().(*entry)
	e.rec, e.err = rec, nil
	c.mu.Lock()
	c.queue = append(c.queue, e)
	if c.leading {
		c.mu.Unlock()
		if <-e.wake == done {
			return c.finish(e)
		}
	} else {
		c.leading = true
		c.mu.Unlock()
	}
	c.lead(e)
	return c.finish(e)
}

func (c *Committer) finish(e *entry) error {
	err := e.err
	e.rec = nil
	c.free.Put(e)
	return err
}

// gather gives way while others still come along, a few times at most: a group
// twice as large costs one sync as well. Where nobody else runs it costs less
// than a microsecond. Waiting by the clock wins nothing.
func (c *Committer) gather() {
	for turn, before := 0, 0; turn < 12; turn++ {
		runtime.Gosched()
		c.mu.Lock()
		queued := len(c.queue)
		c.mu.Unlock()
		if turn >= 2 && queued == before {
			return
		}
		before = queued
	}
}

// lead commits one group, which holds mine, and passes the lead on.
func (c *Committer) lead(mine *entry) {
	c.gather()
	c.mu.Lock()
	n := min(len(c.queue), maxGroup)
	group := append(make([]*entry, 0, n), c.queue[:n]...)
	c.queue = append(c.queue[:0], c.queue[n:]...)
	c.mu.Unlock()

	c.write(group)

	c.mu.Lock()
	if len(c.queue) > 0 {
		c.queue[0].wake <- lead
	} else {
		c.leading = false
	}
	c.mu.Unlock()
	for _, e := range group {
		if e != mine {
			e.wake <- done
		}
	}
}

// write commits a group, and when it fails each of it alone, so that one
// record that cannot be written does not fail the others.
func (c *Committer) write(group []*entry) {
	err := c.try(group)
	if err == nil {
		c.groups.Add(1)
		c.records.Add(int64(len(group)))
		return
	}
	if len(group) > 1 && !errors.Is(err, context.DeadlineExceeded) {
		for _, e := range group {
			c.write([]*entry{e})
		}
		return
	}
	c.sick.Store(true)
	c.log.Error("commit of calls failed", "calls", len(group), "error", err)
	for _, e := range group {
		e.rec.Settlement.Hold.Release()
		e.rec.Budget.End(0)
		e.err = ErrStore.Because(err)
	}
}

func (c *Committer) try(group []*entry) error {
	if c.rows != nil {
		if err := c.rows.take(group); err != nil {
			return err
		}
		for _, e := range group {
			e.rec.ended()
		}
		return nil
	}
	// Longer than any healthy commit; the callers' own deadlines do not count
	// here, because an answered upstream must be recorded even when they have gone.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	settlements := make([]*credit.Settlement, len(group))
	var spent []budget.Spend
	for i, e := range group {
		settlements[i] = &e.rec.Settlement
		spent = spending(spent, e.rec, false)
	}
	err := c.store.Fast(ctx, func(f *db.Fast) error {
		if err := c.settle(f, settlements, spent); err != nil {
			return err
		}
		for _, e := range group {
			if err := activity.Append(f, &e.rec.Line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.sick.Store(false)
	for _, e := range group {
		e.rec.ended()
	}
	return nil
}

// Ready reports whether a call's record could be written now. After a failure
// it asks the store, one caller at a time, before the next upstream is called:
// what could not be recorded must not be done.
func (c *Committer) Ready() error {
	if !c.sick.Load() {
		return nil
	}
	if !c.probing.CompareAndSwap(false, true) {
		return ErrStore
	}
	defer c.probing.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := c.store.Fast(ctx, func(f *db.Fast) error {
		return f.Queue(probe, -1, time.Now().UnixMilli())
	})
	if err == nil && c.rows != nil {
		err = c.rows.catchUp(ctx)
	}
	if err != nil {
		return ErrStore.Because(err)
	}
	c.sick.Store(false)
	return nil
}

var probe = db.Prepare(`INSERT INTO counters (name, value) VALUES ('probe', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`)
