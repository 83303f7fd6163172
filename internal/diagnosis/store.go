package diagnosis

import (
	"context"
	"errors"
	"time"

	"headgate/internal/db"
	"headgate/internal/diagnosis/report"
)

const summaryColumns = `id, organization_id, workspace_id, server_id, kind, url, status, created_by, scheduled, created_at, duration_ms, tools, errors, warnings`

// Summary is a report without its content.
type Summary struct {
	ID           string
	Organization string
	Workspace    string
	Server       string // "" for a URL
	Kind         string // doctor, validate
	URL          string
	Status       report.Status
	CreatedBy    string
	Scheduled    bool
	CreatedAt    time.Time
	DurationMs   int64
	Tools        int64
	Errors       int64
	Warnings     int64
}

func (s *Summary) fields() []any {
	return []any{&s.ID, &s.Organization, &s.Workspace, &s.Server, &s.Kind, &s.URL, (*string)(&s.Status), &s.CreatedBy, &s.Scheduled,
		(*db.Time)(&s.CreatedAt), &s.DurationMs, &s.Tools, &s.Errors, &s.Warnings}
}

func insertReport(ctx context.Context, q db.Querier, s *Summary, text []byte) error {
	_, err := db.Exec(ctx, q, `INSERT INTO reports (`+summaryColumns+`, report) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)`,
		s.ID, s.Organization, s.Workspace, s.Server, s.Kind, s.URL, string(s.Status), s.CreatedBy, s.Scheduled, s.CreatedAt.UnixMilli(),
		s.DurationMs, s.Tools, s.Errors, s.Warnings, string(text))
	return err
}

// trimReports keeps the newest reports of a server (or of the URLs) of one kind.
func trimReports(ctx context.Context, q db.Querier, s *Summary, keep int) error {
	_, err := db.Exec(ctx, q, `DELETE FROM reports WHERE organization_id = $1 AND server_id = $2 AND kind = $3 AND id <= (
		SELECT id FROM reports WHERE organization_id = $1 AND server_id = $2 AND kind = $3 ORDER BY id DESC LIMIT 1 OFFSET $4)`,
		s.Organization, s.Server, s.Kind, keep)
	return err
}

func listReports(ctx context.Context, q db.Querier, organization, server, kind string, limit, offset int) ([]Summary, int64, error) {
	const where = ` FROM reports WHERE organization_id = $1 AND ($2 = '' OR server_id = $2) AND ($3 = '' OR kind = $3)`
	total, err := db.Value[int64](ctx, q, `SELECT COUNT(*)`+where, organization, server, kind)
	if err != nil {
		return nil, 0, err
	}
	list, err := db.All(ctx, q, (*Summary).fields, `SELECT `+summaryColumns+where+` ORDER BY id DESC LIMIT $4 OFFSET $5`, organization, server, kind, limit, offset)
	return list, total, err
}

func readReport(ctx context.Context, q db.Querier, organization, ref string) (string, error) {
	return db.Value[string](ctx, q, `SELECT report FROM reports WHERE organization_id = $1 AND id = $2`, organization, ref)
}

// lastReport returns the newest doctor's report of a server.
func lastReport(ctx context.Context, q db.Querier, organization, server string) (string, error) {
	return db.Value[string](ctx, q, `SELECT report FROM reports WHERE organization_id = $1 AND server_id = $2 AND kind = 'doctor' ORDER BY id DESC LIMIT 1`, organization, server)
}

func expireReports(ctx context.Context, q db.Querier, before time.Time) (int64, error) {
	return db.Exec(ctx, q, `DELETE FROM reports WHERE id IN (SELECT id FROM reports WHERE created_at < $1 ORDER BY created_at LIMIT 1000)`, before.UnixMilli())
}

func purge(ctx context.Context, q db.Querier, organization, workspace string) error {
	_, err1 := db.Exec(ctx, q, `DELETE FROM reports WHERE organization_id = $1 AND workspace_id = $2`, organization, workspace)
	_, err2 := db.Exec(ctx, q, `DELETE FROM diagnosis_schedules WHERE organization_id = $1 AND workspace_id = $2`, organization, workspace)
	return errors.Join(err1, err2)
}

const scheduleColumns = `server_id, organization_id, workspace_id, cron, enabled, created_by, next_at, last_at, last_report, created_at, updated_at`

// Schedule says when a server is diagnosed by itself.
type Schedule struct {
	Server       string
	Organization string
	Workspace    string
	Cron         string // five fields, UTC
	Enabled      bool
	CreatedBy    string // the user whose tokens are used
	NextAt       time.Time
	LastAt       time.Time
	LastReport   string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

func (s *Schedule) fields() []any {
	return []any{&s.Server, &s.Organization, &s.Workspace, &s.Cron, &s.Enabled, &s.CreatedBy, (*db.Time)(&s.NextAt), (*db.Time)(&s.LastAt),
		(*db.Text)(&s.LastReport), (*db.Time)(&s.CreatedAt), (*db.Time)(&s.UpdatedAt)}
}

func getSchedule(ctx context.Context, q db.Querier, organization, server string) (Schedule, error) {
	return db.One(ctx, q, (*Schedule).fields, `SELECT `+scheduleColumns+` FROM diagnosis_schedules WHERE organization_id = $1 AND server_id = $2`, organization, server)
}

func listSchedules(ctx context.Context, q db.Querier, organization string) ([]Schedule, error) {
	return db.All(ctx, q, (*Schedule).fields, `SELECT `+scheduleColumns+` FROM diagnosis_schedules WHERE organization_id = $1 ORDER BY created_at, server_id`, organization)
}

// putSchedule writes a schedule; a server has one.
func putSchedule(ctx context.Context, q db.Querier, s Schedule) error {
	_, err := db.Exec(ctx, q, `INSERT INTO diagnosis_schedules (`+scheduleColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,NULL,NULL,$8,$9)
		ON CONFLICT (server_id) DO UPDATE SET cron = excluded.cron, enabled = excluded.enabled, created_by = excluded.created_by,
		next_at = excluded.next_at, updated_at = excluded.updated_at`,
		s.Server, s.Organization, s.Workspace, s.Cron, s.Enabled, s.CreatedBy, db.Millis(s.NextAt), s.CreatedAt.UnixMilli(), s.UpdatedAt.UnixMilli())
	return err
}

func deleteSchedule(ctx context.Context, q db.Querier, organization, server string) (int64, error) {
	return db.Exec(ctx, q, `DELETE FROM diagnosis_schedules WHERE organization_id = $1 AND server_id = $2`, organization, server)
}

func dueSchedules(ctx context.Context, q db.Querier, now time.Time, limit int) ([]Schedule, error) {
	return db.All(ctx, q, (*Schedule).fields, `SELECT `+scheduleColumns+` FROM diagnosis_schedules WHERE enabled AND next_at <= $1 ORDER BY next_at LIMIT $2`, now.UnixMilli(), limit)
}

// advance sets the next time; it reports false when somebody else has.
func advance(ctx context.Context, q db.Querier, s Schedule, next time.Time) (bool, error) {
	n, err := db.Exec(ctx, q, `UPDATE diagnosis_schedules SET next_at = $3 WHERE server_id = $1 AND enabled AND next_at = $2`, s.Server, s.NextAt.UnixMilli(), db.Millis(next))
	return n == 1, err
}

func ran(ctx context.Context, q db.Querier, server, last string, at time.Time) error {
	_, err := db.Exec(ctx, q, `UPDATE diagnosis_schedules SET last_at = $2, last_report = $3 WHERE server_id = $1`, server, at.UnixMilli(), last)
	return err
}
