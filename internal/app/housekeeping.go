package app

import (
	"context"
	"time"

	"headgate/internal/activity"
	"headgate/internal/gateway/notes"
	"headgate/internal/jobs"
	"headgate/internal/upstream/shelf"
)

// The periodic work of an installation. Each runs once a period on one replica.
type (
	grantJob  struct{}
	expireJob struct{}
	sweepJob  struct{}
	foldJob   struct{}
)

// Kind implements jobs.Args.
func (grantJob) Kind() string { return "credit.grant_month" }

// Kind implements jobs.Args.
func (expireJob) Kind() string { return "activity.expire" }

// Kind implements jobs.Args.
func (sweepJob) Kind() string { return "identity.sweep" }

// Kind implements jobs.Args.
func (foldJob) Kind() string { return "credit.fold" }

// housekeeping registers the periodic work. The month's grant is looked for
// every hour and made once a month: its key is the judge, not the clock.
func (a *App) housekeeping() error {
	jobs.Handle(a.Jobs, func(ctx context.Context, _ grantJob) error {
		n, err := a.Credits.GrantMonth(ctx)
		if n > 0 {
			a.Log.Info("monthly credits granted", "accounts", n)
		}
		return err
	})
	jobs.Handle(a.Jobs, func(ctx context.Context, _ expireJob) error { return a.expire(ctx) })
	jobs.Handle(a.Jobs, func(ctx context.Context, _ sweepJob) error { return a.Identity.Sweep(ctx) })
	jobs.Handle(a.Jobs, func(ctx context.Context, _ foldJob) error { return a.Credits.Fold(ctx, "") })
	a.Jobs.Periodic(time.Hour, grantJob{})
	a.Jobs.Periodic(time.Hour, expireJob{})
	a.Jobs.Periodic(24*time.Hour, sweepJob{})
	a.Jobs.Periodic(10*time.Minute, foldJob{})
	a.manageJobs()
	return a.handleMail()
}

// expire removes what is older than the settings keep.
func (a *App) expire(ctx context.Context) error {
	s, now := a.Settings, a.Now()
	for _, e := range []struct {
		keep   time.Duration
		remove func(ctx context.Context, before time.Time) (int64, error)
	}{
		{s.KeepCalls, func(ctx context.Context, b time.Time) (int64, error) { return activity.ExpireCalls(ctx, a.Store, b) }},
		{s.KeepErrors, func(ctx context.Context, b time.Time) (int64, error) { return activity.ExpireErrors(ctx, a.Store, b) }},
		{s.KeepBodies, a.Bodies.Expire},
		{0, func(ctx context.Context, _ time.Time) (int64, error) { return a.Replay.Expire(ctx) }},
		{0, func(ctx context.Context, _ time.Time) (int64, error) { return notes.New(a.Store, a.Now).Expire(ctx) }},
		{0, func(ctx context.Context, _ time.Time) (int64, error) { return shelf.New(a.Store, a.Now).Expire(ctx) }},
		// Last: it fails where a trail has been tampered with, and that must hold up nothing else.
		{s.KeepAudit, func(ctx context.Context, b time.Time) (int64, error) { return a.Checkpoints.Expire(ctx, a.Store, b) }},
	} {
		for {
			n, err := e.remove(ctx, now.Add(-e.keep))
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}
