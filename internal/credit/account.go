package credit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Account is a balance of credits, owned by an organization (User "") or by a
// user in one.
type Account struct {
	ID              string
	Number          int64 // the Account API's integer id
	Organization    string
	User            string
	Monthly         int64 // the bucket that does not roll over
	Purchased       int64
	Leased          int64 // what replicas may hold without asking again, part of the two buckets
	Held            int64 // set aside for calls in flight, as far as this replica knows
	Allocation      int64 // granted on the first of each month
	Tier            string
	Seq             int64 // of the newest entry
	TotalCalls      int64
	TotalUsed       int64
	Active          bool
	AllowRawRecords bool
	LastConnectedAt time.Time
	CreatedAt       time.Time
}

// Balance returns both buckets together.
func (a Account) Balance() int64 { return a.Monthly + a.Purchased }

const accountColumns = `id, number, organization_id, user_id, monthly, purchased, leased, allocation, tier, seq, total_calls, total_used, active, allow_raw_records, last_connected_at, created_at`

func (a *Account) fields() []any {
	return []any{&a.ID, &a.Number, &a.Organization, &a.User, &a.Monthly, &a.Purchased, &a.Leased, &a.Allocation, &a.Tier, &a.Seq,
		&a.TotalCalls, &a.TotalUsed, &a.Active, &a.AllowRawRecords, (*db.Time)(&a.LastConnectedAt), (*db.Time)(&a.CreatedAt)}
}

// Service runs the ledger of one replica.
type Service struct {
	store   *db.Store
	now     func() time.Time
	replica string
	purses  sync.Map // account id → *purse
	owners  sync.Map // organization + "\x00" + user → account id
}

// New returns the ledger over a store. On SQLite, where this process is the
// only one, call Recover before the first Hold.
func New(store *db.Store, now func() time.Time) *Service {
	s := &Service{store: store, now: now, replica: id.New("rep")}
	store.OnChange(s.changed)
	return s
}

// changed has the next hold look at an account that somebody changed: it may be
// switched off, and what is leased of it here must not be spent any more.
func (s *Service) changed(kind, ref string) {
	if kind == "account" {
		if p, ok := s.purses.Load(ref); ok {
			p.(*purse).changes.Add(1)
		}
	}
}

// Spec describes an account to open.
type Spec struct {
	Organization string
	User         string // "" for the organization's own
	Monthly      int64  // first grant of the monthly bucket
	Purchased    int64
	Allocation   int64
	Tier         string
	CreatedBy    string
}

// Open opens an account in the caller's transaction, with its first entries.
// ErrExists means that this owner has one; the transaction can go on.
func (s *Service) Open(ctx context.Context, tx *db.Tx, sp Spec) (Account, error) {
	a := Account{ID: id.New("acc"), Organization: sp.Organization, User: sp.User, Allocation: sp.Allocation, Tier: sp.Tier,
		Active: true, CreatedAt: s.now().UTC().Truncate(time.Millisecond)}
	number, err := s.nextNumber(ctx, tx)
	if err != nil {
		return a, err
	}
	a.Number = number
	n, err := db.Exec(ctx, tx, `INSERT INTO accounts (`+accountColumns+`, folded_seq) VALUES ($1,$2,$3,$4,0,0,0,$5,$6,0,0,0,TRUE,FALSE,NULL,$7,0)
		ON CONFLICT (organization_id, user_id) DO NOTHING`,
		a.ID, a.Number, a.Organization, a.User, a.Allocation, a.Tier, a.CreatedAt.UnixMilli())
	if err != nil {
		return a, fmt.Errorf("open account: %w", err)
	}
	if n == 0 {
		return a, ErrExists
	}
	if sp.Monthly > 0 {
		_, err = s.Post(ctx, tx, Posting{Account: a.ID, Type: TypeMonthlyRefill, Amount: sp.Monthly, Monthly: true, ReferenceType: "system",
			Key: GrantKey(a.ID, s.now()), CreatedBy: sp.CreatedBy})
	}
	if err == nil && sp.Purchased > 0 {
		_, err = s.Post(ctx, tx, Posting{Account: a.ID, Type: TypeGrant, Amount: sp.Purchased, ReferenceType: "system", CreatedBy: sp.CreatedBy})
	}
	if err != nil {
		return a, err
	}
	return s.get(ctx, tx, a.ID)
}

// nextNumber counts accounts up under a lock on the counter's row.
func (s *Service) nextNumber(ctx context.Context, tx *db.Tx) (int64, error) {
	if _, err := db.Exec(ctx, tx, `INSERT INTO counters (name, value) VALUES ('account', 0) ON CONFLICT (name) DO NOTHING`); err != nil {
		return 0, err
	}
	return db.Value[int64](ctx, tx, `UPDATE counters SET value = value + 1 WHERE name = 'account' RETURNING value`)
}

func (s *Service) get(ctx context.Context, q db.Querier, account string) (Account, error) {
	a, err := db.One(ctx, q, (*Account).fields, `SELECT `+accountColumns+` FROM accounts WHERE id = $1`, account)
	if errors.Is(err, db.ErrNone) {
		return a, ErrNoAccount
	}
	s.tellHeld(&a)
	return a, err
}

// tellHeld takes from what is leased what is free: the rest is held.
func (s *Service) tellHeld(a *Account) {
	free := int64(0)
	if p, ok := s.purses.Load(a.ID); ok {
		free = p.(*purse).free.Load()
	}
	a.Held = max(a.Leased-free, 0)
}

// Get returns an account by id.
func (s *Service) Get(ctx context.Context, account string) (Account, error) {
	return s.get(ctx, s.store, account)
}

// Of returns the account of an owner; user "" is the organization itself.
func (s *Service) Of(ctx context.Context, organization, user string) (Account, error) {
	a, err := db.One(ctx, s.store, (*Account).fields, `SELECT `+accountColumns+` FROM accounts WHERE organization_id = $1 AND user_id = $2`, organization, user)
	if errors.Is(err, db.ErrNone) {
		return a, ErrNoAccount
	}
	s.tellHeld(&a)
	return a, err
}

// IDOf is Of for the call path: the id alone, remembered for ever, because an
// account never changes its owner.
func (s *Service) IDOf(ctx context.Context, organization, user string) (string, error) {
	key := organization + "\x00" + user
	if v, ok := s.owners.Load(key); ok {
		return v.(string), nil
	}
	a, err := s.Of(ctx, organization, user)
	if err != nil {
		return "", err
	}
	s.owners.Store(key, a.ID)
	return a.ID, nil
}
