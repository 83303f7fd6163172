package activity

import (
	"fmt"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Line is one call in the log.
type Line struct {
	Organization  string
	ID            id.Raw // log_ and req_ share it
	Account       string // who pays; "" when nobody could
	Personal      bool   // the account is a person's, not the organization's
	Workspace     string
	Server        string
	Service       string
	Principal     string // the key or session, by id
	User          string
	Door          string // gateway, platform, diagnostics, manage
	Operation     string // tools/call, resources/read, prompts/get
	Name          string // of the tool, resource or prompt, as its server names it
	Success       bool
	StatusCode    int
	ErrorCode     string
	BackendError  bool  // the upstream's or our own fault: not charged
	Cost          int64 // the price at that moment
	Charged       int64
	CostMicros    int64 // what was charged, in micro-USD
	Duration      time.Duration
	RequestBytes  int
	ResponseBytes int
	IP            string
	UserAgent     string
	CreatedAt     time.Time
}

var writeLine = db.PrepareInsert(`INSERT INTO calls (organization_id, id, account_id, personal_account, workspace_id, server_id, service_id, principal, user_id,
	door, operation, name, success, status_code, error_code, is_backend_error, credits_cost, credits_charged, cost_micros, duration_us,
	request_bytes, response_bytes, ip, user_agent, created_at)`,
	`($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25)`)

// Append writes a line in the group writer's transaction.
func Append(f *db.Fast, l *Line) error {
	personal := any(nil)
	if l.Personal {
		personal = l.Account
	}
	err := f.Insert(writeLine, l.Organization, l.ID[:], db.Null(l.Account), personal, db.Null(l.Workspace), db.Null(l.Server), db.Null(l.Service),
		l.Principal, db.Null(l.User), l.Door, l.Operation, l.Name, l.Success, int64(l.StatusCode), db.Null(l.ErrorCode), l.BackendError,
		l.Cost, l.Charged, l.CostMicros, l.Duration.Microseconds(), int64(l.RequestBytes), int64(l.ResponseBytes), db.Null(l.IP), db.Null(l.UserAgent), l.CreatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("write log line: %w", err)
	}
	return nil
}
