package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Stmt is a statement of the fast lane, prepared once per connection.
type Stmt struct{ text string }

// Prepare declares a statement of the fast lane; packages keep it in a variable.
func Prepare(text string) *Stmt { return &Stmt{text} }

// Fast is a transaction on the fast lane: the group writer's. It speaks to the
// driver directly, because database/sql costs as much again as a small insert.
// On PostgreSQL the writes travel in one pipeline with the commit.
type Fast struct {
	store *Store
	ctx   context.Context
	lite  *liteConn
	pg    *pgx.Conn
	begun bool
	batch *pgx.Batch
	wants []int64

	failed error // of an Insert, which may be half done
}

// ErrGuard means that a guarded write of the fast lane met another number of
// rows than it promised; the transaction has been rolled back.
var ErrGuard = errors.New("a guarded write did not apply")

type fastLane struct {
	mu   sync.Mutex
	lite *liteConn
}

func (l *fastLane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lite != nil {
		l.lite.drop()
		l.lite = nil
	}
}

// Fast runs fn in one transaction of the fast lane and commits it. fn reads
// first (Each) and writes after (Queue): on PostgreSQL queued writes run at
// the end. One Fast runs at a time.
func (s *Store) Fast(ctx context.Context, fn func(f *Fast) error) error {
	s.fast.mu.Lock()
	defer s.fast.mu.Unlock()
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", translate(err))
	}
	defer conn.Close()
	return conn.Raw(func(dc any) error {
		f := &Fast{store: s, ctx: ctx}
		if s.engine == PostgreSQL {
			f.pg = dc.(*stdlib.Conn).Conn()
			return f.runPostgres(fn)
		}
		if s.fast.lite == nil || s.fast.lite.dc != dc {
			s.fast.lite = &liteConn{dc: dc.(driver.Conn), stmts: map[*Stmt]driver.Stmt{}}
		}
		f.lite = s.fast.lite
		return f.runSQLite(fn)
	})
}

// Each runs a query now and calls row for each result. Values are int64,
// string, []byte, bool (int64 on SQLite) or nil.
func (f *Fast) Each(st *Stmt, row func(v []driver.Value) error, args ...any) error {
	f.store.queries.Add(1)
	if f.lite != nil {
		if err := f.writeRows(); err != nil {
			return err
		}
		return f.lite.each(f.ctx, st, row, args)
	}
	if !f.begun {
		return f.beginWith(st, row, args)
	}
	rows, err := f.pg.Query(f.ctx, st.text, args...)
	if err != nil {
		return translate(err)
	}
	return eachRow(rows, row)
}

// beginWith begins the transaction in one round trip with its first query.
func (f *Fast) beginWith(st *Stmt, row func(v []driver.Value) error, args []any) error {
	f.begun = true
	first := &pgx.Batch{}
	first.Queue("begin")
	first.Queue(st.text, args...)
	res := f.pg.SendBatch(f.ctx, first)
	_, err := res.Exec()
	if err == nil {
		var rows pgx.Rows
		if rows, err = res.Query(); err == nil {
			err = eachRow(rows, row)
		}
	}
	return errors.Join(translate(err), translate(res.Close()))
}

func eachRow(rows pgx.Rows, row func(v []driver.Value) error) error {
	defer rows.Close()
	for rows.Next() {
		vals, err := rows.Values()
		if err != nil {
			return err
		}
		dv := make([]driver.Value, len(vals))
		for i, v := range vals {
			dv[i] = v
		}
		if err := row(dv); err != nil {
			return err
		}
	}
	return translate(rows.Err())
}

// Queue adds a write. want is the number of rows it must change, or -1.
func (f *Fast) Queue(st *Stmt, want int64, args ...any) error {
	f.store.queries.Add(1)
	if f.lite != nil {
		if err := f.writeRows(); err != nil {
			return err
		}
		return f.lite.expect(f.ctx, st, want, f.lite.list(args))
	}
	f.batch.Queue(st.text, args...)
	f.wants = append(f.wants, want)
	return nil
}

func (f *Fast) runSQLite(fn func(f *Fast) error) error {
	if _, err := f.lite.exec(f.ctx, stmtBegin, nil); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := fn(f)
	if err == nil {
		err = f.failed
	}
	if err == nil {
		err = f.writeRows()
	}
	if err == nil {
		_, err = f.lite.exec(f.ctx, stmtCommit, nil)
	}
	f.lite.forget()
	if err != nil {
		if _, rerr := f.lite.exec(context.WithoutCancel(f.ctx), stmtRollback, nil); rerr != nil {
			f.lite.drop()
			return errors.Join(err, driver.ErrBadConn)
		}
	}
	return err
}

var (
	stmtBegin    = Prepare("BEGIN IMMEDIATE")
	stmtCommit   = Prepare("COMMIT")
	stmtRollback = Prepare("ROLLBACK")
)

func (f *Fast) runPostgres(fn func(f *Fast) error) error {
	f.batch = &pgx.Batch{}
	err := fn(f)
	if err == nil {
		err = f.flush()
	}
	if err != nil && f.begun {
		if _, rerr := f.pg.Exec(context.WithoutCancel(f.ctx), "rollback"); rerr != nil {
			return errors.Join(err, driver.ErrBadConn)
		}
	}
	return err
}

// flush sends the queued writes in one pipeline, judges them, and commits.
func (f *Fast) flush() error {
	if !f.begun {
		f.begun = true
		if _, err := f.pg.Exec(f.ctx, "begin"); err != nil {
			return fmt.Errorf("begin: %w", translate(err))
		}
	}
	res := f.pg.SendBatch(f.ctx, f.batch)
	for _, want := range f.wants {
		tag, err := res.Exec()
		if err != nil {
			_ = res.Close()
			return translate(err)
		}
		if want >= 0 && tag.RowsAffected() != want {
			_ = res.Close()
			return ErrGuard
		}
	}
	if err := res.Close(); err != nil {
		return translate(err)
	}
	if _, err := f.pg.Exec(f.ctx, "commit"); err != nil {
		return fmt.Errorf("commit: %w", translate(err))
	}
	return nil
}

// liteConn is SQLite's one write connection with the statements prepared on it.
type liteConn struct {
	dc    driver.Conn
	stmts map[*Stmt]driver.Stmt
	args  []driver.NamedValue

	insert *Insert // whose rows wait
	rows   []driver.NamedValue
}

func (c *liteConn) stmt(ctx context.Context, st *Stmt) (driver.Stmt, error) {
	if ds, ok := c.stmts[st]; ok {
		return ds, nil
	}
	ds, err := c.dc.(driver.ConnPrepareContext).PrepareContext(ctx, positional(st.text))
	if err != nil {
		return nil, translate(err)
	}
	c.stmts[st] = ds
	return ds, nil
}

// named is an argument as the driver takes it.
func named(ordinal int, a any) driver.NamedValue {
	if n, ok := a.(int); ok {
		a = int64(n)
	}
	return driver.NamedValue{Ordinal: ordinal, Value: a}
}

// list makes a list of arguments, good until the next.
func (c *liteConn) list(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, named(i+1, a))
	}
	return c.args
}

// expect is exec of a statement that must change want rows; -1: any number.
func (c *liteConn) expect(ctx context.Context, st *Stmt, want int64, args []driver.NamedValue) error {
	n, err := c.exec(ctx, st, args)
	if err == nil && want >= 0 && n != want {
		err = ErrGuard
	}
	return err
}

func (c *liteConn) exec(ctx context.Context, st *Stmt, args []driver.NamedValue) (int64, error) {
	ds, err := c.stmt(ctx, st)
	if err != nil {
		return 0, err
	}
	// The statement runs to its end: an interrupt in the middle of a group
	// would fail everybody in it, so the caller's deadline is not the driver's.
	res, err := ds.(driver.StmtExecContext).ExecContext(context.Background(), args)
	if err != nil {
		return 0, translate(err)
	}
	return res.RowsAffected()
}

func (c *liteConn) each(ctx context.Context, st *Stmt, row func([]driver.Value) error, args []any) error {
	ds, err := c.stmt(ctx, st)
	if err != nil {
		return err
	}
	rows, err := ds.(driver.StmtQueryContext).QueryContext(context.Background(), c.list(args))
	if err != nil {
		return translate(err)
	}
	defer rows.Close()
	v := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return translate(err)
		}
		if err := row(v); err != nil {
			return err
		}
	}
}

func (c *liteConn) drop() {
	for _, st := range c.stmts {
		_ = st.Close()
	}
	c.stmts = nil
}

// positional writes $1 $2 … as ? ? … where they stand in order and once each:
// the driver looks every named parameter up by its name, at each execution.
func positional(text string) string {
	whole := text
	out := make([]byte, 0, len(text))
	for next := 1; ; next++ {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			return string(append(out, text...))
		}
		rest, ok := strings.CutPrefix(text[i+1:], strconv.Itoa(next))
		if !ok || rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return whole
		}
		out = append(append(out, text[:i]...), '?')
		text = rest
	}
}
