package testkit_test

import (
	"testing"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

func TestEachEngine(t *testing.T) {
	var engines []string
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		engines = append(engines, s.Engine().String())
		known := testkit.Must(db.Migrations(db.Main))(t)
		applied := testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM schema_migrations`))(t)
		if int(applied) != len(known) || applied == 0 {
			t.Errorf("%d migrations applied, want %d", applied, len(known))
		}
	})
	if len(engines) == 0 || engines[0] != "sqlite" {
		t.Errorf("ran on %v, want sqlite first", engines)
	}
}

func TestDatabasesAreFresh(t *testing.T) {
	for range 2 {
		testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
			// The second round fails where it meets the first one's table.
			testkit.Must(db.Exec(t.Context(), s, `CREATE TABLE leftovers (n BIGINT)`))(t)
		})
	}
}

func TestPostgresURL(t *testing.T) {
	t.Run("the database is gone when its test has ended", func(t *testing.T) {
		var at string
		t.Run("inner", func(t *testing.T) { at = testkit.PostgresURL(t) })
		if at == "" {
			t.Skip("no PostgreSQL")
		}
		s, err := db.Open(t.Context(), at, db.Options{})
		if err == nil {
			s.Close()
			t.Error("the database is still there")
		}
	})
}
