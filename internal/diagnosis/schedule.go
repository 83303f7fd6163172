package diagnosis

import (
	"context"
	"errors"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/catalog"
	"headgate/internal/db"
)

const maxSchedules = 200 // of one organization

// SetSchedule has a server diagnosed by itself. Its runs use the tokens of
// whoever set it last.
func (s *Service) SetSchedule(ctx context.Context, by *access.Principal, server *catalog.Server, expression string, enabled bool) (*Schedule, error) {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return nil, err
	}
	c, err := parseCron(expression)
	if err != nil {
		return nil, err
	}
	now := s.Now().UTC().Truncate(time.Millisecond)
	in := Schedule{Server: server.ID, Organization: server.Organization, Workspace: server.Workspace, Cron: expression, Enabled: enabled,
		CreatedBy: by.User, CreatedAt: now, UpdatedAt: now}
	if enabled {
		in.NextAt = c.next(now)
	}
	err = s.Store.Tx(ctx, func(tx *db.Tx) error {
		// First the event: its lock on the tenant's chain makes the count exact.
		if err := s.record(ctx, tx, by, server, "schedule.set", map[string]any{"cron": expression, "enabled": enabled}); err != nil {
			return err
		}
		all, err := listSchedules(ctx, tx, by.Organization)
		if err != nil {
			return err
		}
		others := 0
		for _, o := range all {
			if o.Server != server.ID {
				others++
			}
		}
		if others >= maxSchedules {
			return ErrSchedules
		}
		if err := putSchedule(ctx, tx, in); err != nil {
			return err
		}
		in, err = getSchedule(ctx, tx, by.Organization, server.ID)
		return err
	})
	return &in, err
}

// Schedule returns a server's schedule, or ErrNoSchedule.
func (s *Service) Schedule(ctx context.Context, by *access.Principal, server *catalog.Server) (*Schedule, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	c, err := getSchedule(ctx, s.Store, by.Organization, server.ID)
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoSchedule
	}
	return &c, err
}

// Schedules lists the organization's schedules, oldest first.
func (s *Service) Schedules(ctx context.Context, by *access.Principal) ([]Schedule, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	return listSchedules(ctx, s.Store, by.Organization)
}

// RemoveSchedule ends a server's schedule.
func (s *Service) RemoveSchedule(ctx context.Context, by *access.Principal, server *catalog.Server) error {
	if err := access.Require(by, access.ServicesAdmin); err != nil {
		return err
	}
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		n, err := deleteSchedule(ctx, tx, by.Organization, server.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNoSchedule
		}
		return s.record(ctx, tx, by, server, "schedule.remove", nil)
	})
}

func (s *Service) record(ctx context.Context, tx *db.Tx, by *access.Principal, server *catalog.Server, action string, details map[string]any) error {
	return activity.Record(ctx, tx, by, activity.Event{Organization: server.Organization, Workspace: server.Workspace, Action: action,
		TargetType: "server", TargetID: server.ID, Details: details})
}
