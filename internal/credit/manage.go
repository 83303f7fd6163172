package credit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
)

// Pack is an amount of credits on offer.
type Pack struct {
	Slug    string
	Name    string
	Credits int64
	Cents   int64 // its price in US cents
}

// DefaultPacks are what an installation offers until its operator says
// otherwise.
var DefaultPacks = []Pack{
	{"small", "100 credits", 100, 100}, {"medium", "1,000 credits", 1_000, 900}, {"large", "10,000 credits", 10_000, 8_000},
}

// AccountFilter selects accounts; an empty field selects all.
type AccountFilter struct {
	Organization string
	User         string
	Tier         string
	Inactive     bool // switched-off ones too
}

// Accounts lists accounts, oldest first, and says how many there are.
// Operators only.
func (s *Service) Accounts(ctx context.Context, by *access.Principal, f AccountFilter, limit, offset int) ([]Account, int64, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, 0, err
	}
	const where = ` FROM accounts WHERE ($1 = '' OR organization_id = $1) AND ($2 = '' OR user_id = $2) AND ($3 = '' OR tier = $3) AND (active OR $4)`
	args := []any{f.Organization, f.User, f.Tier, f.Inactive}
	total, err := db.Value[int64](ctx, s.store, `SELECT COUNT(*)`+where, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("count accounts: %w", err)
	}
	list, err := db.All(ctx, s.store, (*Account).fields, `SELECT `+accountColumns+where+` ORDER BY number LIMIT $5 OFFSET $6`, append(args, limit, offset)...)
	if err != nil {
		return nil, 0, fmt.Errorf("list accounts: %w", err)
	}
	return list, total, nil
}

// TopUp adds credits to an account, or takes some away when the amount is
// negative, with a reason that is kept. key makes it happen once; "" lets it
// be repeated. Operators only.
func (s *Service) TopUp(ctx context.Context, by *access.Principal, account string, amount int64, reason, key string) (e Entry, err error) {
	if err := access.Require(by, access.Operate); err != nil {
		return e, err
	}
	if strings.TrimSpace(reason) == "" {
		return e, ErrReason
	}
	typ := TypeGrant
	if amount < 0 {
		typ = TypeAdjustment
		if err := s.Recall(ctx, account); err != nil {
			return e, err
		}
	}
	if key != "" {
		key = "topup:" + account + ":" + key
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		a, err := s.get(ctx, tx, account)
		if err != nil {
			return err
		}
		if e, err = s.Post(ctx, tx, Posting{Account: account, Type: typ, Amount: amount, ReferenceType: "operator", Key: key, Description: reason, CreatedBy: by.ID}); err != nil {
			return err
		}
		return activity.Record(ctx, tx, by, activity.Event{Organization: a.Organization, Action: "credit.topup", TargetType: "account", TargetID: account,
			Details: map[string]any{"amount": amount, "reason": reason, "balance": e.After}})
	})
	return e, err
}

// AccountChange says what an operator changes about an account; nil leaves it.
type AccountChange struct {
	Active          *bool
	AllowRawRecords *bool
	Allocation      *int64
	Tier            *string
}

// Update changes an account. Operators only.
func (s *Service) Update(ctx context.Context, by *access.Principal, account string, c AccountChange) (a Account, err error) {
	if err := access.Require(by, access.Operate); err != nil {
		return a, err
	}
	if c.Allocation != nil && (*c.Allocation < 0 || *c.Allocation > MaxAmount) {
		return a, ErrAmount.Saying("The monthly allocation must be a whole number of credits from 0 to 10^15.")
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `UPDATE accounts SET active = COALESCE($2, active), allow_raw_records = COALESCE($3, allow_raw_records),
			allocation = COALESCE($4, allocation), tier = COALESCE($5, tier) WHERE id = $1`,
			account, orNull(c.Active), orNull(c.AllowRawRecords), orNull(c.Allocation), orNull(c.Tier))
		if err != nil {
			return fmt.Errorf("update account: %w", err)
		}
		if n == 0 {
			return ErrNoAccount
		}
		if a, err = s.get(ctx, tx, account); err != nil {
			return err
		}
		tx.Changed("account", account)
		return activity.Record(ctx, tx, by, activity.Event{Organization: a.Organization, Action: "account.update", TargetType: "account", TargetID: account,
			Details: map[string]any{"active": a.Active, "allowRawRecords": a.AllowRawRecords, "allocation": a.Allocation, "tier": a.Tier}})
	})
	if err == nil && !a.Active {
		// What is leased to this replica would still be spent.
		err = s.Recall(ctx, account)
	}
	return a, err
}

func orNull[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

// History is Entries with the number of all entries, which is the newest's.
func (s *Service) History(ctx context.Context, account string, limit, offset int) ([]Entry, int64, error) {
	a, err := s.Get(ctx, account)
	if err != nil {
		return nil, 0, err
	}
	entries, err := s.Entries(ctx, account, limit, offset)
	return entries, a.Seq, err
}

// Flow is what one type of entry moved on one day.
type Flow struct {
	Day     time.Time
	Type    string
	Entries int64
	Credits int64
}

// Flows sums up the whole installation's ledger by day and type, oldest first.
// Operators only.
func (s *Service) Flows(ctx context.Context, by *access.Principal, from, until time.Time) ([]Flow, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, err
	}
	flows, err := db.All(ctx, s.store, func(f *Flow) []any { return []any{(*day)(&f.Day), &f.Type, &f.Entries, &f.Credits} },
		`SELECT created_at / 86400000, type, COUNT(*), CAST(SUM(amount) AS BIGINT) FROM entries WHERE created_at >= $1 AND created_at < $2 GROUP BY 1, 2 ORDER BY 1, 2`,
		from.UnixMilli(), until.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("sum up the ledger: %w", err)
	}
	return flows, nil
}

// Totals is what all accounts hold.
type Totals struct {
	Accounts, Active, Personal        int64
	Monthly, Purchased, Leased        int64
	Allocation, TotalCalls, TotalUsed int64
}

// Totals sums up all accounts. Operators only.
func (s *Service) Totals(ctx context.Context, by *access.Principal) (Totals, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return Totals{}, err
	}
	t, err := db.One(ctx, s.store, func(t *Totals) []any {
		return []any{&t.Accounts, &t.Active, &t.Personal, &t.Monthly, &t.Purchased, &t.Leased, &t.Allocation, &t.TotalCalls, &t.TotalUsed}
	}, `SELECT COUNT(*), COUNT(*) FILTER (WHERE active), COUNT(*) FILTER (WHERE user_id <> ''), `+sums("monthly", "purchased", "leased", "allocation", "total_calls", "total_used")+` FROM accounts`)
	if err != nil {
		return t, errors.Join(errors.New("sum up accounts"), err)
	}
	return t, nil
}

func sums(columns ...string) string {
	for i, c := range columns {
		columns[i] = "CAST(COALESCE(SUM(" + c + "), 0) AS BIGINT)"
	}
	return strings.Join(columns, ", ")
}
