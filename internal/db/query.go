package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"headgate/internal/fault"
)

// ErrNone means that a query that wants a row found none.
var ErrNone = errors.New("no such row")

// ErrDuplicate means that a unique constraint refused a row. Inside Tx it
// must end the transaction: PostgreSQL has aborted it.
var ErrDuplicate = errors.New("a row with this key exists")

// ErrRefused means that a CHECK or foreign key constraint refused a row.
var ErrRefused = errors.New("a constraint refused the row")

// ErrUnavailable means that the database itself cannot be used: it is gone,
// full or read-only. It is a fault, so that every door says 503 and when to
// come back, whoever met it.
var ErrUnavailable = fault.New(fault.Unavailable, "db.unavailable", "The database cannot be used at the moment. Try again soon; an operator should look at the server's log, the database and its disk.").After(2 * time.Second)

// ErrAlone means that this replica has lost its link to the others (Current), so
// that what it remembers of credentials may hold no more.
var ErrAlone = fault.New(fault.Unavailable, "db.alone", "This replica has lost touch with the database and the other replicas, so it cannot tell which credentials still hold. Try again in a moment.").After(time.Second)

// Exec runs a statement and returns the number of rows it changed.
func Exec(ctx context.Context, q Querier, text string, args ...any) (int64, error) {
	res, err := q.exec(ctx, text, args)
	if err != nil {
		return 0, translate(err)
	}
	return res.RowsAffected()
}

// One returns the one row of a query, or ErrNone. fields returns the
// addresses to scan the columns into.
func One[T any](ctx context.Context, q Querier, fields func(*T) []any, text string, args ...any) (T, error) {
	var v T
	rows, err := q.query(ctx, text, args)
	if err != nil {
		return v, translate(err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return v, translate(err)
		}
		return v, ErrNone
	}
	if err := rows.Scan(fields(&v)...); err != nil {
		return v, fmt.Errorf("scan: %w", translate(err))
	}
	return v, translate(rows.Close())
}

// All returns every row of a query; an empty slice when there is none.
func All[T any](ctx context.Context, q Querier, fields func(*T) []any, text string, args ...any) ([]T, error) {
	rows, err := q.query(ctx, text, args)
	if err != nil {
		return nil, translate(err)
	}
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		var v T
		if err := rows.Scan(fields(&v)...); err != nil {
			return nil, fmt.Errorf("scan: %w", translate(err))
		}
		list = append(list, v)
	}
	return list, translate(rows.Err())
}

// Value returns the single value of a query, or ErrNone.
func Value[T any](ctx context.Context, q Querier, text string, args ...any) (T, error) {
	return One(ctx, q, func(v *T) []any { return []any{v} }, text, args...)
}

// Time scans a BIGINT of milliseconds UTC into a time.Time; NULL and 0 become
// the zero time.
type Time time.Time

// Scan implements sql.Scanner.
func (t *Time) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*t = Time{}
	case int64:
		if v == 0 {
			*t = Time{}
		} else {
			*t = Time(time.UnixMilli(v).UTC())
		}
	default:
		return fmt.Errorf("a time column holds %T", src)
	}
	return nil
}

// Millis returns t as the store keeps it, nil (NULL) for the zero time.
func Millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// Text scans a TEXT that may be NULL into a string, NULL as "".
type Text string

// Scan implements sql.Scanner.
func (t *Text) Scan(src any) error {
	var n sql.NullString
	if err := n.Scan(src); err != nil {
		return err
	}
	*t = Text(n.String)
	return nil
}

// Null returns s as the store keeps an optional text: nil (NULL) for "".
func Null(s string) any {
	if s == "" {
		return nil
	}
	return s
}
