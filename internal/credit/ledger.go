package credit

import (
	"context"
	"fmt"
	"time"

	"headgate/internal/db"
)

// The types of entries.
const (
	TypeUsage         = "usage"          // a settled call
	TypeMonthlyRefill = "monthly_refill" // the allocation of a month
	TypeMonthlyExpiry = "monthly_expiry" // what was left of the month before
	TypeGrant         = "grant"          // given by the operator or at first start
	TypePurchase      = "purchase"       // a paid credit pack
	TypeAdjustment    = "adjustment"     // a correction, with a reason
)

// Entry is a line of an account's ledger.
type Entry struct {
	Account       string
	Seq           int64
	Type          string
	Amount        int64
	MonthlyAmount int64 // the part that touched the monthly bucket
	Before, After int64
	ReferenceType string
	ReferenceID   string
	CallID        []byte
	Service       string
	Price         int64
	Description   string
	CreatedBy     string
	CreatedAt     time.Time
}

const entryColumns = `account_id, seq, type, amount, monthly_amount, balance_before, balance_after, reference_type, reference_id, call_id, service_id, price, description, created_by, created_at`

func (e *Entry) fields() []any {
	return []any{&e.Account, &e.Seq, &e.Type, &e.Amount, &e.MonthlyAmount, &e.Before, &e.After, &e.ReferenceType, (*db.Text)(&e.ReferenceID),
		&e.CallID, (*db.Text)(&e.Service), (*int64OrZero)(&e.Price), (*db.Text)(&e.Description), (*db.Text)(&e.CreatedBy), (*db.Time)(&e.CreatedAt)}
}

type int64OrZero int64

// Scan reads NULL as 0.
func (n *int64OrZero) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*n = 0
	case int64:
		*n = int64OrZero(v)
	default:
		return fmt.Errorf("a number column holds %T", src)
	}
	return nil
}

// Posting is a change of a balance outside calls.
type Posting struct {
	Account       string
	Type          string
	Amount        int64 // negative takes away
	Monthly       bool  // touches the monthly bucket; else the purchased one (taking away: monthly first)
	ReferenceType string
	ReferenceID   string
	Key           string // what may happen once; "" for what may repeat
	Description   string
	CreatedBy     string
}

// Post writes one entry and moves the balance, in the caller's transaction.
// ErrRepeated: the key was used before; nothing has changed and the
// transaction can go on. ErrInsufficient: it would go below what is there or
// set aside.
func (s *Service) Post(ctx context.Context, tx *db.Tx, p Posting) (Entry, error) {
	if p.Amount == 0 || p.Amount > MaxAmount || p.Amount < -MaxAmount {
		return Entry{}, ErrAmount
	}
	// The empty update locks the row on PostgreSQL, before the key is claimed.
	a, err := db.One(ctx, tx, (*Account).fields, `UPDATE accounts SET seq = seq WHERE id = $1 RETURNING `+accountColumns, p.Account)
	if err != nil {
		return Entry{}, ErrNoAccount.Because(err)
	}
	if p.Key != "" {
		n, err := db.Exec(ctx, tx, `INSERT INTO entry_keys (key, account_id, seq) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING`, p.Key, a.ID, a.Seq+1)
		if err != nil {
			return Entry{}, fmt.Errorf("entry key: %w", err)
		}
		if n == 0 {
			return Entry{}, ErrRepeated
		}
	}
	monthly := int64(0)
	switch {
	case p.Monthly:
		monthly = p.Amount
	case p.Amount < 0:
		monthly = -min(a.Monthly, -p.Amount)
	}
	e := Entry{Account: a.ID, Seq: a.Seq + 1, Type: p.Type, Amount: p.Amount, MonthlyAmount: monthly, Before: a.Balance(), After: a.Balance() + p.Amount,
		ReferenceType: p.ReferenceType, ReferenceID: p.ReferenceID, Description: p.Description, CreatedBy: p.CreatedBy, CreatedAt: s.now().UTC().Truncate(time.Millisecond)}
	a.Monthly += monthly
	a.Purchased += p.Amount - monthly
	switch {
	case a.Monthly < 0 || a.Purchased < 0:
		return Entry{}, ErrInsufficient.With("balance", e.Before)
	case a.Balance() < a.Leased:
		return Entry{}, ErrInUse
	}
	if err := s.insert(ctx, tx, e); err != nil {
		return Entry{}, err
	}
	_, err = db.Exec(ctx, tx, `UPDATE accounts SET monthly = $2, purchased = $3, seq = $4 WHERE id = $1`, a.ID, a.Monthly, a.Purchased, e.Seq)
	tx.Changed("account", a.ID)
	return e, err
}

func (s *Service) insert(ctx context.Context, tx *db.Tx, e Entry) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO entries (`+entryColumns+`) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)`,
		e.Account, e.Seq, e.Type, e.Amount, e.MonthlyAmount, e.Before, e.After, e.ReferenceType, db.Null(e.ReferenceID), e.CallID,
		db.Null(e.Service), nil, db.Null(e.Description), db.Null(e.CreatedBy), e.CreatedAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	return nil
}

// Entries returns a page of an account's ledger, newest first.
func (s *Service) Entries(ctx context.Context, account string, limit, offset int) ([]Entry, error) {
	return db.All(ctx, s.store, (*Entry).fields, `SELECT `+entryColumns+` FROM entries WHERE account_id = $1 ORDER BY seq DESC LIMIT $2 OFFSET $3`, account, limit, offset)
}
