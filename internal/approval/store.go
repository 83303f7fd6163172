package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
)

const columns = `id, organization_id, workspace_id, gate, action, target, asked_by_kind, asked_by, asked_by_name, reason,
	CASE WHEN used_at IS NOT NULL THEN 'used' ELSE status END, decided_by, note, created_at, expires_at, decided_at`

func (a *Approval) fields() []any {
	return []any{&a.ID, &a.Organization, (*db.Text)(&a.Workspace), &a.Gate, &a.Action, &a.Target, &a.AskedByKind, &a.AskedBy, &a.AskedByName, &a.Reason,
		&a.Status, (*db.Text)(&a.DecidedBy), (*db.Text)(&a.Note), (*db.Time)(&a.CreatedAt), (*db.Time)(&a.ExpiresAt), (*db.Time)(&a.DecidedAt)}
}

// seen tells the status as it is at a moment.
func (a *Approval) seen(now time.Time) {
	if (a.Status == Pending || a.Status == Approved) && !now.Before(a.ExpiresAt) {
		a.Status = Expired
	}
}

// Get returns an approval of the organization.
func (s *Service) Get(ctx context.Context, organization, approval string) (Approval, error) {
	canonical, ok := id.Parse("apr", approval)
	if !ok {
		return Approval{}, ErrNotFound
	}
	a, err := db.One(ctx, s.store, (*Approval).fields, `SELECT `+columns+` FROM approvals WHERE organization_id = $1 AND id = $2`, organization, canonical)
	if errors.Is(err, db.ErrNone) {
		return Approval{}, ErrNotFound
	}
	a.seen(s.now())
	return a, err
}

// List returns approvals, newest first; with pending only those that wait.
func (s *Service) List(ctx context.Context, organization string, pending bool, limit, offset int) ([]Approval, int64, error) {
	where := `organization_id = $1 AND (CAST($2 AS BIGINT) = 0 OR status = 'pending' AND expires_at > $2)`
	at := int64(0)
	if pending {
		at = s.now().UnixMilli()
	}
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*) FROM approvals WHERE `+where, organization, at)
	if err != nil {
		return nil, 0, fmt.Errorf("count approvals: %w", err)
	}
	list, err := db.All(ctx, s.store, (*Approval).fields, `SELECT `+columns+` FROM approvals WHERE `+where+` ORDER BY id DESC LIMIT $3 OFFSET $4`, organization, at, limit, offset)
	if err != nil {
		return nil, 0, fmt.Errorf("list approvals: %w", err)
	}
	for i := range list {
		list[i].seen(s.now())
	}
	return list, total, nil
}

// Policy returns what an organization gates.
func (s *Service) Policy(ctx context.Context, organization string) ([]Gate, error) {
	return policyOf(ctx, s.store, organization)
}

func policyOf(ctx context.Context, q db.Querier, organization string) ([]Gate, error) {
	text, err := db.Value[string](ctx, q, `SELECT gates FROM approval_policies WHERE organization_id = $1`, organization)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return nil, fmt.Errorf("read approval policy: %w", err)
	}
	gates := []Gate{}
	for word := range strings.FieldsSeq(text) {
		gates = append(gates, Gate(word))
	}
	return gates, nil
}

// gated reports whether what somebody does waits for a person at a gate.
func (s *Service) gated(ctx context.Context, q db.Querier, by *access.Principal, gate Gate) (bool, error) {
	switch {
	case by.Kind == access.Session, by.Kind == access.System, by.Kind == access.OperatorKey, by.Organization == "":
		return false, nil
	}
	gates, err := policyOf(ctx, q, by.Organization)
	return slices.Contains(gates, gate), err
}

// SetPolicy says what the organization gates from now on.
func (s *Service) SetPolicy(ctx context.Context, by *access.Principal, gates []Gate) ([]Gate, error) {
	if by == nil || by.Kind != access.Session {
		return nil, ErrPerson
	}
	if err := access.Require(by, access.OrgManage); err != nil {
		return nil, err
	}
	words := []string{}
	for _, g := range Gates { // in one order, each once
		if slices.Contains(gates, g) {
			words = append(words, string(g))
		}
	}
	for _, g := range gates {
		if !slices.Contains(Gates, g) {
			return nil, ErrGate
		}
	}
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		if _, err := db.Exec(ctx, tx, `INSERT INTO approval_policies (organization_id, gates, updated_at) VALUES ($1, $2, $3) ON CONFLICT (organization_id) DO UPDATE SET gates = excluded.gates, updated_at = excluded.updated_at`,
			by.Organization, strings.Join(words, " "), s.now().UnixMilli()); err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "approval.policy", TargetType: "organization", TargetID: by.Organization, Details: map[string]any{"gates": words}})
	})
	if err != nil {
		return nil, err
	}
	return s.Policy(ctx, by.Organization)
}

// Expire deletes what ended before the moment. The trail keeps what was decided.
func (s *Service) Expire(ctx context.Context, before time.Time) (int64, error) {
	return db.Exec(ctx, s.store, `DELETE FROM approvals WHERE expires_at < $1`, before.UnixMilli())
}

// lock makes those who ask in one organization take turns. SQLite has one
// writer anyway.
func lock(ctx context.Context, tx *db.Tx, organization string) error {
	if tx.Engine() != db.PostgreSQL {
		return nil
	}
	_, err := db.Exec(ctx, tx, `SELECT pg_advisory_xact_lock(hashtextextended('approvals:' || $1, 0))`, organization)
	return err
}

func record(ctx context.Context, tx *db.Tx, by *access.Principal, a Approval, action string) error {
	return activity.Record(ctx, tx, by, activity.Event{Workspace: a.Workspace, Action: action, TargetType: "approval", TargetID: a.ID,
		Details: map[string]any{"operation": a.Action, "target": a.Target, "gate": string(a.Gate)}})
}
