package approval

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
)

// Gate is a kind of operation that may be held back.
type Gate string

// The gates.
const (
	Secrets     Gate = "secrets"     // setting and deleting secrets, wherever they are kept
	Keys        Gate = "keys"        // making keys
	Destructive Gate = "destructive" // removing, purging
	Plans       Gate = "plans"       // imports by keys: not held back, but made only as planned before
)

// Gates lists every gate.
var Gates = []Gate{Secrets, Keys, Destructive, Plans}

// Status is what has become of an approval.
type Status string

// The statuses. Expired is told by the clock and never written.
const (
	Pending  Status = "pending"
	Approved Status = "approved"
	Rejected Status = "rejected"
	Used     Status = "used"
	Expired  Status = "expired"
)

const (
	lifetime   = 10 * time.Minute
	maxPending = 100
	maxNote    = 500
)

// Approval is one operation that waits, or has waited, for a person.
type Approval struct {
	ID           string
	Organization string
	Workspace    string
	Gate         Gate
	Action       string // the operation's name
	Target       string // what it is about
	AskedByKind  string
	AskedBy      string
	AskedByName  string
	Reason       string
	Status       Status
	DecidedBy    string
	Note         string
	CreatedAt    time.Time
	ExpiresAt    time.Time
	DecidedAt    time.Time
}

// Operation is what somebody asks for, exactly.
type Operation struct {
	Gate      Gate
	Action    string
	Target    string
	Workspace string
	Reason    string
	Arguments []byte // in one form: the same operation has the same bytes
}

// Service is the domain of approvals.
type Service struct {
	store *db.Store
	now   func() time.Time
	key   [32]byte
}

// New returns the service.
func New(store *db.Store, keys *seal.Keys, now func() time.Time) *Service {
	return &Service{store: store, now: now, key: keys.Derive("approval")}
}

// Check returns no approval when the operation may happen now: nothing gates
// it, a person asks, or a person has agreed, which this uses up; the context
// then tells Demand so, at every gate of this operation. Otherwise it returns the
// approval that waits; asking again for the same makes no second one.
func (s *Service) Check(ctx context.Context, by *access.Principal, op Operation) (context.Context, *Approval, error) {
	if gated, err := s.gated(ctx, s.store, by, op.Gate); err != nil || !gated {
		return ctx, nil, err
	}
	var waits *Approval
	err := s.store.Tx(ctx, func(tx *db.Tx) (err error) {
		waits, err = s.check(ctx, tx, by, op)
		return err
	})
	if err != nil || waits != nil {
		return ctx, waits, err
	}
	return context.WithValue(ctx, agreed{}, true), nil, nil
}

// agreed marks the context of an operation that a person has agreed to.
type agreed struct{}

// Demand returns ErrNeeded when nobody has agreed to the operation that the
// context belongs to, though the gate holds it back. It is for what only shows
// while an operation runs: the door then asks Check, and runs it again.
func (s *Service) Demand(ctx context.Context, q db.Querier, by *access.Principal, gate Gate) error {
	if ctx.Value(agreed{}) != nil {
		return nil
	}
	gated, err := s.gated(ctx, q, by, gate)
	if err != nil || !gated {
		return err
	}
	return ErrNeeded.With("gate", string(gate))
}

// Secret is Demand before a secret is set, replaced or forgotten.
func (s *Service) Secret(ctx context.Context, q db.Querier, by *access.Principal) error {
	return s.Demand(ctx, q, by, Secrets)
}

func (s *Service) check(ctx context.Context, tx *db.Tx, by *access.Principal, op Operation) (*Approval, error) {
	if err := lock(ctx, tx, by.Organization); err != nil {
		return nil, err
	}
	hash, now := s.hash(by, op), s.now().UTC().Truncate(time.Millisecond)
	known, err := db.One(ctx, tx, (*Approval).fields, `SELECT `+columns+` FROM approvals WHERE organization_id = $1 AND hash = $2 AND used_at IS NULL AND expires_at > $3 ORDER BY id DESC LIMIT 1`,
		by.Organization, hash, now.UnixMilli())
	switch {
	case errors.Is(err, db.ErrNone):
		return s.ask(ctx, tx, by, op, hash, now)
	case err != nil:
		return nil, fmt.Errorf("find approval: %w", err)
	case known.Status == Pending:
		return &known, nil
	case known.Status == Rejected:
		return nil, ErrRejected.With("approvalId", known.ID)
	}
	n, err := db.Exec(ctx, tx, `UPDATE approvals SET used_at = $3 WHERE organization_id = $1 AND id = $2 AND used_at IS NULL`, known.Organization, known.ID, now.UnixMilli())
	if err != nil || n == 0 {
		return nil, fmt.Errorf("use approval %s: %d rows, %w", known.ID, n, err)
	}
	return nil, record(ctx, tx, by, known, "approval.use")
}

func (s *Service) ask(ctx context.Context, tx *db.Tx, by *access.Principal, op Operation, hash []byte, now time.Time) (*Approval, error) {
	open, err := db.Value[int64](ctx, tx, `SELECT COUNT(*) FROM approvals WHERE organization_id = $1 AND status = 'pending' AND expires_at > $2`, by.Organization, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("count approvals: %w", err)
	}
	if open >= maxPending {
		return nil, ErrTooMany.With("limit", maxPending)
	}
	a := Approval{ID: id.New("apr"), Organization: by.Organization, Workspace: op.Workspace, Gate: op.Gate, Action: op.Action, Target: op.Target,
		AskedByKind: by.Kind.String(), AskedBy: by.ID, AskedByName: by.Name, Reason: op.Reason, Status: Pending, CreatedAt: now, ExpiresAt: now.Add(lifetime)}
	if _, err := db.Exec(ctx, tx, `INSERT INTO approvals (id, organization_id, workspace_id, gate, action, target, hash, asked_by_kind, asked_by, asked_by_name, reason, status, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', $12, $13)`,
		a.ID, a.Organization, db.Null(a.Workspace), string(a.Gate), a.Action, a.Target, hash, a.AskedByKind, a.AskedBy, a.AskedByName, a.Reason, a.CreatedAt.UnixMilli(), a.ExpiresAt.UnixMilli()); err != nil {
		return nil, fmt.Errorf("ask for approval: %w", err)
	}
	return &a, record(ctx, tx, by, a, "approval.ask")
}

// hash sums up the operation, each part with its length before it.
func (s *Service) hash(by *access.Principal, op Operation) []byte {
	h := hmac.New(sha256.New, s.key[:])
	for _, part := range [][]byte{[]byte(by.ID), []byte(op.Gate), []byte(op.Action), []byte(op.Target), op.Arguments} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return h.Sum(nil)
}

// Decide agrees to an operation, or refuses it.
func (s *Service) Decide(ctx context.Context, by *access.Principal, approval string, agree bool, note string) (a Approval, err error) {
	if by == nil || by.Kind != access.Session {
		return a, ErrPerson
	}
	if err := access.Require(by, access.WorkspacesAdmin); err != nil {
		return a, err
	}
	if a, err = s.Get(ctx, by.Organization, approval); err != nil {
		return a, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	status, action := Approved, "approval.approve"
	if !agree {
		status, action = Rejected, "approval.reject"
	}
	if r := []rune(note); len(r) > maxNote {
		note = string(r[:maxNote])
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE approvals SET status = $3, decided_by = $4, note = $5, decided_at = $6, expires_at = $7 WHERE organization_id = $1 AND id = $2 AND status = 'pending' AND expires_at > $6`,
			a.Organization, a.ID, string(status), by.User, note, now.UnixMilli(), now.Add(lifetime).UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrDecided
		}
		a.Status, a.DecidedBy, a.Note, a.DecidedAt, a.ExpiresAt = status, by.User, note, now, now.Add(lifetime)
		return record(ctx, tx, by, a, action)
	})
	return a, err
}
