package activity

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// EventFilter selects events. One of Organization and Tenant must be set.
type EventFilter struct {
	Tenant       string
	Organization string
	Workspace    string
	Actor        string
	Action       string // "key.create", or "key." for all about keys
	Target       string
	From, Until  time.Time
}

// conditions collects the parts of a WHERE.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(part string, arg any) {
	c.args = append(c.args, arg)
	c.parts = append(c.parts, fmt.Sprintf(part, len(c.args)))
}

func (c *conditions) equal(column, want string) {
	if want != "" {
		c.add(column+" = $%d", want)
	}
}

// between selects a range of times, and with it one of the ids, which the
// indexes are sorted by (see CallFilter).
func (c *conditions) between(prefix string, from, until time.Time) {
	if !from.IsZero() {
		c.add("id >= $%d", id.Raw(firstID(from.Add(-idSlack))).Text(prefix))
		c.add("created_at >= $%d", from.UnixMilli())
	}
	if !until.IsZero() {
		c.add("id < $%d", id.Raw(firstID(until.Add(idSlack))).Text(prefix))
		c.add("created_at < $%d", until.UnixMilli())
	}
}

func (c *conditions) String() string { return strings.Join(c.parts, " AND ") }

func (f EventFilter) where() (*conditions, error) {
	if f.Tenant == "" && f.Organization == "" {
		return nil, errors.New("list events: whose?")
	}
	var c conditions
	c.equal("tenant_id", f.Tenant)
	c.equal("organization_id", f.Organization)
	c.equal("workspace_id", f.Workspace)
	c.equal("actor_id", f.Actor)
	c.equal("target_id", f.Target)
	if prefix, ok := strings.CutSuffix(f.Action, "."); ok {
		c.add("action >= $%d", prefix+".")
		c.add("action < $%d", prefix+"/") // the character after the dot
	} else {
		c.equal("action", f.Action)
	}
	c.between("evt", f.From, f.Until)
	return &c, nil
}

// Events returns events, newest first, and how many there are. Both are found
// in an index alone, but for the events themselves, whatever one filter is set.
func Events(ctx context.Context, q db.Querier, f EventFilter, limit, offset int) ([]Event, int64, error) {
	c, err := f.where()
	if err != nil {
		return nil, 0, err
	}
	total, err := db.Value[int64](ctx, q, `SELECT COUNT(*) FROM events WHERE `+c.String(), c.args...)
	if err != nil {
		return nil, 0, fmt.Errorf("count events: %w", err)
	}
	// What is skipped is not read: an index knows where the page begins.
	args := append(c.args, limit, offset)
	rows, err := db.All(ctx, q, (*eventRow).fields, fmt.Sprintf(`SELECT %s FROM events WHERE %s AND id <= (SELECT id FROM events WHERE %s ORDER BY id DESC LIMIT 1 OFFSET $%d)
		ORDER BY id DESC LIMIT $%d`, eventColumns, c, c, len(args), len(args)-1), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("read events: %w", err)
	}
	events := make([]Event, len(rows))
	for i := range rows {
		if events[i], err = rows[i].event(); err != nil {
			return nil, 0, err
		}
	}
	return events, total, nil
}

// EachEvent walks the selected events, newest first, at most limit of them,
// page by page, so that a slow reader holds nothing open in the store.
func EachEvent(ctx context.Context, q db.Querier, f EventFilter, limit int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c, err := f.where()
		if err != nil {
			yield(Event{}, err)
			return
		}
		for before := "evt_zzz"; limit > 0; {
			args := append(slices.Clip(c.args), before, min(limit, exportPage))
			rows, err := db.All(ctx, q, (*eventRow).fields, fmt.Sprintf(`SELECT %s FROM events WHERE %s AND id < $%d ORDER BY id DESC LIMIT $%d`, eventColumns, c, len(args)-1, len(args)), args...)
			if err != nil {
				yield(Event{}, fmt.Errorf("read events: %w", err))
				return
			}
			for i := range rows {
				e, err := rows[i].event()
				if !yield(e, err) || err != nil {
					return
				}
			}
			if limit -= len(rows); len(rows) < exportPage {
				return
			}
			before = rows[len(rows)-1].ID
		}
	}
}

// ErrorLine is a failure of ours or of an upstream, for people who mend them.
// Its message is the one the client saw.
type ErrorLine struct {
	ID           string // err_
	Organization string // "" when nobody's
	RequestID    string
	Code         string
	Message      string
	Door         string
	Operation    string
	Severity     string // error: ours; warning: somebody else's
	CreatedAt    time.Time
}

// The severities.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

const errorColumns = `id, organization_id, request_id, code, message, door, operation, severity, created_at`

func (e *ErrorLine) fields() []any {
	return []any{&e.ID, (*db.Text)(&e.Organization), &e.RequestID, &e.Code, &e.Message, &e.Door, &e.Operation, &e.Severity, (*db.Time)(&e.CreatedAt)}
}

// ErrorFilter selects error lines of an organization.
type ErrorFilter struct {
	Organization string
	Code         string
	Severity     string
	RequestID    string
	From, Until  time.Time
}

// ErrorLines returns error lines, newest first, and how many there are.
func ErrorLines(ctx context.Context, q db.Querier, f ErrorFilter, limit, offset int) ([]ErrorLine, int64, error) {
	var c conditions
	c.add("organization_id = $%d", f.Organization)
	c.equal("code", f.Code)
	c.equal("severity", f.Severity)
	c.equal("request_id", f.RequestID)
	c.between("err", f.From, f.Until)
	total, err := db.Value[int64](ctx, q, `SELECT COUNT(*) FROM error_lines WHERE `+c.String(), c.args...)
	if err != nil {
		return nil, 0, fmt.Errorf("count errors: %w", err)
	}
	args := append(c.args, limit, offset)
	lines, err := db.All(ctx, q, (*ErrorLine).fields, fmt.Sprintf(`SELECT %s FROM error_lines WHERE %s ORDER BY id DESC LIMIT $%d OFFSET $%d`, errorColumns, &c, len(args)-1, len(args)), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("read errors: %w", err)
	}
	return lines, total, nil
}

// Errors writes error lines after their requests were answered. A full queue
// or a failing store loses lines, counts them, and nothing else.
type Errors struct {
	store   *db.Store
	now     func() time.Time
	log     *slog.Logger
	mu      sync.Mutex
	waiting []ErrorLine
	dropped atomic.Int64
}

const (
	errorQueue  = 1000
	errorPeriod = time.Second
)

// NewErrors returns the writer. Run does the writing.
func NewErrors(store *db.Store, now func() time.Time, log *slog.Logger) *Errors {
	return &Errors{store: store, now: now, log: log}
}

// Add queues a line; its id and time are set here.
func (e *Errors) Add(l ErrorLine) {
	l.ID, l.CreatedAt = id.New("err"), e.now().UTC()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) >= errorQueue {
		e.dropped.Add(1)
		return
	}
	e.waiting = append(e.waiting, l)
}

// Dropped returns how many lines were lost since the start.
func (e *Errors) Dropped() int64 { return e.dropped.Load() }

// Run writes what is queued until ctx ends, and the rest then.
func (e *Errors) Run(ctx context.Context) error {
	tick := time.NewTicker(errorPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			e.Flush(end)
			return nil
		case <-tick.C:
			e.Flush(ctx)
		}
	}
}

// Flush writes what is queued now.
func (e *Errors) Flush(ctx context.Context) {
	e.mu.Lock()
	list := e.waiting
	e.waiting = nil
	e.mu.Unlock()
	if len(list) == 0 {
		return
	}
	err := e.store.Tx(ctx, func(tx *db.Tx) error {
		for _, l := range list {
			if _, err := db.Exec(ctx, tx, `INSERT INTO error_lines (`+errorColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
				l.ID, db.Null(l.Organization), l.RequestID, l.Code, l.Message, l.Door, l.Operation, l.Severity, l.CreatedAt.UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.dropped.Add(int64(len(list)))
		e.log.Error("error lines were not written", "lines", len(list), "error", err)
	}
}
