package db_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

func counters(t *testing.T, s *db.Store) int64 {
	t.Helper()
	return testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM counters`))(t)
}

const insert = `INSERT INTO counters (name, value) VALUES ($1, $2)`

func TestTx(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		t.Run("a failing transaction leaves nothing and announces nothing", func(t *testing.T) {
			var heard []string
			s.OnChange(func(kind, ref string) { heard = append(heard, kind+" "+ref) })
			boom := errors.New("boom")
			err := s.Tx(ctx, func(tx *db.Tx) error {
				tx.Changed("thing", "1")
				testkit.Must(db.Exec(ctx, tx, insert, "a", 1))(t)
				return boom
			})
			if !errors.Is(err, boom) || counters(t, s) != 0 || heard != nil {
				t.Fatalf("%v, heard %v", err, heard)
			}
			testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
				tx.Changed("thing", "2")
				_, err := db.Exec(ctx, tx, insert, "a", 1)
				return err
			}))
			testkit.Equal(t, heard, []string{"thing 2"})
		})
		t.Run("a panic rolls back", func(t *testing.T) {
			func() {
				defer func() { _ = recover() }()
				_ = s.Tx(ctx, func(tx *db.Tx) error {
					testkit.Must(db.Exec(ctx, tx, insert, "p", 1))(t)
					panic("x")
				})
			}()
			if counters(t, s) != 1 {
				t.Fatal("the row of the panicking transaction is there")
			}
		})
		t.Run("duplicates and refused rows have one name on both engines", func(t *testing.T) {
			_, err := db.Exec(ctx, s, insert, "a", 1)
			if !errors.Is(err, db.ErrDuplicate) {
				t.Fatalf("got %v", err)
			}
			_, err = db.Exec(ctx, s, `INSERT INTO memberships (organization_id, user_id, role, active, created_at, updated_at) VALUES ('x', 'y', 'owner', TRUE, 0, 0)`)
			if !errors.Is(err, db.ErrRefused) {
				t.Fatalf("got %v", err)
			}
			_, err = db.Value[int64](ctx, s, `SELECT value FROM counters WHERE name = 'none'`)
			if !errors.Is(err, db.ErrNone) {
				t.Fatalf("got %v", err)
			}
		})
		t.Run("parameters bind by number, in any order and again", func(t *testing.T) {
			type pair struct{ a, b, c string }
			got := testkit.Must(db.One(ctx, s, func(p *pair) []any { return []any{&p.a, &p.b, &p.c} },
				`SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($2 AS TEXT)`, "one", "two"))(t)
			if got != (pair{"two", "one", "two"}) {
				t.Fatalf("got %+v", got)
			}
		})
		t.Run("fifty writers at once each count", func(t *testing.T) {
			testkit.Must(db.Exec(ctx, s, insert, "n", 0))(t)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if err := s.Tx(ctx, func(tx *db.Tx) error {
						_, err := db.Value[int64](ctx, tx, `UPDATE counters SET value = value + 1 WHERE name = 'n' RETURNING value`)
						return err
					}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := testkit.Must(db.Value[int64](ctx, s, `SELECT value FROM counters WHERE name = 'n'`))(t); n != 50 {
				t.Fatalf("counted %d", n)
			}
		})
		t.Run("times keep milliseconds and NULL is the zero time", func(t *testing.T) {
			now := time.Now().UTC().Truncate(time.Millisecond)
			type row struct{ a, b time.Time }
			got := testkit.Must(db.One(ctx, s, func(r *row) []any { return []any{(*db.Time)(&r.a), (*db.Time)(&r.b)} },
				`SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT)`, db.Millis(now), db.Millis(time.Time{})))(t)
			if !got.a.Equal(now) || !got.b.IsZero() {
				t.Fatalf("got %+v", got)
			}
		})
	})
}

var (
	fastInsert = db.Prepare(insert)
	fastRow    = db.PrepareInsert(`INSERT INTO counters (name, value)`, `($1, $2)`)
	fastRows   = db.Prepare(`SELECT name FROM counters WHERE name LIKE 'row-%'`)
	fastTouch  = db.Prepare(`UPDATE counters SET value = value * 3 WHERE name LIKE 'row-%'`)
	fastRead   = db.Prepare(`SELECT name, value FROM counters ORDER BY name`)
	fastUpdate = db.Prepare(`UPDATE counters SET value = value + 1 WHERE name = $1`)
)

func TestFast(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error { return f.Queue(fastInsert, 1, "a", int64(1)) }))
		t.Run("a guard that does not hold rolls everything back", func(t *testing.T) {
			err := s.Fast(ctx, func(f *db.Fast) error {
				return errors.Join(f.Queue(fastInsert, 1, "b", int64(1)), f.Queue(fastUpdate, 1, "none"))
			})
			if !errors.Is(err, db.ErrGuard) || counters(t, s) != 1 {
				t.Fatalf("got %v with %d rows", err, counters(t, s))
			}
		})
		t.Run("a duplicate rolls everything back and the lane goes on", func(t *testing.T) {
			err := s.Fast(ctx, func(f *db.Fast) error {
				return errors.Join(f.Queue(fastInsert, 1, "c", int64(1)), f.Queue(fastInsert, 1, "a", int64(1)))
			})
			if !errors.Is(err, db.ErrDuplicate) || counters(t, s) != 1 {
				t.Fatalf("got %v", err)
			}
			var names []string
			testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error {
				return errors.Join(f.Each(fastRead, func(v []driver.Value) error {
					names = append(names, v[0].(string))
					return nil
				}), f.Queue(fastUpdate, 1, "a"))
			}))
			testkit.Equal(t, names, []string{"a"})
		})
		t.Run("rows of an insert are there before whatever follows, however many they are", func(t *testing.T) {
			for _, n := range []int{0, 1, 15, 16, 17, 47} {
				seen := 0
				add := func(f *db.Fast) (errs error) {
					for i := range n {
						errs = errors.Join(errs, f.Insert(fastRow, fmt.Sprintf("row-%02d", i), int64(i)))
					}
					return errs
				}
				testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error {
					err := errors.Join(add(f), f.Queue(fastTouch, int64(n)))
					if s.Engine() == db.SQLite { // PostgreSQL sends its writes at the end
						err = errors.Join(err, f.Each(fastRows, func([]driver.Value) error { seen++; return nil }))
					}
					return err
				}))
				if s.Engine() == db.SQLite && seen != n {
					t.Fatalf("%d of %d rows before the transaction's end", seen, n)
				}
				got := testkit.Must(db.Value[int64](ctx, s, `SELECT COALESCE(SUM(value), 0) FROM counters WHERE name LIKE 'row-%'`))(t)
				if want := int64(n * (n - 1) / 2 * 3); got != want {
					t.Fatalf("%d rows sum to %d, want %d", n, got, want)
				}
				testkit.Must(db.Exec(ctx, s, `DELETE FROM counters WHERE name LIKE 'row-%'`))(t)
			}
		})
		t.Run("a row that is refused rolls back all, and none of them comes later", func(t *testing.T) {
			for _, twin := range []int{3, 15, 20, 40} {
				err := s.Fast(ctx, func(f *db.Fast) error {
					for i := range 41 {
						name := fmt.Sprintf("row-%02d", i)
						if i == twin {
							name = "a"
						}
						if err := f.Insert(fastRow, name, int64(i)); err != nil {
							return err
						}
					}
					return nil
				})
				if !errors.Is(err, db.ErrDuplicate) {
					t.Fatalf("got %v", err)
				}
				testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error { return f.Queue(fastTouch, 0) }))
				if n := counters(t, s); n != 1 {
					t.Fatalf("%d rows", n)
				}
			}
		})
		t.Run("a refused row rolls back all also when nobody minds the error", func(t *testing.T) {
			for _, bad := range []int{3, 15, 40} { // among rows of one statement, at its end, alone
				err := s.Fast(ctx, func(f *db.Fast) error {
					for i := range 41 {
						value := any(int64(i))
						if i == bad {
							value = nil
						}
						_ = f.Insert(fastRow, fmt.Sprintf("row-%02d", i), value)
					}
					return nil
				})
				if !errors.Is(err, db.ErrRefused) {
					t.Fatalf("got %v", err)
				}
				if n := counters(t, s); n != 1 {
					t.Fatalf("%d rows", n)
				}
			}
		})
		t.Run("it and ordinary transactions take turns", func(t *testing.T) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 20 {
						if err := s.Fast(ctx, func(f *db.Fast) error { return f.Queue(fastUpdate, 1, "a") }); err != nil {
							t.Error(err)
						}
						if _, err := db.Exec(ctx, s, `UPDATE counters SET value = value + 1 WHERE name = 'a'`); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if n := testkit.Must(db.Value[int64](ctx, s, `SELECT value FROM counters WHERE name = 'a'`))(t); n != 322 {
				t.Fatalf("counted %d", n)
			}
		})
	})
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := testkit.Must(db.Open(context.Background(), path, db.Options{}))(t)
	t.Run("a second opener is told who has it", func(t *testing.T) {
		if _, err := db.Open(context.Background(), path, db.Options{}); !errors.Is(err, db.ErrInUse) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("nobody else may read its files", func(t *testing.T) {
		for _, file := range testkit.Must(filepath.Glob(path + "*"))(t) {
			if mode := testkit.Must(os.Stat(file))(t).Mode().Perm(); mode != 0o600 {
				t.Errorf("%s has mode %v", filepath.Base(file), mode)
			}
		}
	})
	t.Run("migrating twice does nothing the second time", func(t *testing.T) {
		if did := testkit.Must(s.Migrate(t.Context()))(t); len(did) == 0 {
			t.Fatal("nothing was done")
		}
		if did := testkit.Must(s.Migrate(t.Context()))(t); len(did) != 0 {
			t.Fatalf("did %v again", did)
		}
	})
	t.Run("a schema of the future is refused", func(t *testing.T) {
		testkit.Must(db.Exec(t.Context(), s, `INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'future', 0)`))(t)
		if _, err := s.Migrate(t.Context()); err == nil {
			t.Fatal("accepted")
		}
	})
	testkit.Must0(t, s.Close())
	testkit.Must0(t, testkit.Must(db.Open(context.Background(), path, db.Options{}))(t).Close())
}

// TestPages: a new database gets our pages; one from before keeps its own.
func TestPages(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	file := testkit.Must(sql.Open("sqlite", "file:"+old))(t)
	testkit.Must(file.Exec("CREATE TABLE t (x)"))(t)
	testkit.Must0(t, file.Close())
	for path, want := range map[string]int64{filepath.Join(dir, "a new one.db"): 8192, old: 4096} {
		s := testkit.Must(db.Open(t.Context(), path, db.Options{}))(t)
		testkit.Must(s.Migrate(t.Context()))(t)
		if got := testkit.Must(db.Value[int64](t.Context(), s, "PRAGMA page_size"))(t); got != want {
			t.Errorf("%s has pages of %d bytes, not %d", filepath.Base(path), got, want)
		}
		if got := testkit.Must(db.Value[string](t.Context(), s, "PRAGMA journal_mode"))(t); got != "wal" {
			t.Errorf("%s is in mode %s", filepath.Base(path), got)
		}
		testkit.Must0(t, s.Close())
	}
}
