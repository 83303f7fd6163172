package credit

import (
	"context"
	"fmt"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
)

// Reconciliation is what comparing the ledger with the call log found. OK says
// that every charged call has one line and one settlement of the same amount,
// and that each account equals the sum of its entries.
type Reconciliation struct {
	Since       time.Time // calls before it were not compared
	At          time.Time
	OK          bool
	Calls       int64 // charged lines of the log
	CallCredits int64
	Entries     int64 // settlements in the ledger that took something
	Credits     int64
	Accounts    int64
	Differences []Difference // the first hundred of each kind
	More        bool         // there are more than listed
}

// Difference is one thing that does not agree.
type Difference struct {
	Kind         string // one of the Diff constants
	Organization string
	Account      string
	Call         string // log_
	Ledger       int64  // what the ledger says
	Other        int64  // what the log or the account says
}

// The kinds of differences.
const (
	DiffNoLine    = "settlement_without_line"
	DiffNoEntry   = "line_without_settlement"
	DiffAmount    = "amounts_differ"
	DiffTwice     = "settled_twice"
	DiffBalance   = "balance_is_not_the_sum"
	DiffMonthly   = "monthly_is_not_the_sum"
	DiffChain     = "entries_do_not_follow"
	maxDifference = 100
)

// Reconcile compares the ledger with the call log from a moment on (the log is
// kept for a time, the ledger for ever), and every account with its entries.
// Each question is one statement, because a line and its settlement are
// written together: between two statements there may be new calls.
func (s *Service) Reconcile(ctx context.Context, since time.Time) (Reconciliation, error) {
	r := Reconciliation{Since: since, At: s.now().UTC(), Differences: []Difference{}}
	ms := since.UnixMilli()
	totals, err := db.One(ctx, s.store, func(t *Reconciliation) []any {
		return []any{&t.Calls, &t.CallCredits, &t.Entries, &t.Credits, &t.Accounts}
	}, `SELECT c.n, c.credits, e.n, e.credits, (SELECT COUNT(*) FROM accounts) FROM
		(SELECT COUNT(*) AS n, CAST(COALESCE(SUM(credits_charged), 0) AS BIGINT) AS credits FROM calls WHERE credits_charged > 0 AND created_at >= $1) c,
		(SELECT COUNT(*) AS n, CAST(COALESCE(SUM(-amount), 0) AS BIGINT) AS credits FROM entries WHERE type = 'usage' AND amount < 0 AND created_at >= $1) e`, ms)
	if err != nil {
		return r, fmt.Errorf("reconcile: %w", err)
	}
	r.Calls, r.CallCredits, r.Entries, r.Credits, r.Accounts = totals.Calls, totals.CallCredits, totals.Entries, totals.Credits, totals.Accounts
	for _, q := range questions {
		args := []any{int64(maxDifference + 1)}
		if q.timed {
			args = append(args, ms)
		}
		found, err := db.All(ctx, s.store, (*Difference).fields, q.text+` LIMIT $1`, args...)
		if err != nil {
			return r, fmt.Errorf("reconcile, %s: %w", q.kind, err)
		}
		if len(found) > maxDifference {
			found, r.More = found[:maxDifference], true
		}
		for _, d := range found {
			d.Kind = q.kind
			r.Differences = append(r.Differences, d)
		}
	}
	r.OK = len(r.Differences) == 0 && r.Calls == r.Entries && r.CallCredits == r.Credits
	return r, nil
}

func (d *Difference) fields() []any {
	return []any{(*db.Text)(&d.Organization), (*db.Text)(&d.Account), (*callText)(&d.Call), &d.Ledger, &d.Other}
}

// callText scans a call's id as people see it.
type callText string

// Scan implements sql.Scanner.
func (c *callText) Scan(src any) error {
	var r id.Raw
	if b, ok := src.([]byte); ok && copy(r[:], b) == len(r) {
		*c = callText(r.Text("log"))
	}
	return nil
}

// questions each select what does not agree: organization, account, call, what
// the ledger says and what the other side says. $1 is a limit, $2 the moment
// from which on calls are compared.
var questions = []struct {
	kind  string
	timed bool
	text  string
}{
	{DiffNoLine, true, `SELECT a.organization_id, e.account_id, e.call_id, -e.amount, 0 FROM entries e JOIN accounts a ON a.id = e.account_id
		LEFT JOIN calls c ON c.organization_id = a.organization_id AND c.id = e.call_id
		WHERE e.type = 'usage' AND e.created_at >= $2 AND c.id IS NULL ORDER BY e.account_id, e.seq`},
	// A difference of sets: joined to entries, which have no index by call, each
	// line would look through all of its account's.
	{DiffNoEntry, true, `SELECT c.organization_id, c.account_id, c.id, 0, c.credits_charged FROM
		(SELECT organization_id, account_id, id FROM calls WHERE credits_charged > 0 AND created_at >= $2
		EXCEPT SELECT a.organization_id, e.account_id, e.call_id FROM entries e JOIN accounts a ON a.id = e.account_id WHERE e.type = 'usage' AND e.created_at >= $2) m
		JOIN calls c ON c.organization_id = m.organization_id AND c.id = m.id ORDER BY c.organization_id, c.id`},
	{DiffAmount, true, `SELECT a.organization_id, e.account_id, e.call_id, -e.amount, c.credits_charged FROM entries e JOIN accounts a ON a.id = e.account_id
		JOIN calls c ON c.organization_id = a.organization_id AND c.id = e.call_id
		WHERE e.type = 'usage' AND e.created_at >= $2 AND c.credits_charged <> -e.amount ORDER BY e.account_id, e.seq`},
	{DiffTwice, true, `SELECT a.organization_id, MIN(e.account_id), e.call_id, COUNT(*), 1 FROM entries e JOIN accounts a ON a.id = e.account_id
		WHERE e.type = 'usage' AND e.created_at >= $2 GROUP BY a.organization_id, e.call_id HAVING COUNT(*) > 1 ORDER BY a.organization_id, e.call_id`},
	{DiffBalance, false, `SELECT a.organization_id, a.id, NULL, CAST(COALESCE(SUM(e.amount), 0) AS BIGINT), a.monthly + a.purchased
		FROM accounts a LEFT JOIN entries e ON e.account_id = a.id GROUP BY a.organization_id, a.id, a.monthly, a.purchased
		HAVING a.monthly + a.purchased <> COALESCE(SUM(e.amount), 0) ORDER BY a.id`},
	{DiffMonthly, false, `SELECT a.organization_id, a.id, NULL, CAST(COALESCE(SUM(e.monthly_amount), 0) AS BIGINT), a.monthly
		FROM accounts a LEFT JOIN entries e ON e.account_id = a.id GROUP BY a.organization_id, a.id, a.monthly
		HAVING a.monthly <> COALESCE(SUM(e.monthly_amount), 0) ORDER BY a.id`},
	{DiffChain, false, `SELECT a.organization_id, e.account_id, e.call_id, e.balance_before, COALESCE(p.balance_after, 0) FROM entries e JOIN accounts a ON a.id = e.account_id
		LEFT JOIN entries p ON p.account_id = e.account_id AND p.seq = e.seq - 1
		WHERE e.balance_before <> COALESCE(p.balance_after, 0) ORDER BY e.account_id, e.seq`},
}
