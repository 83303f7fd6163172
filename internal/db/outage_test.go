package db_test

import (
	"errors"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/testkit"
)

// TestOutage shows that a database that cannot be used is told from a
// statement that is wrong, and that the store goes on when it is back.
func TestOutage(t *testing.T) {
	t.Run("a full disk on SQLite", func(t *testing.T) {
		s := testkit.SQLite(t)
		pages := func(n int64) {
			testkit.Must(db.Value[int64](t.Context(), s, `PRAGMA max_page_count = `+strconv.FormatInt(n, 10)))(t)
		}
		pages(testkit.Must(db.Value[int64](t.Context(), s, `PRAGMA page_count`))(t))
		unavailable(t, s, strings.Repeat("x", 1<<20))
		pages(1 << 30)
		available(t, s)
	})
	t.Run("a PostgreSQL that has gone", func(t *testing.T) {
		at := testkit.PostgresURL(t)
		s := testkit.Must(db.Open(t.Context(), at, db.Options{Connections: 2}))(t)
		t.Cleanup(func() { _ = s.Close() })
		available(t, s)
		u := testkit.Must(url.Parse(at))(t)
		name := path.Base(u.Path)
		u.Path = "/postgres"
		admin := testkit.Must(db.Open(t.Context(), u.String(), db.Options{Connections: 1}))(t)
		t.Cleanup(func() { _ = admin.Close() })
		testkit.Must(db.Exec(t.Context(), admin, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`))(t)
		testkit.Must(db.All(t.Context(), admin, func(ok *bool) []any { return []any{ok} },
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name))(t)
		unavailable(t, s, "x")
		testkit.Must(db.Exec(t.Context(), admin, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS true`))(t)
		available(t, s)
	})
	t.Run("a PostgreSQL that is not there says what to check", func(t *testing.T) {
		_, err := db.Open(t.Context(), "postgres://nobody:hunter22@127.0.0.1:1/x", db.Options{})
		if err == nil || !strings.Contains(err.Error(), "check the setting database") || strings.Contains(err.Error(), "hunter22") {
			t.Fatalf("got %v", err)
		}
	})
}

// unavailable wants every way to the store to say 503 and when to come back.
func unavailable(t *testing.T, s *db.Store, name string) {
	t.Helper()
	ctx := t.Context()
	_, exec := db.Exec(ctx, s, insert, name, 1)
	for way, err := range map[string]error{
		"a statement": exec,
		"a transaction": s.Tx(ctx, func(tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, insert, name, 1)
			return err
		}),
		"the fast lane": s.Fast(ctx, func(f *db.Fast) error { return f.Queue(fastInsert, 1, name, int64(1)) }),
	} {
		f := fault.Of(err)
		if !errors.Is(err, db.ErrUnavailable) || f.Kind != fault.Unavailable || f.RetryAfter < time.Second {
			t.Errorf("%s: got %v", way, err)
		}
		if strings.Contains(f.Message, name) || strings.Contains(f.Message, "127.0.0.1") {
			t.Errorf("%s tells too much: %s", way, f.Message)
		}
	}
}

func available(t *testing.T, s *db.Store) {
	t.Helper()
	ctx := t.Context()
	testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `INSERT INTO counters (name, value) VALUES ('up', 1) ON CONFLICT (name) DO UPDATE SET value = 1`)
		return err
	}))
	testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error { return f.Queue(fastUpdate, 1, "up") }))
}
