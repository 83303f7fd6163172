package quota

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"headgate/internal/db"
)

// Unlimited is the limit of a plan without one. Requests are counted all the same.
const Unlimited = -1

// Interval is how long what was counted may stay in memory alone.
const Interval = 5 * time.Second

const (
	flushBatch   = 500
	lastDeadline = 5 * time.Second
)

// Service counts requests per day. Use one per store: it is the writer of
// day_counts for this process.
type Service struct {
	store *db.Store
	now   func() time.Time
	log   *slog.Logger

	flushing sync.Mutex // one Flush at a time

	mu   sync.RWMutex
	orgs map[string]*counter
	late map[row]int64 // counts of days that ended before they were written
}

// row names one line of day_counts. A day is a number of days since 1970 UTC.
type row struct {
	organization string
	day          int64
}

// counter is one organization's present day.
type counter struct {
	mu      sync.Mutex
	day     int64
	written int64 // what the table says
	flight  int64 // counted here, being written
	pending int64 // counted here, not yet written
	known   bool  // written has been read
	gone    bool  // no longer in the map
}

func (c *counter) used() int64 { return c.written + c.flight + c.pending }

// New returns the service. log may be nil.
func New(store *db.Store, now func() time.Time, log *slog.Logger) *Service {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Service{store: store, now: now, log: log, orgs: map[string]*counter{}, late: map[row]int64{}}
}

// Count counts one request of the organization today, or refuses it with
// ErrDaily when limit are used up; its details are feature, limit, used and
// reset.
func (s *Service) Count(ctx context.Context, organization string, limit int64) error {
	c, err := s.counter(ctx, organization)
	if err != nil {
		return err
	}
	defer c.mu.Unlock()
	if used := c.used(); limit >= 0 && used >= limit {
		reset := endOf(c.day)
		return ErrDaily.With("feature", "requests_per_day").With("limit", limit).With("used", used).
			With("reset", reset.Format(time.RFC3339)).After(reset.Sub(s.now()))
	}
	c.pending++
	return nil
}

// Today returns how many requests the organization has made today, and when
// the next day begins.
func (s *Service) Today(ctx context.Context, organization string) (used int64, reset time.Time, err error) {
	c, err := s.counter(ctx, organization)
	if err != nil {
		return 0, time.Time{}, err
	}
	defer c.mu.Unlock()
	return c.used(), endOf(c.day), nil
}

func dayOf(t time.Time) int64 { return t.Unix() / int64(24*time.Hour/time.Second) }

func endOf(day int64) time.Time { return time.Unix((day+1)*24*60*60, 0).UTC() }

// counter returns the organization's counter for today, locked.
func (s *Service) counter(ctx context.Context, organization string) (*counter, error) {
	for {
		s.mu.RLock()
		c := s.orgs[organization]
		s.mu.RUnlock()
		if c == nil {
			c = s.add(organization)
		}
		c.mu.Lock()
		if c.gone {
			c.mu.Unlock()
			continue
		}
		if err := s.refresh(ctx, organization, c); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		return c, nil
	}
}

func (s *Service) add(organization string) *counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.orgs[organization]
	if c == nil {
		c = &counter{day: dayOf(s.now())}
		s.orgs[organization] = c
	}
	return c
}

// refresh turns the counter to today and reads what the table knows of it.
// The counter is locked, so that nobody counts on top of half a number.
func (s *Service) refresh(ctx context.Context, organization string, c *counter) error {
	if today := dayOf(s.now()); today != c.day {
		s.put(row{organization, c.day}, c.pending)
		// What is in flight is the writer's to bring home.
		c.day, c.written, c.flight, c.pending, c.known = today, 0, 0, 0, false
	}
	if c.known {
		return nil
	}
	used, err := db.Value[int64](ctx, s.store, `SELECT used FROM day_counts WHERE organization_id = $1 AND day = $2`, organization, c.day)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return fmt.Errorf("read the day's requests: %w", err)
	}
	c.written, c.known = used, true
	return nil
}

// put keeps a count that has no counter any more for the next Flush.
func (s *Service) put(r row, n int64) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late[r] += n
}

// Run writes counts every Interval, and what is left when ctx is done.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastDeadline)
			defer cancel()
			return s.Flush(last)
		case <-tick.C:
			if err := s.Flush(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("counts of requests per day were not written; they will be with the next ones", "error", err)
			}
		}
	}
}

// Flush adds what was counted to the table, learns what other replicas
// counted, and forgets organizations that have been silent since yesterday.
func (s *Service) Flush(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	counts := s.late
	s.late = map[row]int64{}
	orgs := maps.Clone(s.orgs)
	s.mu.Unlock()
	today := dayOf(s.now())
	for organization, c := range orgs {
		c.mu.Lock()
		if c.pending > 0 {
			counts[row{organization, c.day}] += c.pending
			c.flight, c.pending = c.pending, 0
		} else if c.day < today {
			c.gone = true
			s.mu.Lock()
			delete(s.orgs, organization)
			s.mu.Unlock()
		}
		c.mu.Unlock()
	}
	var failed error
	for len(counts) > 0 {
		batch := map[row]int64{}
		for r, n := range counts {
			batch[r] = n
			delete(counts, r)
			if len(batch) == flushBatch {
				break
			}
		}
		totals, err := s.write(ctx, batch)
		failed = errors.Join(failed, err)
		for r, n := range batch {
			s.settle(orgs[r.organization], r, n, totals[r], err == nil)
		}
	}
	return failed
}

func (s *Service) write(ctx context.Context, batch map[row]int64) (totals map[row]int64, err error) {
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		totals = make(map[row]int64, len(batch))
		for r, n := range batch {
			totals[r], err = db.Value[int64](ctx, tx, `INSERT INTO day_counts (organization_id, day, used) VALUES ($1, $2, $3)
				ON CONFLICT (organization_id, day) DO UPDATE SET used = day_counts.used + excluded.used RETURNING used`, r.organization, r.day, n)
			if err != nil {
				return fmt.Errorf("write the day's requests: %w", err)
			}
		}
		return nil
	})
	return totals, err
}

// settle tells the counter what became of what it had in flight. A counter
// that has turned to another day meanwhile has nothing in flight; then what
// failed is late.
func (s *Service) settle(c *counter, r row, n, total int64, ok bool) {
	if c == nil {
		if !ok {
			s.put(r, n)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ok && c.day == r.day:
		c.written, c.flight = total, 0
	case !ok && c.day == r.day && !c.gone:
		c.pending, c.flight = c.pending+n, 0
	case !ok:
		s.put(r, n)
	}
}
