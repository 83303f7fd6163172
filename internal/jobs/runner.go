package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Options tune a Runner. The zero value is right for a server.
type Options struct {
	Now     func() time.Time
	Log     *slog.Logger
	Workers int           // jobs at a time; 0 means 4
	Lease   time.Duration // how long a silent runner keeps a job; 0 means a minute
	Poll    time.Duration // how soon work of other processes is seen; 0 means a second
	Timeout time.Duration // how long one attempt may take; 0 means ten minutes
	Grace   time.Duration // how long Run waits for its jobs when it stops; 0 means ten seconds
}

// Runner works jobs. Handle and Periodic come before Run.
type Runner struct {
	store    *db.Store
	o        Options
	owner    string
	kinds    []string
	handlers map[string]func(ctx context.Context, args []byte) error
	periods  []*period
	wake     chan struct{}
	swept    time.Time
}

type period struct {
	every time.Duration
	args  Args
	last  int64 // the newest period known to be begun
}

// New returns a runner that handles nothing yet.
func New(store *db.Store, o Options) *Runner {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Workers <= 0 {
		o.Workers = 4
	}
	for d, def := range map[*time.Duration]time.Duration{&o.Lease: time.Minute, &o.Poll: time.Second, &o.Timeout: 10 * time.Minute, &o.Grace: 10 * time.Second} {
		if *d <= 0 {
			*d = def
		}
	}
	r := &Runner{store: store, o: o, owner: id.New("run"), handlers: map[string]func(context.Context, []byte) error{}, wake: make(chan struct{}, 1)}
	store.OnChange(func(kind, _ string) {
		if kind == "job" {
			r.nudge()
		}
	})
	return r
}

func (r *Runner) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Handle registers the work for A's kind. A second handler of a kind is a
// mistake in the program and panics.
func Handle[A Args](r *Runner, work func(ctx context.Context, args A) error) {
	var zero A
	kind := zero.Kind()
	if r.handlers[kind] != nil {
		panic("jobs: two handlers for " + kind)
	}
	r.kinds = append(r.kinds, kind)
	r.handlers[kind] = func(ctx context.Context, text []byte) error {
		var args A
		if err := json.Unmarshal(text, &args); err != nil {
			return Cancel(fmt.Errorf("read the arguments: %w", err))
		}
		return work(ctx, args)
	}
}

// Periodic enqueues args once in every period; periods are counted from 1970
// UTC, so that all runners mean the same ones. A period that nobody was there
// to begin is begun late, and left out only when the next one has come.
func (r *Runner) Periodic(every time.Duration, args Args) {
	r.periods = append(r.periods, &period{every: every, args: args})
}

// Run works until ctx is done. Then it takes nothing more, gives the jobs in
// hand Grace to finish, cancels the rest and puts them back.
func (r *Runner) Run(ctx context.Context) error {
	// Jobs outlive ctx by the grace.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan struct{}, r.o.Workers)
	running := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		started, err := r.start(ctx, work, r.o.Workers-running, ended)
		running += started
		if err != nil && ctx.Err() == nil {
			r.o.Log.Warn("jobs wait: the queue cannot be read", "error", err)
		}
		timer.Reset(r.o.Poll)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		case <-ended:
			running--
		}
	}
	grace, hard := time.AfterFunc(r.o.Grace, cancel), time.NewTimer(r.o.Grace+5*time.Second)
	defer grace.Stop()
	defer hard.Stop()
	for running > 0 {
		select {
		case <-ended:
			running--
		case <-hard.C:
			return fmt.Errorf("%d jobs did not stop when told; others take them over when their lease ends", running)
		}
	}
	return nil
}

// Drain begins the periods that are due and works until nothing is due any
// more, in the caller's time: for tests and for commands.
func (r *Runner) Drain(ctx context.Context) (worked int, err error) {
	for {
		ended := make(chan struct{}, r.o.Workers)
		started, err := r.start(ctx, ctx, r.o.Workers, ended)
		for range started {
			<-ended
		}
		if worked += started; err != nil || started == 0 {
			return worked, err
		}
	}
}

// start claims up to free jobs and works each in a goroutine of its own.
func (r *Runner) start(ctx, work context.Context, free int, ended chan<- struct{}) (started int, err error) {
	if err := r.begin(ctx); err != nil {
		return 0, err
	}
	if free <= 0 || len(r.kinds) == 0 {
		return 0, nil
	}
	now := r.o.Now()
	if found, err := due(ctx, r.store, now); err != nil || !found {
		return 0, err
	}
	list, err := claim(ctx, r.store, r.owner, r.kinds, now, r.o.Lease, free)
	for _, c := range list {
		go func() {
			r.work(work, c)
			ended <- struct{}{}
		}()
	}
	return len(list), err
}

// begin enqueues the periodic jobs whose period has come.
func (r *Runner) begin(ctx context.Context) error {
	now := r.o.Now()
	for _, p := range r.periods {
		n := now.UnixNano() / int64(p.every)
		if n == p.last {
			continue
		}
		err := r.store.Tx(ctx, func(tx *db.Tx) error {
			made, err := insert(ctx, tx, p.args, InsertOpts{ScheduledAt: now}, periodicMark+p.args.Kind()+":"+strconv.FormatInt(n, 10))
			if err != nil || !made {
				return err
			}
			return prune(ctx, tx, p.args.Kind(), now.Add(-2*p.every-keepDone))
		})
		if err != nil {
			return err
		}
		p.last = n
	}
	if now.Sub(r.swept) < time.Hour {
		return nil
	}
	r.swept = now
	return sweep(ctx, r.store, now)
}

// work does one attempt and records how it ended.
func (r *Runner) work(ctx context.Context, c claimed) {
	attempt, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	var err error
	if c.attempts > c.maxAttempts {
		err = Cancel(errors.New("its runner died in every attempt"))
	} else {
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			r.keep(attempt, cancel, c)
		}()
		err = r.try(attempt, c)
		cancel()
		<-kept
	}
	o := r.judge(c, err, ctx.Err() != nil)
	last, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if rerr := record(last, r.store, r.owner, c, o); rerr != nil {
		r.o.Log.Warn("a job's outcome was not written; it will run again", "job", c.id, "kind", c.kind, "error", errors.Join(rerr, err))
	}
	if o.state == "dead" {
		r.o.Log.Error("a job is dead", "job", c.id, "kind", c.kind, "attempts", c.attempts, "error", err)
	}
}

// try runs the handler; a panic is a failure like any other.
func (r *Runner) try(ctx context.Context, c claimed) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			r.o.Log.Error("a job panicked", "job", c.id, "kind", c.kind, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return r.handlers[c.kind](ctx, []byte(c.args))
}

// keep extends the lease until the attempt ends, and ends the attempt when the
// job has become somebody else's.
func (r *Runner) keep(ctx context.Context, cancel func(), c claimed) {
	tick := time.NewTicker(r.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ours, err := extend(ctx, r.store, r.owner, c, r.o.Now().Add(r.o.Lease))
			if err == nil && !ours {
				cancel()
				return
			}
		}
	}
}

// judge turns the handler's answer into an outcome. An attempt that our own
// stop has interrupted does not count.
func (r *Runner) judge(c claimed, err error, stopped bool) outcome {
	now := r.o.Now()
	var never cancelled
	switch {
	case err == nil:
		return outcome{state: "done", at: now, attempts: c.attempts}
	case errors.As(err, &never):
		return outcome{state: "dead", at: now, attempts: c.attempts, reason: err.Error()}
	case stopped:
		return outcome{state: "available", at: now, attempts: c.attempts - 1, reason: err.Error()}
	case c.attempts >= c.maxAttempts:
		return outcome{state: "dead", at: now, attempts: c.attempts, reason: err.Error()}
	}
	return outcome{state: "available", at: now.Add(Backoff(c.attempts)), attempts: c.attempts, reason: err.Error()}
}

// Backoff returns how long a job waits after its nth failed attempt: n⁴
// seconds, at most six hours, give or take a tenth so that jobs that failed
// together do not come back together.
func Backoff(n int64) time.Duration {
	n = min(n, 12)
	d := min(time.Duration(n*n*n*n)*time.Second, 6*time.Hour)
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
