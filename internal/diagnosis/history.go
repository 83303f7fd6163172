package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/diagnosis/report"
	"headgate/internal/id"
)

const (
	kindDoctor   = "doctor"
	kindValidate = "validate"

	maxStored = 8 << 20 // of one report's JSON
	keptFor   = 90 * 24 * time.Hour
)

// save keeps a report, and names it.
func (s *Service) save(ctx context.Context, by *access.Principal, r *report.Report, scheduled bool) error {
	return s.store(ctx, by, r, kindDoctor, scheduled)
}

func (s *Service) store(ctx context.Context, by *access.Principal, r *report.Report, kind string, scheduled bool) error {
	r.ID = id.New("rep")
	text, err := r.JSON()
	if err != nil {
		return fmt.Errorf("encode a report: %w", err)
	}
	if len(text) > maxStored {
		return fmt.Errorf("a report of %d bytes", len(text))
	}
	sum := &Summary{ID: r.ID, Organization: r.Target.Organization, Workspace: r.Target.Workspace, Server: r.Target.ServerID, Kind: kind, URL: r.Target.URL,
		Status: r.Status, CreatedBy: author(by), Scheduled: scheduled, CreatedAt: s.Now().UTC(), DurationMs: r.DurationMs, Tools: int64(len(r.Tools)),
		Errors: r.Count(report.SevError), Warnings: r.Count(report.SevWarning)}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		if err := insertReport(ctx, tx, sum, text); err != nil {
			return err
		}
		return trimReports(ctx, tx, sum, s.Keep)
	})
}

func author(by *access.Principal) string {
	if by.User != "" {
		return by.User
	}
	return by.ID
}

// Reports lists the kept reports, newest first, of one server or of all.
func (s *Service) Reports(ctx context.Context, by *access.Principal, server, kind string, limit, offset int) ([]Summary, int64, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, 0, err
	}
	if server != "" {
		canonical, ok := id.Parse("srv", server)
		if !ok {
			return nil, 0, ErrNoReport.Saying("There is no such server.")
		}
		server = canonical
	}
	return listReports(ctx, s.Store, by.Organization, server, kind, limit, offset)
}

// Report returns a kept report.
func (s *Service) Report(ctx context.Context, by *access.Principal, ref string) (*report.Report, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	canonical, ok := id.Parse("rep", ref)
	if !ok {
		return nil, ErrNoReport
	}
	text, err := readReport(ctx, s.Store, by.Organization, canonical)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoReport
	}
	if err != nil {
		return nil, err
	}
	return report.Parse([]byte(text))
}

// Compare returns the drift between two kept reports.
func (s *Service) Compare(ctx context.Context, by *access.Principal, from, to string) (*report.Drift, error) {
	a, err := s.Report(ctx, by, from)
	if err != nil {
		return nil, err
	}
	b, err := s.Report(ctx, by, to)
	if err != nil {
		return nil, err
	}
	return report.Diff(a, b), nil
}

// last returns the newest doctor's report of a server; nil when there is none.
func (s *Service) last(ctx context.Context, organization, server string) (*report.Report, error) {
	text, err := lastReport(ctx, s.Store, organization, server)
	if errors.Is(err, db.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return report.Parse([]byte(text))
}

// Purge removes the reports and schedules of a workspace, in the caller's
// transaction.
func (s *Service) Purge(ctx context.Context, tx *db.Tx, organization, workspace string) error {
	return purge(ctx, tx, organization, workspace)
}

// Expire removes reports older than 90 days.
func (s *Service) Expire(ctx context.Context) error {
	for {
		n, err := expireReports(ctx, s.Store, s.Now().Add(-keptFor))
		if err != nil || n == 0 {
			return err
		}
	}
}
