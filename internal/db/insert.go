package db

import (
	"slices"
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
// statement from INSERT INTO up to VALUES, row one row's list of values: $1, $2 …
// in this order, each once, among literals.
func PrepareInsert(into, row string) *Insert {
	// To take back a statement that fails at its tenth row, SQLite would keep a
	// copy of every page the statement writes to. Here the whole transaction
	// fails with it, so that is not asked for.
	target, ok := strings.CutPrefix(into, "INSERT INTO ")
	if !ok {
		panic("db: not an insert: " + into)
	}
	orFail := "INSERT OR FAIL INTO " + target
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
	return &Insert{one: Prepare(into + " VALUES " + row), many: Prepare(orFail + " VALUES " + all.String()), width: width}
}

// Insert adds a row, which is one more that must be written. What the engine
// has against it may be told only by a later call, or at the transaction's end,
// and fails the transaction whatever fn returns; args must not change before that.
func (f *Fast) Insert(in *Insert, args ...any) error {
	if f.lite == nil {
		return f.Queue(in.one, 1, slices.Clone(args)...) // kept until the end; without the clone every caller's list would be on the heap, SQLite's too
	}
	f.store.queries.Add(1)
	c := f.lite
	if c.insert != in {
		if err := f.writeRows(); err != nil {
			return err
		}
		c.insert = in
	}
	for _, a := range args {
		c.rows = append(c.rows, named(len(c.rows)+1, a))
	}
	if len(c.rows) < together*in.width {
		return nil
	}
	return f.writeRows()
}

// writeRows writes the rows that wait: all in one statement when there are
// enough, else one by one.
func (f *Fast) writeRows() (err error) {
	c := f.lite
	if len(c.rows) == 0 {
		return nil
	}
	if in := c.insert; len(c.rows) == together*in.width {
		err = c.expect(f.ctx, in.many, together, c.rows)
	} else {
		for row := range slices.Chunk(c.rows, in.width) {
			for i := range row {
				row[i].Ordinal = i + 1
			}
			if err = c.expect(f.ctx, in.one, 1, row); err != nil {
				break
			}
		}
	}
	c.forget()
	if err != nil {
		f.failed = err
	}
	return err
}

// forget lets go of the rows that waited.
func (c *liteConn) forget() {
	clear(c.rows)
	c.rows = c.rows[:0]
}
