package db

import (
	"context"
	"strconv"
	"strings"
)

// together is how many rows of an Insert go into one statement on SQLite. More
// saves nothing that could be measured.
const together = 16

// Insert is an insert of the fast lane whose rows come one at a time. On SQLite
// they are written many to a statement, which saves a quarter of their cost.
type Insert struct {
	one, many *Stmt
	width     int
}

// PrepareInsert declares an insert; packages keep it in a variable. into is the
// statement up to VALUES, row one row's list of values: $1, $2 … in this order,
// each once, among literals.
func PrepareInsert(into, row string) *Insert {
	width := strings.Count(row, "$")
	var all strings.Builder
	for i := range together {
		if i > 0 {
			all.WriteByte(',')
		}
		rest := row
		for n := 1; n <= width; n++ {
			before, after, ok := strings.Cut(rest, "$"+strconv.Itoa(n))
			if !ok {
				panic("db: the values of an insert are not in order: " + row)
			}
			all.WriteString(before + "$" + strconv.Itoa(i*width+n))
			rest = after
		}
		all.WriteString(rest)
	}
	return &Insert{one: Prepare(into + " VALUES " + row), many: Prepare(into + " VALUES " + all.String()), width: width}
}

// Insert adds a row, which is one more that must be written. What the engine
// has against it may be told only by a later call, or at the transaction's end;
// args must not change before that.
func (f *Fast) Insert(in *Insert, args ...any) error {
	if f.lite == nil {
		return f.Queue(in.one, 1, args...)
	}
	f.store.queries.Add(1)
	c := f.lite
	if c.insert != in {
		if err := c.flush(f.ctx); err != nil {
			return err
		}
		c.insert = in
	}
	c.rows = append(c.rows, args...)
	if len(c.rows) < together*in.width {
		return nil
	}
	err := c.expect(f.ctx, in.many, together, c.rows)
	c.forget()
	return err
}

// flush writes the rows that wait.
func (c *liteConn) flush(ctx context.Context) error {
	if len(c.rows) == 0 {
		return nil
	}
	defer c.forget()
	for rows := c.rows; len(rows) > 0; rows = rows[c.insert.width:] {
		if err := c.expect(ctx, c.insert.one, 1, rows[:c.insert.width]); err != nil {
			return err
		}
	}
	return nil
}

// forget lets go of the rows that waited.
func (c *liteConn) forget() {
	clear(c.rows)
	c.rows = c.rows[:0]
}

// expect is exec of a statement that must change want rows; -1: any number.
func (c *liteConn) expect(ctx context.Context, st *Stmt, want int64, args []any) error {
	n, err := c.exec(ctx, st, args)
	if err == nil && want >= 0 && n != want {
		err = ErrGuard
	}
	return err
}
