package testkit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit/postgres"
)

// EachEngine runs a test on SQLite and on PostgreSQL, as subtests, each with a
// migrated and otherwise empty database of its own.
func EachEngine(t *testing.T, test func(t *testing.T, s *db.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, open(t, SQLitePath(t))) })
	t.Run("postgres", func(t *testing.T) { test(t, open(t, PostgresURL(t))) })
}

// SQLite returns a migrated SQLite store, for the tests of what only it has.
func SQLite(t testing.TB) *db.Store {
	t.Helper()
	return open(t, SQLitePath(t))
}

// Postgres returns a migrated PostgreSQL store, for the tests of what only it has.
func Postgres(t testing.TB) *db.Store {
	t.Helper()
	return open(t, PostgresURL(t))
}

// open closes the store before the database under it is dropped: cleanups run
// last in, first out.
func open(t testing.TB, at string) *db.Store {
	t.Helper()
	s := Must(db.Open(t.Context(), at, db.Options{Connections: 12}))(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// SQLitePath returns the path of a fresh, migrated SQLite file, for a test that
// opens the store itself or gives it to another process.
func SQLitePath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "headgate.db")
	Must0(t, os.WriteFile(path, Must(sqliteTemplate())(t), 0o600))
	return path
}

// PostgresURL returns the URL of a fresh, migrated database, dropped when the
// test ends. Without PostgreSQL it skips the test.
func PostgresURL(t testing.TB) string {
	t.Helper()
	s, err := sharedServer()
	if errors.Is(err, postgres.ErrMissing) {
		missing(t, "%v", err)
	}
	Must0(t, err)
	name := fmt.Sprintf("headgate_test_%d_%d", os.Getpid(), serial.Add(1))
	Must0(t, s.run(`DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)) // a crashed test's, should the process id come round
	Must0(t, s.run(`CREATE DATABASE `+name+` TEMPLATE `+s.template))
	t.Cleanup(func() {
		if err := s.run(`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.url(name)
}

var serial atomic.Int64

// sqliteTemplate is the content of a migrated file, made once per process.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "headgate-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "template.db")
	if err := migrate(context.Background(), path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return nil, errors.New("the closed template still has a WAL: a copy of it would miss rows")
	}
	return os.ReadFile(path)
})

func migrate(ctx context.Context, at string) error {
	s, err := db.Open(ctx, at, db.Options{})
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.Close()
}

// server is the PostgreSQL server of the tests, with one connection that makes
// and drops databases.
type server struct {
	admin    *db.Store
	template string // the name of a migrated database to copy
	url      func(database string) string
}

// sharedServer connects once per process. The cluster stays in use until the
// process ends, which releases its lock.
var sharedServer = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	at, err := serverURL(ctx)
	if err != nil {
		return nil, err
	}
	admin, err := db.Open(ctx, at("postgres"), db.Options{Connections: 1})
	if err != nil {
		return nil, err
	}
	schema, err := schemaHash()
	if err != nil {
		return nil, err
	}
	s := &server{admin, "headgate_template_" + schema, at}
	return s, s.ensureTemplate(ctx)
})

// serverURL returns how to reach a database of the server to test on.
func serverURL(ctx context.Context) (func(database string) string, error) {
	if given := os.Getenv("HEADGATE_TEST_DATABASE"); given != "" {
		u, err := url.Parse(given)
		if err != nil {
			return nil, errors.New("HEADGATE_TEST_DATABASE cannot be read; it looks like postgres://user:password@host:5432/postgres")
		}
		return func(database string) string {
			v := *u
			v.Path = "/" + database
			return v.String()
		}, nil
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	c, err := postgres.Start(ctx, root, postgres.Options{})
	if err != nil {
		return nil, err
	}
	return c.URL, nil
}

// ensureTemplate makes the database that tests copy, once per server and
// schema. Test binaries take turns; a half-made one has another name.
func (s *server) ensureTemplate(ctx context.Context) error {
	if err := s.run(`SELECT pg_advisory_lock(7266420)`); err != nil {
		return err
	}
	defer s.run(`SELECT pg_advisory_unlock(7266420)`)
	n, err := db.Value[int64](ctx, s.admin, `SELECT COUNT(*) FROM pg_database WHERE datname = $1`, s.template)
	if err != nil || n > 0 {
		return err
	}
	building := s.template + "_building"
	if err := s.run(`DROP DATABASE IF EXISTS ` + building + ` WITH (FORCE)`); err != nil {
		return err
	}
	if err := s.run(`CREATE DATABASE ` + building); err != nil {
		return err
	}
	if err := migrate(ctx, s.url(building)); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	return s.run(`ALTER DATABASE ` + building + ` RENAME TO ` + s.template)
}

// run runs a statement on the one connection; a test's own context has ended
// when its cleanup runs.
func (s *server) run(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := db.Exec(ctx, s.admin, text)
	return err
}

// schemaHash names the schema by the text of its migrations.
func schemaHash() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := os.DirFS(filepath.Join(root, "internal", "db"))
	files := []string{"migrate.go"} // it fills in the dialect
	err = fs.WalkDir(dir, "migrations", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range files {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// Root returns the directory of go.mod, upwards from where the test runs.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: run the tests inside the checkout")
		}
		dir = up
	}
}
