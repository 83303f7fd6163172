package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Engine tells which database a Store stands on.
type Engine uint8

// The engines.
const (
	SQLite Engine = iota
	PostgreSQL
)

// String returns the engine's name, lower case.
func (e Engine) String() string { return [...]string{"sqlite", "postgres"}[e] }

// Options tune Open. The zero value is right for a server.
type Options struct {
	// Relaxed trades the last moments before a power loss for speed on SQLite
	// (synchronous=NORMAL). A crash of ours loses nothing either way.
	Relaxed bool
	// Connections bounds the PostgreSQL pool; 0 means 16.
	Connections int
	// Lease is how long a replica trusts what it remembers after its link to
	// the others has answered; 0 means 3 s.
	Lease time.Duration
}

// Store is an open database.
type Store struct {
	engine  Engine
	write   *sql.DB // SQLite: one connection, BEGIN IMMEDIATE
	read    *sql.DB // SQLite: read-only pool; PostgreSQL: the same as write
	lock    *os.File
	queries atomic.Int64
	fast    fastLane
	links   *links
	barrier barrier
	after   struct {
		sync.Mutex
		fns []func(kind, ref string)
	}
}

// Querier runs statements: a *Store outside, a *Tx inside a transaction.
type Querier interface {
	exec(ctx context.Context, text string, args []any) (sql.Result, error)
	query(ctx context.Context, text string, args []any) (*sql.Rows, error)
}

// Open opens a store: a postgres:// URL, or the path of a SQLite file, whose
// directory must exist. It does not migrate. A SQLite file that another
// process has open is refused.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		return openPostgres(ctx, url, o)
	}
	return openSQLite(ctx, url, o)
}

func openSQLite(ctx context.Context, path string, o Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	lock, err := lockFile(abs + ".lock")
	if err != nil {
		return nil, err
	}
	// SQLite would let the umask decide who may read; its other files take
	// their mode from this one.
	file, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	fresh, err := file.Stat()
	_ = file.Close()
	if err == nil && fresh.Size() == 0 {
		err = layOut(ctx, abs)
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &Store{engine: SQLite, lock: lock, links: newLinks(nil, 0)}
	sync := "FULL"
	if o.Relaxed {
		sync = "NORMAL"
	}
	s.write, err = sql.Open("sqlite", sqliteURL(abs, "_txlock=immediate", "_pragma=synchronous("+sync+")"))
	if err == nil {
		s.write.SetMaxOpenConns(1)
		s.write.SetConnMaxIdleTime(0)
		err = s.write.PingContext(ctx)
	}
	if err == nil {
		s.read, err = sql.Open("sqlite", sqliteURL(abs, "_pragma=query_only(1)"))
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	return s, nil
}

func openPostgres(ctx context.Context, url string, o Options) (*Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database URL cannot be read; it looks like postgres://user:password@host:5432/name")
	}
	if config.ConnectTimeout == 0 { // a host that swallows packets would hold each request until the kernel gives up
		config.ConnectTimeout = 2 * time.Second
	}
	w := stdlib.OpenDB(*config)
	n := o.Connections
	if n <= 0 {
		n = 16
	}
	w.SetMaxOpenConns(n)
	w.SetMaxIdleConns(n)
	w.SetConnMaxIdleTime(5 * time.Minute)
	if err := w.PingContext(ctx); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("reach PostgreSQL (check the setting database, and that the server runs and lets this user in): %w", err)
	}
	return &Store{engine: PostgreSQL, write: w, read: w, links: newLinks(config, o.Lease)}, nil
}

// Close ends every connection and lets go of the file.
func (s *Store) Close() error {
	var errs []error
	s.fast.close()
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Engine returns the engine the store stands on.
func (s *Store) Engine() Engine { return s.engine }

// Queries returns how many statements have run, so that a test can show that
// a refusal cost none.
func (s *Store) Queries() int64 { return s.queries.Load() }

// Ping reports whether the store answers.
func (s *Store) Ping(ctx context.Context) error { return translate(s.read.PingContext(ctx)) }

// barrier lets statements wait for rows that were promised and are on their way.
type barrier struct {
	touches func(text string) bool
	wait    func(context.Context) error
}

// Barrier makes every transaction, and every statement outside of one for
// which touches is true, wait for wait first. The fast lane does not: whoever
// makes the rows uses it. A wait that fails is not the reader's failure: it
// reads what is there.
func (s *Store) Barrier(touches func(text string) bool, wait func(context.Context) error) {
	s.barrier = barrier{touches, wait}
}

func (b *barrier) pass(ctx context.Context, text string) {
	if b.wait != nil && (text == "" || b.touches(text)) {
		_ = b.wait(ctx)
	}
}

func (s *Store) exec(ctx context.Context, text string, args []any) (sql.Result, error) {
	s.queries.Add(1)
	s.barrier.pass(ctx, text)
	return s.write.ExecContext(ctx, text, args...)
}

func (s *Store) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	s.queries.Add(1)
	s.barrier.pass(ctx, text)
	if s.read != s.write && writes(text) {
		return s.write.QueryContext(ctx, text, args...)
	}
	return s.read.QueryContext(ctx, text, args...)
}

// writes reports whether a statement that returns rows changes some (INSERT,
// UPDATE or DELETE with RETURNING), so that SQLite runs it on the writer.
func writes(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return len(text) < 6 || !strings.EqualFold(text[:6], "SELECT") && !strings.EqualFold(text[:4], "WITH")
}

// Tx is an open transaction.
type Tx struct {
	store   *Store
	tx      *sql.Tx
	changes []change
}

type change struct{ kind, ref string }

func (t *Tx) exec(ctx context.Context, text string, args []any) (sql.Result, error) {
	t.store.queries.Add(1)
	return t.tx.ExecContext(ctx, text, args...)
}

func (t *Tx) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	t.store.queries.Add(1)
	return t.tx.QueryContext(ctx, text, args...)
}

// Engine returns the engine the transaction runs on.
func (t *Tx) Engine() Engine { return t.store.engine }

// Tx runs fn in one transaction. It commits when fn returns nil and rolls
// back otherwise. PostgreSQL serialization failures and deadlocks are retried,
// so fn must be safe to run again. fn must not use the network.
func (s *Store) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	for attempt := 0; ; attempt++ {
		err := s.tryTx(ctx, fn)
		if err == nil || attempt == 4 || !retryable(err) {
			return err
		}
	}
}

func (s *Store) tryTx(ctx context.Context, fn func(tx *Tx) error) error {
	s.barrier.pass(ctx, "")
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", translate(err))
	}
	tx := &Tx{store: s, tx: t}
	defer func() { _ = t.Rollback() }() // a no-op after Commit; also runs when fn panics
	if err := fn(tx); err != nil {
		return err
	}
	settled, dropped, err := s.tell(ctx, tx)
	if err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		dropped()
		return fmt.Errorf("commit: %w", translate(err))
	}
	s.announce(tx.changes)
	settled()
	return nil
}

// Changed notes that something others may have cached has changed. Once the
// transaction has committed, and before Tx returns, every OnChange function of
// this process has been called with it, and of every live replica (Replicate);
// a rollback forgets it.
func (t *Tx) Changed(kind, ref string) { t.changes = append(t.changes, change{kind, ref}) }

// OnChange registers a function that is told of every committed change. It
// must be quick and must not use the store.
func (s *Store) OnChange(fn func(kind, ref string)) {
	s.after.Lock()
	defer s.after.Unlock()
	s.after.fns = append(s.after.fns, fn)
}

func (s *Store) announce(changes []change) {
	if len(changes) == 0 {
		return
	}
	s.after.Lock()
	fns := s.after.fns
	s.after.Unlock()
	for _, c := range changes {
		for _, fn := range fns {
			fn(c.kind, c.ref)
		}
	}
}
