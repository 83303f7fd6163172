package db

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations
var migrations embed.FS

// Set names a group of migrations that has its own version count.
type Set string

// The sets. On SQLite the logs live in a file of their own, so that bodies
// never queue before money; on PostgreSQL both are in one database.
const (
	Main Set = "main"
	Logs Set = "logs"
)

func (s Set) table() string {
	if s == Logs {
		return "schema_migrations_logs"
	}
	return "schema_migrations"
}

// Migration is one step of the schema.
type Migration struct {
	Version int
	Name    string
	text    string
}

// Migrations returns every step of a set that this binary knows, in order.
func Migrations(set Set) ([]Migration, error) {
	dir := "migrations/"
	if set == Logs {
		dir += "logs/"
	}
	names, err := fs.Glob(migrations, dir+"*.sql")
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, name := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(name, dir), ".sql")
		number, title, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(list)+1 {
			return nil, fmt.Errorf("migration %s is out of order: numbers are dense", name)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list = append(list, Migration{version, title, string(text)})
	}
	return list, nil
}

// dialect fills in the few words the engines do not share. {{clustered}} makes
// SQLite keep the table in primary key order, so that a hot table is one
// B-tree; {{serial}} is a number the engine counts up.
func (e Engine) dialect(text string) string {
	if e == SQLite {
		return strings.NewReplacer("{{clustered}}", " WITHOUT ROWID", "{{serial}}", "INTEGER PRIMARY KEY AUTOINCREMENT").Replace(text)
	}
	return strings.NewReplacer("{{clustered}}", "", "{{serial}}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY").Replace(text)
}

// Migrate brings the sets (by default both) to their newest version and
// returns the steps it took. Each step is one transaction; replicas that start
// together wait for each other. A schema newer than this binary is refused.
func (s *Store) Migrate(ctx context.Context, sets ...Set) ([]Migration, error) {
	if len(sets) == 0 {
		sets = []Set{Main, Logs}
	}
	var done []Migration
	for _, set := range sets {
		steps, err := s.migrate(ctx, set)
		done = append(done, steps...)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (s *Store) migrate(ctx context.Context, set Set) (done []Migration, err error) {
	known, err := Migrations(set)
	if err != nil {
		return nil, err
	}
	if _, err := Exec(ctx, s, `CREATE TABLE IF NOT EXISTS `+set.table()+` (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`); err != nil {
		return nil, fmt.Errorf("prepare migrations: %w", err)
	}
	for _, m := range known {
		took, err := s.step(ctx, set, m)
		if err != nil {
			return done, fmt.Errorf("migration %04d_%s: %w", m.Version, m.Name, err)
		}
		if took {
			done = append(done, m)
		}
	}
	newest, err := Value[int64](ctx, s, `SELECT COALESCE(MAX(version), 0) FROM `+set.table())
	if err != nil {
		return done, err
	}
	if newest > int64(len(known)) {
		return done, fmt.Errorf("the database has schema %d, this binary knows %d: start the newer binary", newest, len(known))
	}
	return done, nil
}

func (s *Store) step(ctx context.Context, set Set, m Migration) (took bool, err error) {
	err = s.Tx(ctx, func(tx *Tx) error {
		took = false
		if s.engine == PostgreSQL {
			if _, err := Exec(ctx, tx, `SELECT pg_advisory_xact_lock(7266419)`); err != nil {
				return err
			}
		}
		n, err := Value[int64](ctx, tx, `SELECT COUNT(*) FROM `+set.table()+` WHERE version = $1`, m.Version)
		if err != nil || n > 0 {
			return err
		}
		for _, text := range strings.Split(s.engine.dialect(m.text), ";\n") {
			if strings.TrimSpace(text) == "" {
				continue
			}
			if _, err := Exec(ctx, tx, text); err != nil {
				return err
			}
		}
		took = true
		_, err = Exec(ctx, tx, `INSERT INTO `+set.table()+` (version, name, applied_at) VALUES ($1, $2, $3)`, m.Version, m.Name, time.Now().UnixMilli())
		return err
	})
	return took, err
}
