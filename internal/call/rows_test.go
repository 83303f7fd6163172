package call_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/call"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/journal"
	"headgate/internal/testkit"
)

// TestJournalled runs the committer with its journal, as SQLite installations do.
func TestJournalled(t *testing.T) {
	ctx := context.Background()
	jid := journal.ID{7}
	var log bytes.Buffer
	begin := func(t *testing.T, path, dir string) (*db.Store, *credit.Service, *call.Committer, int) {
		s := testkit.Must(db.Open(ctx, path, db.Options{}))(t)
		credits := credit.New(s, time.Now)
		c := call.NewCommitter(s, credits, slog.New(slog.NewTextHandler(&log, nil)))
		n := testkit.Must(c.Journalled(ctx, dir, jid))(t)
		return s, credits, c, n
	}
	count := func(t *testing.T, s *db.Store, a credit.Account) (lines, entries int64) {
		return testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM calls WHERE organization_id = $1`, a.Organization))(t),
			testkit.Must(db.Value[int64](ctx, s, `SELECT COUNT(*) FROM entries WHERE account_id = $1 AND type = 'usage'`, a.ID))(t)
	}

	t.Run("what was answered before a death is rows after it, once", func(t *testing.T) {
		path, dir := testkit.SQLitePath(t), t.TempDir()
		s, credits, c, _ := begin(t, path, dir)
		a := account(t, s, credits, 1000)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					h, err := credits.Hold(ctx, a.ID, 3)
					if err == nil {
						err = c.Commit(record(a, h, 3))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		// Death: nothing is flushed, the rows were never written.
		testkit.Must0(t, s.Close())
		for life := range 2 {
			s, credits, c, n := begin(t, path, dir)
			if want := []int{80, 0}[life]; n != want {
				t.Fatalf("life %d recovered %d calls, want %d", life, n, want)
			}
			testkit.Must(credits.Recover(ctx))(t)
			lines, entries := count(t, s, a)
			got := testkit.Must(credits.Get(ctx, a.ID))(t)
			if lines != 80 || entries != 80 || got.Balance() != 1000-240 || got.Leased != 0 || got.TotalCalls != 80 {
				t.Fatalf("life %d: %d lines, %d entries, %+v", life, lines, entries, got)
			}
			testkit.Must0(t, c.Close())
			testkit.Must0(t, s.Close())
		}
	})
	t.Run("whoever reads or changes the tables sees what was committed", func(t *testing.T) {
		s, credits, c, _ := begin(t, testkit.SQLitePath(t), t.TempDir())
		defer s.Close()
		a := account(t, s, credits, 100)
		for i := range 5 {
			h := testkit.Must(credits.Hold(ctx, a.ID, 1))(t)
			testkit.Must0(t, c.Commit(record(a, h, 1)))
			if lines, entries := count(t, s, a); lines != int64(i+1) || entries != int64(i+1) {
				t.Fatalf("after %d calls: %d lines, %d entries", i+1, lines, entries)
			}
		}
		h := testkit.Must(credits.Hold(ctx, a.ID, 90))(t)
		testkit.Must0(t, c.Commit(record(a, h, 90)))
		err := s.Tx(ctx, func(tx *db.Tx) error {
			_, err := credits.Post(ctx, tx, credit.Posting{Account: a.ID, Type: credit.TypeAdjustment, Amount: -6, ReferenceType: "test"})
			return err
		})
		testkit.Fault(t, err, "credit.insufficient")
	})
	// Once a reader could come between an application taking the records and
	// its commit, and see nothing of them.
	t.Run("also while rows are being written", func(t *testing.T) {
		s, credits, c, _ := begin(t, testkit.SQLitePath(t), t.TempDir())
		defer s.Close()
		run, stop := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- c.Run(run) }()
		var wg sync.WaitGroup
		for range 16 {
			a := account(t, s, credits, 10_000)
			wg.Go(func() {
				for i := range 100 {
					h, err := credits.Hold(ctx, a.ID, 1)
					if err == nil {
						err = c.Commit(record(a, h, 1))
					}
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := credits.Get(ctx, a.ID); err != nil || got.Balance() != int64(10_000-i-1) {
						t.Errorf("after %d calls the balance is %d, %v", i+1, got.Balance(), err)
						return
					}
				}
			})
		}
		wg.Wait()
		stop()
		testkit.Must0(t, <-ended)
	})
	t.Run("a record that can never be a row holds up no other and is told of", func(t *testing.T) {
		s, credits, c, _ := begin(t, testkit.SQLitePath(t), t.TempDir())
		defer s.Close()
		a := account(t, s, credits, 100)
		good := record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)
		twin := record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)
		twin.Line.ID = good.Line.ID
		last := record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)
		for _, r := range []*call.Record{good, twin, last} {
			testkit.Must0(t, c.Commit(r))
		}
		if lines, entries := count(t, s, a); lines != 2 || entries != 2 {
			t.Fatalf("%d lines, %d entries", lines, entries)
		}
		if !strings.Contains(log.String(), "cannot be written as rows") {
			t.Fatal("nobody was told")
		}
	})
	t.Run("a store that refuses keeps the records and gets them later", func(t *testing.T) {
		s, credits, c, _ := begin(t, testkit.SQLitePath(t), t.TempDir())
		defer s.Close()
		a := account(t, s, credits, 100)
		testkit.Must(db.Exec(ctx, s, `ALTER TABLE entries RENAME TO away`))(t)
		testkit.Must0(t, c.Commit(record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)))
		_, _ = db.Value[int64](ctx, s, `SELECT COUNT(*) FROM calls`) // a reader tries to catch up, and cannot
		testkit.Fault(t, c.Ready(), "call.store")
		testkit.Must(db.Exec(ctx, s, `ALTER TABLE away RENAME TO entries`))(t)
		testkit.Must0(t, c.Ready())
		if lines, entries := count(t, s, a); lines != 1 || entries != 1 {
			t.Fatalf("%d lines, %d entries", lines, entries)
		}
	})
	t.Run("Run writes the rest when it ends", func(t *testing.T) {
		s, credits, c, _ := begin(t, testkit.SQLitePath(t), t.TempDir())
		defer s.Close()
		a := account(t, s, credits, 1000)
		run, stop := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- c.Run(run) }()
		for range 300 {
			testkit.Must0(t, c.Commit(record(a, testkit.Must(credits.Hold(ctx, a.ID, 1))(t), 1)))
		}
		stop()
		testkit.Must0(t, <-ended)
		got := testkit.Must(credits.Get(ctx, a.ID))(t)
		if got.Balance() != 700 {
			t.Fatalf("balance %d", got.Balance())
		}
	})
}

func BenchmarkCommitJournalled(b *testing.B) {
	s := testkit.SQLite(b)
	credits := credit.New(s, time.Now)
	c := call.NewCommitter(s, credits, slog.New(slog.DiscardHandler))
	testkit.Must(c.Journalled(context.Background(), b.TempDir(), journal.ID{1}))(b)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = c.Run(ctx) }()
	a := account(b, s, credits, 1<<40)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := credits.Hold(context.Background(), a.ID, 1)
			if err == nil {
				err = c.Commit(record(a, h, 1))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
