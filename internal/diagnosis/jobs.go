package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/diagnosis/report"
	"headgate/internal/jobs"
)

const dueAtOnce = 100

// Tick begins the runs that are due.
type Tick struct{}

// Kind implements jobs.Args.
func (Tick) Kind() string { return "diagnosis.tick" }

// Run is one run of a schedule.
type Run struct {
	Organization string `json:"organization"`
	Server       string `json:"server"`
}

// Kind implements jobs.Args.
func (Run) Kind() string { return "diagnosis.run" }

// Sweep removes old reports.
type Sweep struct{}

// Kind implements jobs.Args.
func (Sweep) Kind() string { return "diagnosis.sweep" }

// Register gives the service's work to a runner.
func (s *Service) Register(r *jobs.Runner) {
	jobs.Handle(r, func(ctx context.Context, _ Tick) error { return s.begin(ctx) })
	jobs.Handle(r, s.scheduled)
	jobs.Handle(r, func(ctx context.Context, _ Sweep) error { return s.Expire(ctx) })
	r.Periodic(time.Minute, Tick{})
	r.Periodic(24*time.Hour, Sweep{})
}

// begin enqueues a run for every schedule that is due and sets its next time.
// A schedule whose run is under way still is left out this once.
func (s *Service) begin(ctx context.Context) error {
	for {
		now := s.Now()
		due, err := dueSchedules(ctx, s.Store, now, dueAtOnce)
		if err != nil {
			return err
		}
		for _, d := range due {
			c, err := parseCron(d.Cron)
			if err != nil {
				return jobs.Cancel(fmt.Errorf("schedule of %s: %w", d.Server, err))
			}
			if err := s.Store.Tx(ctx, func(tx *db.Tx) error {
				ours, err := advance(ctx, tx, d, c.next(now))
				if err != nil || !ours {
					return err
				}
				_, err = jobs.Enqueue(ctx, tx, Run{d.Organization, d.Server}, jobs.InsertOpts{UniqueKey: d.Server, MaxAttempts: 2})
				return err
			}); err != nil {
				return err
			}
		}
		if len(due) < dueAtOnce {
			return nil
		}
	}
}

// scheduled makes one run, and tells the trail when something broke since the
// last report.
func (s *Service) scheduled(ctx context.Context, run Run) error {
	d, err := getSchedule(ctx, s.Store, run.Organization, run.Server)
	if errors.Is(err, db.ErrNone) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	server, err := s.serverOf(ctx, &d)
	if server == nil || err != nil {
		return err
	}
	tenant, err := s.tenantOf(ctx, run.Organization)
	if err != nil {
		return err
	}
	by := &access.Principal{Kind: access.System, ID: "headgate", Name: "schedule", Tenant: tenant, Organization: run.Organization, Role: access.Owner, Scopes: access.Every}
	as := by
	if s.RunAs != nil && d.CreatedBy != "" {
		if author := s.RunAs(ctx, d.Organization, d.CreatedBy); author != nil {
			as = author
		}
	}
	before, err := s.last(ctx, run.Organization, run.Server)
	if err != nil {
		return err
	}
	found, err := s.doctor(ctx, as, server, false)
	if err != nil {
		return err
	}
	if err := s.save(ctx, by, found, true); err != nil {
		return err
	}
	var drift *report.Drift
	if before != nil {
		drift = report.Diff(before, found)
	} else if found.Status != report.Ready {
		drift = &report.Drift{Broke: []string{fmt.Sprintf("The server is %s.", found.Status)}}
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		if err := ran(ctx, tx, run.Server, found.ID, s.Now()); err != nil || drift == nil || len(drift.Broke) == 0 {
			return err
		}
		return s.record(ctx, tx, by, server, "server.broke", map[string]any{
			"report": found.ID, "before": drift.From.ID, "status": string(found.Status), "broke": drift.Broke[:min(len(drift.Broke), 20)]})
	})
}

// serverOf finds the server of a schedule; one that is gone takes its schedule
// along.
func (s *Service) serverOf(ctx context.Context, d *Schedule) (*catalog.Server, error) {
	ws, err := s.Resolver.Workspace(ctx, d.Organization, d.Workspace)
	if err != nil && !errors.Is(err, catalog.ErrWorkspaceNotFound) {
		return nil, err
	}
	if err == nil {
		if server, ok := ws.Server(d.Server); ok {
			return server, nil
		}
	}
	_, err = deleteSchedule(ctx, s.Store, d.Organization, d.Server)
	return nil, err
}

// tenantOf is for the trail, which is kept by tenant.
func (s *Service) tenantOf(ctx context.Context, organization string) (string, error) {
	return db.Value[string](ctx, s.Store, `SELECT tenant_id FROM organizations WHERE id = $1`, organization)
}
