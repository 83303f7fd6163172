package credit_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

func TestReconcile(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		c := credit.New(s, time.Now)
		a := open(t, s, c, 50, 100)
		now := time.Now()
		line := func(raw id.Raw, charged int64) *activity.Line {
			return &activity.Line{Organization: a.Organization, ID: raw, Account: a.ID, Principal: "key_a", Door: "platform", Operation: "tools/call", Success: true, Charged: charged, CreatedAt: now}
		}
		write := func(lines ...*activity.Line) {
			testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error {
				for _, l := range lines {
					if err := activity.Append(f, l); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		ids := spend(t, s, c, a.ID, "svc_a", now, 30, 40, 0)
		write(line(ids[0], 30), line(ids[1], 40), line(ids[2], 0), line(id.NewRaw(), 0)) // the last was void
		report := func(t *testing.T) credit.Reconciliation {
			t.Helper()
			return testkit.Must(c.Reconcile(ctx, now.Add(-time.Hour)))(t)
		}
		t.Run("what agrees is OK, with its totals", func(t *testing.T) {
			r := report(t)
			if !r.OK || r.Calls != 2 || r.Entries != 2 || r.CallCredits != 70 || r.Credits != 70 || r.Accounts != 1 || len(r.Differences) != 0 {
				t.Errorf("%+v", r)
			}
		})
		call := ids[0].Text("log")
		for _, d := range []struct {
			name, damage, mend string
			want               credit.Difference
		}{
			{"a lost line", `UPDATE calls SET organization_id = 'x' WHERE credits_charged = 30`, `UPDATE calls SET organization_id = '` + a.Organization + `' WHERE credits_charged = 30`,
				credit.Difference{Kind: credit.DiffNoLine, Organization: a.Organization, Account: a.ID, Call: call, Ledger: 30}},
			{"a lost settlement", `UPDATE entries SET type = 'lost' WHERE amount = -30`, `UPDATE entries SET type = 'usage' WHERE amount = -30`,
				credit.Difference{Kind: credit.DiffNoEntry, Organization: a.Organization, Account: a.ID, Call: call, Other: 30}},
			{"another amount", `UPDATE calls SET credits_charged = 29 WHERE credits_charged = 30`, `UPDATE calls SET credits_charged = 30 WHERE credits_charged = 29`,
				credit.Difference{Kind: credit.DiffAmount, Organization: a.Organization, Account: a.ID, Call: call, Ledger: 30, Other: 29}},
			{"a call settled twice", `UPDATE entries SET call_id = (SELECT call_id FROM entries WHERE amount = -30) WHERE amount = 0`, ``,
				credit.Difference{Kind: credit.DiffTwice, Organization: a.Organization, Account: a.ID, Call: call, Ledger: 2, Other: 1}},
			{"a balance somebody set", `UPDATE accounts SET purchased = purchased + 7`, `UPDATE accounts SET purchased = purchased - 7`,
				credit.Difference{Kind: credit.DiffBalance, Organization: a.Organization, Account: a.ID, Ledger: 80, Other: 87}},
			{"buckets somebody mixed", `UPDATE accounts SET purchased = purchased - 7, monthly = monthly + 7`, `UPDATE accounts SET purchased = purchased + 7, monthly = monthly - 7`,
				credit.Difference{Kind: credit.DiffMonthly, Organization: a.Organization, Account: a.ID, Ledger: 0, Other: 7}},
		} {
			t.Run(d.name+" is found", func(t *testing.T) {
				testkit.Must(db.Exec(ctx, s, d.damage))(t)
				r := report(t)
				found := false
				for _, x := range r.Differences {
					found = found || x == d.want
				}
				if r.OK || !found {
					t.Errorf("want %+v in %+v", d.want, r)
				}
				if d.mend == "" {
					testkit.Must(db.Exec(ctx, s, `UPDATE entries SET call_id = $1 WHERE amount = 0`, ids[2][:]))(t)
				} else {
					testkit.Must(db.Exec(ctx, s, d.mend))(t)
				}
				if r := report(t); !r.OK {
					t.Errorf("not mended: %+v", r)
				}
			})
		}
		t.Run("what is older than the log keeps is not compared", func(t *testing.T) {
			if r := testkit.Must(c.Reconcile(ctx, now.Add(time.Hour)))(t); !r.OK || r.Calls != 0 || r.Entries != 0 {
				t.Errorf("%+v", r)
			}
		})
	})
}

// The work grew with the square of an account's calls: twenty thousand took minutes.
func TestReconcileMany(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		const calls = 20_000
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := credit.New(s, time.Now)
		a, now := open(t, s, c, 0, calls), time.Now()
		ids := spend(t, s, c, a.ID, "svc_a", now, slices.Repeat([]int64{1}, calls)...)
		testkit.Must0(t, s.Fast(ctx, func(f *db.Fast) error {
			for _, raw := range ids {
				if err := activity.Append(f, &activity.Line{Organization: a.Organization, ID: raw, Account: a.ID, Principal: "key_a", Door: "gateway", Operation: "tools/call", Success: true, Charged: 1, CreatedAt: now}); err != nil {
					return err
				}
			}
			return nil
		}))
		if r := testkit.Must(c.Reconcile(ctx, now.Add(-time.Hour)))(t); !r.OK || r.Calls != calls || r.Entries != calls {
			t.Errorf("%+v", r)
		}
	})
}
