package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/jobs"
	"headgate/internal/testkit"
)

type mail struct{ To string }

func (mail) Kind() string { return "test.mail" }

type grant struct{}

func (grant) Kind() string { return "test.grant" }

// clock begins at the real time, which Enqueue goes by, and moves by hand.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Now().Add(time.Minute).UnixMilli())
	return c
}

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func enqueue(t *testing.T, s *db.Store, args jobs.Args, o jobs.InsertOpts) (made bool) {
	t.Helper()
	testkit.Must0(t, s.Tx(context.Background(), func(tx *db.Tx) (err error) {
		made, err = jobs.Enqueue(context.Background(), tx, args, o)
		return err
	}))
	return made
}

func drain(t *testing.T, r *jobs.Runner) int {
	t.Helper()
	return testkit.Must(r.Drain(t.Context()))(t)
}

func count(t *testing.T, s *db.Store, condition string) int64 {
	t.Helper()
	return testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM jobs WHERE `+condition))(t)
}

func TestEnqueue(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		c := newClock()
		r := jobs.New(s, jobs.Options{Now: c.Now, Workers: 1})
		var got []string
		jobs.Handle(r, func(_ context.Context, m mail) error { got = append(got, m.To); return nil })
		t.Run("a rollback enqueues nothing", func(t *testing.T) {
			_ = s.Tx(t.Context(), func(tx *db.Tx) error {
				testkit.Must(jobs.Enqueue(t.Context(), tx, mail{"nobody"}, jobs.InsertOpts{}))(t)
				return errors.New("no")
			})
			testkit.Equal(t, drain(t, r), 0)
		})
		t.Run("arguments arrive, once, and not before their time", func(t *testing.T) {
			enqueue(t, s, mail{"a"}, jobs.InsertOpts{})
			enqueue(t, s, mail{"b"}, jobs.InsertOpts{ScheduledAt: c.Now().Add(time.Hour)})
			drain(t, r)
			testkit.Equal(t, got, []string{"a"})
			c.Advance(time.Hour)
			drain(t, r)
			drain(t, r)
			testkit.Equal(t, got, []string{"a", "b"})
		})
		t.Run("a unique key holds until the job is finished", func(t *testing.T) {
			key := jobs.InsertOpts{UniqueKey: "k"}
			testkit.Equal(t, []bool{enqueue(t, s, mail{"c"}, key), enqueue(t, s, mail{"d"}, key), enqueue(t, s, mail{"e"}, jobs.InsertOpts{UniqueKey: "other"})}, []bool{true, false, true})
			drain(t, r)
			testkit.Equal(t, enqueue(t, s, mail{"f"}, key), true)
			testkit.Equal(t, drain(t, r), 1)
		})
		t.Run("a kind nobody handles waits for who does", func(t *testing.T) {
			enqueue(t, s, grant{}, jobs.InsertOpts{})
			testkit.Equal(t, drain(t, r), 0)
			other := jobs.New(s, jobs.Options{Now: c.Now})
			jobs.Handle(other, func(context.Context, grant) error { return nil })
			testkit.Equal(t, drain(t, other), 1)
		})
		t.Run("too many arguments are refused", func(t *testing.T) {
			err := s.Tx(t.Context(), func(tx *db.Tx) error {
				_, err := jobs.Enqueue(t.Context(), tx, mail{strings.Repeat("x", 70_000)}, jobs.InsertOpts{})
				return err
			})
			if err == nil {
				t.Error("enqueued")
			}
		})
	})
}

func TestFailure(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		c := newClock()
		r := jobs.New(s, jobs.Options{Now: c.Now})
		runs := 0
		answer := func() error { return errors.New("smtp is down") }
		jobs.Handle(r, func(context.Context, mail) error { runs++; return answer() })
		t.Run("is tried again later, and parked with its reason after the last attempt", func(t *testing.T) {
			enqueue(t, s, mail{}, jobs.InsertOpts{MaxAttempts: 3})
			for want := 1; want <= 3; want++ {
				drain(t, r)
				testkit.Equal(t, runs, want)
				drain(t, r)
				testkit.Equal(t, runs, want) // not before its time
				c.Advance(2 * time.Minute)
			}
			drain(t, r)
			testkit.Equal(t, runs, 3)
			dead := testkit.Must(jobs.Dead(t.Context(), s, 10))(t)
			testkit.Equal(t, []any{len(dead), dead[0].Attempts, dead[0].LastError}, []any{1, int64(3), "smtp is down"})
		})
		t.Run("a dead job can be tried again, once it is dead", func(t *testing.T) {
			answer = func() error { return nil }
			dead := testkit.Must(jobs.Dead(t.Context(), s, 10))(t)[0].ID
			retry := func() error {
				return s.Tx(t.Context(), func(tx *db.Tx) error { return jobs.Retry(t.Context(), tx, dead, c.Now()) })
			}
			testkit.Must0(t, retry())
			testkit.Equal(t, drain(t, r), 1)
			if err := retry(); !errors.Is(err, jobs.ErrNotDead) {
				t.Errorf("got %v", err)
			}
		})
		t.Run("cancelled, unreadable and panicking jobs are parked", func(t *testing.T) {
			answer = func() error { return fmt.Errorf("send: %w", jobs.Cancel(errors.New("no such mailbox"))) }
			enqueue(t, s, mail{}, jobs.InsertOpts{})
			drain(t, r)
			answer = func() error { panic("boom") }
			enqueue(t, s, mail{}, jobs.InsertOpts{MaxAttempts: 1})
			drain(t, r)
			enqueue(t, s, mail{}, jobs.InsertOpts{})
			testkit.Must(db.Exec(t.Context(), s, `UPDATE jobs SET args = '[' WHERE state = 'available'`))(t)
			drain(t, r)
			var reasons []string
			for _, j := range testkit.Must(jobs.Dead(t.Context(), s, 10))(t) {
				reasons = append(reasons, j.LastError)
			}
			testkit.Equal(t, reasons, []string{"read the arguments: unexpected end of JSON input", "panic: boom", "send: no such mailbox"})
		})
		t.Run("waits ever longer, within bounds", func(t *testing.T) {
			for n := int64(1); n < 100; n++ {
				want := min(time.Duration(n*n*n*n)*time.Second, 6*time.Hour)
				if d := jobs.Backoff(n); d < want*8/10 || d > want*12/10 {
					t.Errorf("after %d attempts: %v, want about %v", n, d, want)
				}
			}
		})
	})
}

func TestCrash(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		c := newClock()
		runner := func(work func() error) *jobs.Runner {
			r := jobs.New(s, jobs.Options{Now: c.Now})
			jobs.Handle(r, func(context.Context, mail) error { return work() })
			return r
		}
		t.Run("a job of a dead runner runs again when the lease has run out, not before", func(t *testing.T) {
			enqueue(t, s, mail{}, jobs.InsertOpts{})
			testkit.Equal(t, testkit.Must(runner(nil).ClaimAndDie(t.Context()))(t), 1)
			heir := runner(func() error { return nil })
			c.Advance(time.Minute - time.Millisecond)
			testkit.Equal(t, drain(t, heir), 0)
			c.Advance(time.Millisecond)
			testkit.Equal(t, drain(t, heir), 1)
			testkit.Equal(t, count(t, s, `state = 'done' AND attempts = 2`), int64(1))
		})
		t.Run("a job that kills every runner is parked", func(t *testing.T) {
			enqueue(t, s, mail{}, jobs.InsertOpts{MaxAttempts: 3})
			for range 3 {
				testkit.Equal(t, testkit.Must(runner(nil).ClaimAndDie(t.Context()))(t), 1)
				c.Advance(time.Minute)
			}
			drain(t, runner(func() error { t.Error("it ran a fourth time"); return nil }))
			testkit.Equal(t, testkit.Must(jobs.Dead(t.Context(), s, 10))(t)[0].LastError, "its runner died in every attempt")
		})
		t.Run("a runner that was only slow cannot record an outcome any more", func(t *testing.T) {
			enqueue(t, s, mail{}, jobs.InsertOpts{MaxAttempts: 5})
			begun, goOn := make(chan struct{}), make(chan struct{})
			slow := runner(func() error { close(begun); <-goOn; return errors.New("too late") })
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = slow.Drain(context.Background()) })
			<-begun
			c.Advance(time.Minute)
			testkit.Equal(t, drain(t, runner(func() error { return nil })), 1)
			close(goOn)
			wg.Wait()
			testkit.Equal(t, count(t, s, `last_error = 'too late' OR state NOT IN ('done', 'dead')`), int64(0))
		})
	})
}

func TestCompetition(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		c := newClock()
		var mu sync.Mutex
		runs := map[string]int{}
		var grants atomic.Int64
		runners := make([]*jobs.Runner, 3)
		for i := range runners {
			runners[i] = jobs.New(s, jobs.Options{Now: c.Now})
			jobs.Handle(runners[i], func(_ context.Context, m mail) error {
				mu.Lock()
				defer mu.Unlock()
				runs[m.To]++
				return nil
			})
			jobs.Handle(runners[i], func(context.Context, grant) error { grants.Add(1); return nil })
		}
		all := func(t *testing.T) {
			t.Helper()
			var wg sync.WaitGroup
			for _, r := range runners {
				wg.Go(func() {
					if _, err := r.Drain(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		t.Run("three runners share the jobs and run none twice", func(t *testing.T) {
			for i := range 60 {
				enqueue(t, s, mail{fmt.Sprint(i)}, jobs.InsertOpts{})
			}
			all(t)
			if len(runs) != 60 {
				t.Errorf("%d of 60 jobs ran", len(runs))
			}
			for to, n := range runs {
				if n != 1 {
					t.Errorf("job %s ran %d times", to, n)
				}
			}
		})
		t.Run("a periodic job runs once per period", func(t *testing.T) {
			for _, r := range runners {
				r.Periodic(24*time.Hour, grant{})
			}
			for day := int64(1); day <= 20; day++ {
				for range 3 {
					all(t)
				}
				testkit.Equal(t, grants.Load(), day)
				c.Advance(24 * time.Hour)
			}
		})
		t.Run("a runner that starts in the middle of a period does not begin it again", func(t *testing.T) {
			late := jobs.New(s, jobs.Options{Now: c.Now})
			late.Periodic(24*time.Hour, grant{})
			all(t)
			before := count(t, s, `kind = 'test.grant'`)
			drain(t, late)
			testkit.Equal(t, count(t, s, `kind = 'test.grant'`), before)
		})
		t.Run("what is long finished is swept, what marks a recent period stays", func(t *testing.T) {
			if n := count(t, s, `kind = 'test.grant'`); n < 7 || n > 11 {
				t.Errorf("%d marks are kept", n)
			}
			testkit.Equal(t, count(t, s, `kind = 'test.mail'`), int64(0))
		})
	})
}

func TestRun(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		run := func(r *jobs.Runner) (stop func() error) {
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			return func() error { cancel(); return <-ended }
		}
		within := func(t *testing.T, c <-chan string) string {
			t.Helper()
			select {
			case v := <-c:
				return v
			case <-time.After(20 * time.Second):
				t.Fatal("nothing happened")
				return ""
			}
		}
		t.Run("wakes up by the commit, not by the poll", func(t *testing.T) {
			r := jobs.New(s, jobs.Options{Poll: time.Hour})
			got := make(chan string, 10)
			jobs.Handle(r, func(_ context.Context, m mail) error { got <- m.To; return nil })
			stop := run(r)
			for i := range 10 {
				enqueue(t, s, mail{fmt.Sprint(i)}, jobs.InsertOpts{})
				testkit.Equal(t, within(t, got), fmt.Sprint(i))
			}
			testkit.Must0(t, stop())
		})
		t.Run("stopping waits for the job in hand", func(t *testing.T) {
			r := jobs.New(s, jobs.Options{})
			begun, goOn := make(chan string, 1), make(chan struct{})
			jobs.Handle(r, func(ctx context.Context, m mail) error { begun <- m.To; <-goOn; return ctx.Err() })
			stop := run(r)
			enqueue(t, s, mail{"last"}, jobs.InsertOpts{})
			within(t, begun)
			time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
			testkit.Must0(t, stop())
			testkit.Equal(t, count(t, s, `state <> 'done'`), int64(0))
		})
		t.Run("one that does not end within the grace is put back, uncounted", func(t *testing.T) {
			r := jobs.New(s, jobs.Options{Grace: time.Millisecond})
			begun := make(chan string, 1)
			jobs.Handle(r, func(ctx context.Context, m mail) error { begun <- m.To; <-ctx.Done(); return ctx.Err() })
			stop := run(r)
			enqueue(t, s, mail{"long"}, jobs.InsertOpts{})
			within(t, begun)
			testkit.Must0(t, stop())
			testkit.Equal(t, count(t, s, `state = 'available' AND attempts = 0 AND owner IS NULL`), int64(1))
		})
		t.Run("a runner that has lost a job tells its handler", func(t *testing.T) {
			r := jobs.New(s, jobs.Options{Lease: 30 * time.Millisecond})
			begun, told := make(chan string, 1), make(chan string, 1)
			jobs.Handle(r, func(ctx context.Context, m mail) error { begun <- m.To; <-ctx.Done(); told <- "told"; return nil })
			stop := run(r)
			within(t, begun)
			testkit.Must(db.Exec(t.Context(), s, `UPDATE jobs SET owner = 'another', leased_until = leased_until + 3600000 WHERE state = 'running'`))(t)
			within(t, told)
			testkit.Must0(t, stop())
			testkit.Equal(t, count(t, s, `state = 'running' AND owner = 'another'`), int64(1))
		})
	})
}
