package activity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/server/request"
)

// Installation is the tenant of events that belong to no tenant.
const Installation = "installation"

// Origin says where a request came from, for trails. It travels in the context
// like tracing data; nothing decides on it.
type Origin struct {
	RequestID string
	IP        string
	UserAgent string
}

type originKey struct{}

// WithOrigin returns a context that carries the request's origin.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the origin in the context: what WithOrigin put there, else
// what the server knows of the HTTP request; empty when there is none.
func OriginOf(ctx context.Context) Origin {
	if o, ok := ctx.Value(originKey{}).(Origin); ok {
		return o
	}
	if i := request.From(ctx); i != nil {
		o := Origin{RequestID: i.ID}
		if i.Addr.IsValid() {
			o.IP = i.Addr.String()
		}
		return o
	}
	return Origin{}
}

// Event is one line of the audit trail.
type Event struct {
	Tenant       string // set by Record from the principal when empty
	Seq          int64  // per tenant, dense
	ID           string // evt_
	Organization string
	Workspace    string
	ActorKind    string
	ActorID      string
	ActorName    string
	Action       string // "server.create": noun and verb
	TargetType   string
	TargetID     string
	Details      map[string]any // never a secret
	IP           string
	RequestID    string
	CreatedAt    time.Time
	Previous     []byte
	Hash         []byte
}

// Record writes an event in the caller's transaction. The actor is by; the
// tenant and organization are by's unless the event names others.
func Record(ctx context.Context, tx *db.Tx, by *access.Principal, e Event) error {
	o := OriginOf(ctx)
	e.ID, e.IP, e.RequestID = id.New("evt"), o.IP, o.RequestID
	e.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	if by != nil {
		e.ActorKind, e.ActorID, e.ActorName = by.Kind.String(), by.ID, by.Name
		if e.ActorID == "" {
			e.ActorID = by.User
		}
		if e.Tenant == "" {
			e.Tenant = by.Tenant
		}
		if e.Organization == "" {
			e.Organization = by.Organization
		}
	} else {
		e.ActorKind = access.System.String()
	}
	if e.Tenant == "" {
		e.Tenant = Installation
	}
	details, err := json.Marshal(e.Details)
	if err != nil {
		return fmt.Errorf("event details: %w", err)
	}
	if e.Details == nil {
		details = []byte("{}")
	}
	if _, err := db.Exec(ctx, tx, `INSERT INTO event_heads (tenant_id, seq, hash) VALUES ($1, 0, $2) ON CONFLICT (tenant_id) DO NOTHING`, e.Tenant, make([]byte, sha256.Size)); err != nil {
		return fmt.Errorf("event head: %w", err)
	}
	// The update locks the head, so that the chain has one end whoever writes.
	head, err := db.One(ctx, tx, func(h *Event) []any { return []any{&h.Seq, &h.Hash} },
		`UPDATE event_heads SET seq = seq + 1 WHERE tenant_id = $1 RETURNING seq, hash`, e.Tenant)
	if err != nil {
		return fmt.Errorf("event head: %w", err)
	}
	e.Seq, e.Previous = head.Seq, head.Hash
	e.Hash = e.sum(details)
	if _, err := db.Exec(ctx, tx, `INSERT INTO events (`+eventColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)`,
		e.Tenant, e.Seq, e.ID, db.Null(e.Organization), db.Null(e.Workspace), e.ActorKind, e.ActorID, e.ActorName, e.Action,
		e.TargetType, e.TargetID, string(details), db.Null(e.IP), db.Null(e.RequestID), e.CreatedAt.UnixMilli(), e.Previous, e.Hash); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	_, err = db.Exec(ctx, tx, `UPDATE event_heads SET hash = $2 WHERE tenant_id = $1`, e.Tenant, e.Hash)
	return err
}

// sum is the chain's hash: SHA-256 over the previous hash and every column,
// each with its length before it so that no two rows read the same.
func (e *Event) sum(details []byte) []byte {
	h := sha256.New()
	h.Write(e.Previous)
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, s := range []string{e.Tenant, fmt.Sprint(e.Seq), e.ID, e.Organization, e.Workspace, e.ActorKind, e.ActorID, e.ActorName,
		e.Action, e.TargetType, e.TargetID, string(details), e.IP, e.RequestID, fmt.Sprint(e.CreatedAt.UnixMilli())} {
		field([]byte(s))
	}
	return h.Sum(nil)
}

const eventColumns = `tenant_id, seq, id, organization_id, workspace_id, actor_kind, actor_id, actor_name, action, target_type, target_id, details, ip, request_id, created_at, previous, hash`

type eventRow struct {
	Event
	details string
}

func (r *eventRow) fields() []any {
	return []any{&r.Tenant, &r.Seq, &r.ID, (*db.Text)(&r.Organization), (*db.Text)(&r.Workspace), &r.ActorKind, &r.ActorID, &r.ActorName,
		&r.Action, &r.TargetType, &r.TargetID, &r.details, (*db.Text)(&r.IP), (*db.Text)(&r.RequestID), (*db.Time)(&r.CreatedAt), &r.Previous, &r.Hash}
}

func (r *eventRow) event() (Event, error) {
	if err := json.Unmarshal([]byte(r.details), &r.Details); err != nil {
		return Event{}, fmt.Errorf("event %s: %w", r.ID, err)
	}
	return r.Event, nil
}
