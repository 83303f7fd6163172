package credit_test

import (
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/testkit"
)

func TestOperator(t *testing.T) {
	operator := &access.Principal{Kind: access.OperatorKey, ID: "key_op"}
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		c := credit.New(s, time.Now)
		a, b := open(t, s, c, 50, 0), open(t, s, c, 0, 10)
		t.Run("nobody else may", func(t *testing.T) {
			owner := &access.Principal{Kind: access.Session, Organization: a.Organization, Role: access.Owner, Scopes: access.Every}
			_, err := c.TopUp(ctx, owner, a.ID, 5, "please", "")
			testkit.Fault(t, err, "access.denied")
			_, err = c.Update(ctx, owner, a.ID, credit.AccountChange{})
			testkit.Fault(t, err, "access.denied")
			_, _, err = c.Accounts(ctx, owner, credit.AccountFilter{}, 10, 0)
			testkit.Fault(t, err, "access.denied")
			_, err = c.Totals(ctx, owner)
			testkit.Fault(t, err, "access.denied")
			_, err = c.Flows(ctx, owner, time.Time{}, time.Now())
			testkit.Fault(t, err, "access.denied")
		})
		t.Run("a top-up needs a reason, which is kept with the entry and in the trail", func(t *testing.T) {
			_, err := c.TopUp(ctx, operator, a.ID, 5, " ", "")
			testkit.Fault(t, err, "credit.reason")
			e := testkit.Must(c.TopUp(ctx, operator, a.ID, 5, "goodwill", "k1"))(t)
			if e.Type != credit.TypeGrant || e.Before != 50 || e.After != 55 || e.Description != "goodwill" || e.CreatedBy != "key_op" {
				t.Errorf("%+v", e)
			}
			events, _, err := activity.Events(ctx, s, activity.EventFilter{Organization: a.Organization, Action: "credit.topup"}, 10, 0)
			if err != nil || len(events) != 1 || events[0].Details["reason"] != "goodwill" {
				t.Errorf("%+v, %v", events, err)
			}
		})
		t.Run("with a key it happens once", func(t *testing.T) {
			_, err := c.TopUp(ctx, operator, a.ID, 5, "goodwill", "k1")
			testkit.Fault(t, err, "credit.repeated")
		})
		t.Run("taking away stops at nothing left", func(t *testing.T) {
			e := testkit.Must(c.TopUp(ctx, operator, a.ID, -55, "fraud", ""))(t)
			if e.Type != credit.TypeAdjustment || e.After != 0 {
				t.Errorf("%+v", e)
			}
			_, err := c.TopUp(ctx, operator, a.ID, -1, "fraud", "")
			testkit.Fault(t, err, "credit.insufficient")
			for _, n := range []int64{0, credit.MaxAmount + 1, -credit.MaxAmount - 1, 1<<63 - 1, -1 << 63} {
				_, err := c.TopUp(ctx, operator, b.ID, n, "odd", "")
				testkit.Fault(t, err, "credit.amount")
			}
			_, err = c.TopUp(ctx, operator, "acc_none", 1, "odd", "")
			testkit.Fault(t, err, "credit.no_account")
		})
		t.Run("an account that is switched off pays for nothing, from its lease neither", func(t *testing.T) {
			hold := testkit.Must(c.Hold(ctx, b.ID, 1))(t)
			hold.Release()
			off, on, tier, more := false, true, "pro", int64(77)
			got := testkit.Must(c.Update(ctx, operator, b.ID, credit.AccountChange{Active: &off, Tier: &tier, Allocation: &more, AllowRawRecords: &on}))(t)
			if got.Active || got.Tier != "pro" || got.Allocation != 77 || !got.AllowRawRecords {
				t.Errorf("%+v", got)
			}
			_, err := c.Hold(ctx, b.ID, 1)
			testkit.Fault(t, err, "credit.inactive")
			testkit.Must(c.Update(ctx, operator, b.ID, credit.AccountChange{Active: &on}))(t)
			hold = testkit.Must(c.Hold(ctx, b.ID, 1))(t)
			hold.Release()
			t.Run("nor what another replica has leased", func(t *testing.T) {
				if s.Engine() == db.SQLite {
					return // has one process
				}
				other := credit.New(s, time.Now)
				held := testkit.Must(other.Hold(ctx, b.ID, 1))(t)
				held.Release()
				testkit.Must(c.Update(ctx, operator, b.ID, credit.AccountChange{Active: &off}))(t)
				for range 2 {
					_, err := other.Hold(ctx, b.ID, 1)
					testkit.Fault(t, err, "credit.inactive")
				}
				testkit.Must(c.Update(ctx, operator, b.ID, credit.AccountChange{Active: &on}))(t)
				held = testkit.Must(other.Hold(ctx, b.ID, 1))(t)
				held.Release()
				testkit.Must0(t, other.Return(ctx, 0))
			})
		})
		t.Run("lists, histories and sums say what there is", func(t *testing.T) {
			list, total, err := c.Accounts(ctx, operator, credit.AccountFilter{Organization: b.Organization}, 10, 0)
			if err != nil || total != 1 || list[0].ID != b.ID {
				t.Errorf("%d %+v %v", total, list, err)
			}
			entries, total, err := c.History(ctx, a.ID, 2, 0)
			if err != nil || total != 3 || len(entries) != 2 || entries[0].Amount != -55 || entries[1].Amount != 5 {
				t.Errorf("%d %+v %v", total, entries, err)
			}
			sum := testkit.Must(c.Totals(ctx, operator))(t)
			if sum.Accounts != 2 || sum.Monthly != 0 || sum.Purchased != 10 {
				t.Errorf("%+v", sum)
			}
			flows := testkit.Must(c.Flows(ctx, operator, time.Now().Add(-48*time.Hour), time.Now().Add(time.Hour)))(t)
			byType := map[string]int64{}
			for _, f := range flows {
				byType[f.Type] += f.Credits
			}
			testkit.Equal(t, byType, map[string]int64{credit.TypeMonthlyRefill: 50, credit.TypeGrant: 15, credit.TypeAdjustment: -55})
		})
	})
}
