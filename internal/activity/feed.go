package activity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
)

// ErrFeedFull means that as many people watch the log as may at once.
var ErrFeedFull = fault.New(fault.Unavailable, "activity.feed_full", "Too many live streams of the log are open. Close one, or read the list.").After(10 * time.Second)

// Feed tells subscribers of new lines, whichever replica wrote them: it reads
// the log again and again while somebody listens, once per organization.
//
// A line is found by its id, which is as old as the call's beginning. So the
// reader overlaps, forgets nothing it has told of in that time, and looks
// further back, less often, for calls that took long. One that took more than
// fifteen minutes is in the list alone.
type Feed struct {
	store *db.Store
	log   *slog.Logger
	now   func() time.Time
	poll  time.Duration

	mu    sync.Mutex
	orgs  map[string]*watch
	count int
}

const (
	feedSubscribers = 1000
	feedBuffer      = 256 // lines a subscriber may lag behind
	feedPage        = 1000
	feedPoll        = 500 * time.Millisecond
	feedOverlap     = 10 * time.Second
	feedLong        = 15 * time.Minute
	feedLongEvery   = 10 * time.Second
)

// watch is the reader of one organization's log.
type watch struct {
	subscribers map[*subscription]struct{}
	cancel      context.CancelFunc
}

type subscription struct {
	filter CallFilter
	lines  chan Line
}

// NewFeed returns a feed over the store. poll is how often the log is read; 0
// means twice a second.
func NewFeed(store *db.Store, now func() time.Time, log *slog.Logger, poll time.Duration) *Feed {
	if poll <= 0 {
		poll = feedPoll
	}
	return &Feed{store: store, log: log, now: now, poll: poll, orgs: map[string]*watch{}}
}

// Subscribe returns a channel of the lines that the filter selects from now
// on. It is closed when the context ends, and also when the subscriber is too
// slow: better that than a gap nobody sees.
func (f *Feed) Subscribe(ctx context.Context, filter CallFilter) (<-chan Line, error) {
	if filter.Organization == "" {
		return nil, errors.New("subscribe to calls: whose?")
	}
	s := &subscription{filter: filter, lines: make(chan Line, feedBuffer)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count >= feedSubscribers {
		return nil, ErrFeedFull
	}
	f.count++
	w := f.orgs[filter.Organization]
	if w == nil {
		reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
		w = &watch{subscribers: map[*subscription]struct{}{}, cancel: cancel}
		f.orgs[filter.Organization] = w
		start := f.now().Truncate(time.Millisecond)
		go f.read(reading, w, &reader{store: f.store, organization: filter.Organization, told: map[id.Raw]time.Time{}, start: start, long: start})
	}
	w.subscribers[s] = struct{}{}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.drop(filter.Organization, w, s)
	})
	return s.lines, nil
}

// drop ends a subscription; the caller holds the lock.
func (f *Feed) drop(organization string, w *watch, s *subscription) {
	if _, ok := w.subscribers[s]; !ok {
		return
	}
	delete(w.subscribers, s)
	close(s.lines)
	f.count--
	if len(w.subscribers) == 0 {
		w.cancel()
		delete(f.orgs, organization)
	}
}

// read reads one organization's log until nobody listens any more.
func (f *Feed) read(ctx context.Context, w *watch, r *reader) {
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		lines, err := r.next(ctx, f.now())
		if err != nil && ctx.Err() == nil {
			f.log.Warn("the live log was not read", "organization", r.organization, "error", err)
		}
		f.tell(r.organization, w, lines)
	}
}

func (f *Feed) tell(organization string, w *watch, lines []Line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range w.subscribers {
		for i := range lines {
			if !s.filter.Match(&lines[i]) {
				continue
			}
			select {
			case s.lines <- lines[i]:
				continue
			default:
				f.drop(organization, w, s)
			}
			break
		}
	}
}

// reader finds the lines that were written since it last looked.
type reader struct {
	store        *db.Store
	organization string
	start, long  time.Time
	told         map[id.Raw]time.Time // until when the line may be found again
}

func (r *reader) next(ctx context.Context, now time.Time) ([]Line, error) {
	found, err := r.since(ctx, now.Add(-feedOverlap), 0)
	if err != nil {
		return nil, err
	}
	if now.Sub(r.long) >= feedLongEvery {
		r.long = now
		late, err := r.since(ctx, now.Add(-feedLong), feedOverlap/2)
		if err != nil {
			return nil, err
		}
		found = append(late, found...)
	}
	var fresh []Line
	for _, l := range found {
		if _, told := r.told[l.ID]; told || l.CreatedAt.Add(l.Duration).Before(r.start) {
			continue
		}
		window := 2 * feedOverlap
		if l.Duration >= feedOverlap/2 {
			window = feedLong + feedOverlap
		}
		r.told[l.ID] = l.ID.Time().Add(window)
		fresh = append(fresh, l)
	}
	maps.DeleteFunc(r.told, func(_ id.Raw, until time.Time) bool { return until.Before(now) })
	return fresh, nil
}

// since reads the lines of calls begun after a moment that took at least as
// long as given, oldest first.
func (r *reader) since(ctx context.Context, begun time.Time, took time.Duration) ([]Line, error) {
	var all []Line
	after := firstID(begun)
	for {
		page, err := db.All(ctx, r.store, (*Line).fields, `SELECT `+lineColumns+` FROM calls WHERE organization_id = $1 AND id > $2 AND duration_us >= $3 ORDER BY id LIMIT $4`,
			r.organization, after, took.Microseconds(), int64(feedPage))
		if err != nil {
			return nil, fmt.Errorf("read new calls: %w", err)
		}
		all = append(all, page...)
		if len(page) < feedPage {
			return all, nil
		}
		last := page[len(page)-1].ID
		after = last[:]
	}
}
