package activity

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
)

// ErrNoCall means that there is no such line, or not for who asks.
var ErrNoCall = fault.New(fault.NotFound, "activity.no_call", "There is no such call in the log. It may be older than what is kept.")

// CallFilter selects lines of the call log. Organization must be set; an empty
// field selects everything.
type CallFilter struct {
	Organization string
	User         string // whose calls
	Principal    string // by which key or session
	Account      string
	Personal     string // a person's account, by the index of those
	Workspace    string
	Server       string
	Service      string
	Door         string
	Operation    string // tools/call, resources/read, prompts/get
	Name         string
	ErrorCode    string
	Success      *bool
	From, Until  time.Time // From is inside, Until is not
}

// Match reports whether a line is selected.
func (f *CallFilter) Match(l *Line) bool {
	for _, c := range f.texts() {
		if c.want != "" && c.want != c.of(l) {
			return false
		}
	}
	return (f.Success == nil || *f.Success == l.Success) &&
		(f.From.IsZero() || !l.CreatedAt.Before(f.From)) && (f.Until.IsZero() || l.CreatedAt.Before(f.Until))
}

type textCondition struct {
	column, want string
	of           func(*Line) string
}

func (f *CallFilter) texts() []textCondition {
	return []textCondition{
		{"organization_id", f.Organization, func(l *Line) string { return l.Organization }},
		{"user_id", f.User, func(l *Line) string { return l.User }},
		{"principal", f.Principal, func(l *Line) string { return l.Principal }},
		{"account_id", f.Account, func(l *Line) string { return l.Account }},
		{"personal_account", f.Personal, func(l *Line) string {
			if l.Personal {
				return l.Account
			}
			return ""
		}},
		{"workspace_id", f.Workspace, func(l *Line) string { return l.Workspace }},
		{"server_id", f.Server, func(l *Line) string { return l.Server }},
		{"service_id", f.Service, func(l *Line) string { return l.Service }},
		{"door", f.Door, func(l *Line) string { return l.Door }},
		{"operation", f.Operation, func(l *Line) string { return l.Operation }},
		{"name", f.Name, func(l *Line) string { return l.Name }},
		{"error_code", f.ErrorCode, func(l *Line) string { return l.ErrorCode }},
	}
}

// where returns the condition of a query. A call's id is made a moment before
// its line's time is taken, so a range of times is also one of ids, which the
// primary key answers; the slack covers that moment and a clock set back.
func (f *CallFilter) where() (string, []any) {
	var conds []string
	var args []any
	add := func(cond string, arg any) {
		args = append(args, arg)
		conds = append(conds, fmt.Sprintf(cond, len(args)))
	}
	for _, c := range f.texts() {
		if c.want != "" || c.column == "organization_id" {
			add(c.column+" = $%d", c.want)
		}
	}
	if f.Success != nil {
		add("success = $%d", *f.Success)
	}
	if !f.From.IsZero() {
		add("id >= $%d", firstID(f.From.Add(-idSlack)))
		add("created_at >= $%d", f.From.UnixMilli())
	}
	if !f.Until.IsZero() {
		add("id < $%d", firstID(f.Until.Add(idSlack)))
		add("created_at < $%d", f.Until.UnixMilli())
	}
	return strings.Join(conds, " AND "), args
}

const idSlack = time.Minute

// firstID returns the smallest id of a millisecond.
func firstID(t time.Time) []byte {
	var r id.Raw
	ms := max(t.UnixMilli(), 0)
	for i := range 6 {
		r[i] = byte(ms >> (8 * (5 - i)))
	}
	return r[:]
}

const lineColumns = `organization_id, id, account_id, personal_account IS NOT NULL, workspace_id, server_id, service_id, principal, user_id,
	door, operation, name, success, status_code, error_code, is_backend_error, credits_cost, credits_charged, cost_micros, duration_us,
	request_bytes, response_bytes, ip, user_agent, created_at`

func (l *Line) fields() []any {
	return []any{&l.Organization, (*rawID)(&l.ID), (*db.Text)(&l.Account), &l.Personal, (*db.Text)(&l.Workspace), (*db.Text)(&l.Server), (*db.Text)(&l.Service), &l.Principal, (*db.Text)(&l.User),
		&l.Door, &l.Operation, &l.Name, &l.Success, &l.StatusCode, (*db.Text)(&l.ErrorCode), &l.BackendError, &l.Cost, &l.Charged, &l.CostMicros, (*micros)(&l.Duration),
		&l.RequestBytes, &l.ResponseBytes, (*db.Text)(&l.IP), (*db.Text)(&l.UserAgent), (*db.Time)(&l.CreatedAt)}
}

// rawID scans 16 bytes.
type rawID id.Raw

// Scan implements sql.Scanner.
func (r *rawID) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || copy(r[:], b) != len(r) || len(b) != len(r) {
		return errors.New("an id column does not hold 16 bytes")
	}
	return nil
}

// micros scans a number of microseconds.
type micros time.Duration

// Scan implements sql.Scanner.
func (m *micros) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a duration column holds %T", src)
	}
	*m = micros(time.Duration(n) * time.Microsecond)
	return nil
}

// CountCalls counts the lines that a filter selects.
func CountCalls(ctx context.Context, q db.Querier, f CallFilter) (int64, error) {
	where, args := f.where()
	n, err := db.Value[int64](ctx, q, `SELECT COUNT(*) FROM calls WHERE `+where, args...)
	if err != nil {
		return 0, fmt.Errorf("count calls: %w", err)
	}
	return n, nil
}

// Calls returns lines, newest first: those older than before, unless it is
// zero, and after skipping offset.
func Calls(ctx context.Context, q db.Querier, f CallFilter, before id.Raw, limit, offset int) ([]Line, error) {
	where, args := f.where()
	if before != (id.Raw{}) {
		args = append(args, before[:])
		where += fmt.Sprintf(" AND id < $%d", len(args))
	}
	args = append(args, limit, offset)
	lines, err := db.All(ctx, q, (*Line).fields, fmt.Sprintf(`SELECT %s FROM calls WHERE %s ORDER BY id DESC LIMIT $%d OFFSET $%d`, lineColumns, where, len(args)-1, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	return lines, nil
}

// Call returns one line that the filter selects, or ErrNoCall.
func Call(ctx context.Context, q db.Querier, f CallFilter, call id.Raw) (Line, error) {
	where, args := f.where()
	args = append(args, call[:])
	l, err := db.One(ctx, q, (*Line).fields, fmt.Sprintf(`SELECT %s FROM calls WHERE %s AND id = $%d`, lineColumns, where, len(args)), args...)
	if errors.Is(err, db.ErrNone) {
		return l, ErrNoCall
	}
	if err != nil {
		return l, fmt.Errorf("read a call: %w", err)
	}
	return l, nil
}

const exportPage = 500

// EachCall walks the selected lines, newest first, at most limit of them. It
// reads page by page, so that a slow reader holds nothing open in the store.
func EachCall(ctx context.Context, q db.Querier, f CallFilter, limit int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		var before id.Raw
		for limit > 0 {
			page, err := Calls(ctx, q, f, before, min(limit, exportPage), 0)
			if err != nil {
				yield(Line{}, err)
				return
			}
			for _, l := range page {
				if !yield(l, nil) {
					return
				}
			}
			if len(page) < exportPage {
				return
			}
			limit -= len(page)
			before = page[len(page)-1].ID
		}
	}
}

// Use is what calls of one tool added up to.
type Use struct {
	Service, Name                string
	Calls, Errors, BackendErrors int64
	Cost, Charged                int64
	AverageLatency               time.Duration
}

// Spending is what calls of one tool cost a person in a period, and in its
// last part.
type Spending struct {
	Name                    string
	Calls, Charged, Success int64
	Latency                 time.Duration // of all together
	LateCalls, LateCharged  int64
}

// Spendings sums up the tool calls that a person's account paid since a moment,
// by name, the most called first. late is when the last part begins.
func Spendings(ctx context.Context, q db.Querier, account string, since, late time.Time) ([]Spending, error) {
	list, err := db.All(ctx, q, func(s *Spending) []any {
		return []any{&s.Name, &s.Calls, &s.Charged, &s.Success, (*micros)(&s.Latency), &s.LateCalls, &s.LateCharged}
	}, `SELECT name, COUNT(*), CAST(SUM(credits_charged) AS BIGINT), COUNT(*) FILTER (WHERE success), CAST(SUM(duration_us) AS BIGINT),
			COUNT(*) FILTER (WHERE created_at >= $3), CAST(COALESCE(SUM(credits_charged) FILTER (WHERE created_at >= $3), 0) AS BIGINT)
		FROM calls WHERE personal_account = $1 AND id >= $4 AND created_at >= $2 AND operation = 'tools/call' GROUP BY name ORDER BY COUNT(*) DESC, name LIMIT $5`,
		account, since.UnixMilli(), late.UnixMilli(), firstID(since.Add(-idSlack)), int64(maxUses))
	if err != nil {
		return nil, fmt.Errorf("sum up an account's calls: %w", err)
	}
	return list, nil
}

// maxUses bounds a summary by tool.
const maxUses = 1000

// ToolUse sums up the calls of tools over all organizations since a moment,
// the most called first; for operators.
func ToolUse(ctx context.Context, q db.Querier, since time.Time) ([]Use, error) {
	uses, err := db.All(ctx, q, func(u *Use) []any {
		return []any{(*db.Text)(&u.Service), &u.Name, &u.Calls, &u.Errors, &u.BackendErrors, &u.Cost, &u.Charged, (*micros)(&u.AverageLatency)}
	}, `SELECT service_id, name, COUNT(*), COUNT(*) FILTER (WHERE NOT success), COUNT(*) FILTER (WHERE is_backend_error),
			CAST(SUM(credits_cost) AS BIGINT), CAST(SUM(credits_charged) AS BIGINT), CAST(SUM(duration_us) / COUNT(*) AS BIGINT)
		FROM calls WHERE operation = 'tools/call' AND created_at >= $1 GROUP BY service_id, name ORDER BY COUNT(*) DESC, service_id, name LIMIT $2`, since.UnixMilli(), int64(maxUses))
	if err != nil {
		return nil, fmt.Errorf("sum up calls: %w", err)
	}
	return uses, nil
}
