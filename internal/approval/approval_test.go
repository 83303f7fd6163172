package approval_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/approval"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

func TestApprovals(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		keys, _, err := seal.Generate()
		testkit.Must0(t, err)
		now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
		svc := approval.New(s, keys, func() time.Time { return now })
		exec := func(text string, args ...any) { testkit.Must(db.Exec(t.Context(), s, text, args...))(t) }
		exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_1', 't', 'T', 0)`)
		exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_1', 'p', 'P', 1, 1, 0, '{}', 0)`)
		organization := func() (person, key *access.Principal) {
			org := id.New("org")
			exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_1', $1, 'O', FALSE, 'plan_1', 'full', 0)`, org)
			person = &access.Principal{Kind: access.Session, ID: "ses_1", Tenant: "ten_1", Organization: org, User: "user_1", Role: access.Admin, Scopes: access.Every}
			key = &access.Principal{Kind: access.OrganizationKey, ID: id.New("key"), Tenant: "ten_1", Organization: org, Role: access.Owner, Scopes: access.Every}
			return person, key
		}
		person, key := organization()
		op := approval.Operation{Gate: approval.Secrets, Action: "setSecret", Target: "TOKEN", Arguments: []byte(`{"value":"hunter2"}`)}
		check := func(t *testing.T, by *access.Principal, op approval.Operation) *approval.Approval {
			t.Helper()
			_, waits, err := svc.Check(context.Background(), by, op)
			testkit.Must0(t, err)
			return waits
		}
		t.Run("nothing waits where nothing is gated, and another gate gates nothing", func(t *testing.T) {
			testkit.Equal(t, check(t, key, op), (*approval.Approval)(nil))
			testkit.Must(svc.SetPolicy(t.Context(), person, []approval.Gate{approval.Keys}))(t)
			testkit.Equal(t, check(t, key, op), (*approval.Approval)(nil))
			testkit.Equal(t, testkit.Must(svc.SetPolicy(t.Context(), person, []approval.Gate{approval.Destructive, approval.Secrets, approval.Secrets}))(t), []approval.Gate{approval.Secrets, approval.Destructive})
		})
		t.Run("a person passes, a key waits, and asking again is the same question", func(t *testing.T) {
			testkit.Equal(t, check(t, person, op), (*approval.Approval)(nil))
			first := check(t, key, op)
			testkit.Equal(t, first.Status, approval.Pending)
			testkit.Equal(t, check(t, key, op).ID, first.ID)
			_, total, err := svc.List(t.Context(), key.Organization, true, 50, 0)
			testkit.Must0(t, err)
			testkit.Equal(t, total, int64(1))
		})
		t.Run("agreed to, exactly this operation of exactly this key happens once", func(t *testing.T) {
			a := check(t, key, op)
			testkit.Must(svc.Decide(t.Context(), person, a.ID, true, "fine"))(t)
			other := op
			other.Arguments = []byte(`{"value":"hunter3"}`)
			if check(t, key, other) == nil {
				t.Error("another value passed")
			}
			other = op
			other.Target = "OTHER"
			if check(t, key, other) == nil {
				t.Error("another target passed")
			}
			stranger := *key
			stranger.ID = id.New("key")
			if check(t, &stranger, op) == nil {
				t.Error("another key passed")
			}
			var wg sync.WaitGroup
			var passed atomic.Int64
			for range 8 {
				wg.Go(func() {
					if check(t, key, op) == nil {
						passed.Add(1)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, passed.Load(), int64(1))
			testkit.Equal(t, testkit.Must(svc.Get(t.Context(), key.Organization, a.ID))(t).Status, approval.Used)
		})
		t.Run("what shows while an operation runs is held back until a person has agreed to that operation", func(t *testing.T) {
			demand := func(ctx context.Context, by *access.Principal) error { return svc.Secret(ctx, s, by) }
			testkit.Fault(t, demand(t.Context(), key), "approval.needed")
			testkit.Must0(t, demand(t.Context(), person))
			_, free := organization()
			testkit.Must0(t, demand(t.Context(), free))
			testkit.Must0(t, svc.Demand(t.Context(), s, key, approval.Keys))
			late := approval.Operation{Gate: approval.Secrets, Action: "configureService", Target: "svc_1"}
			ctx, waits, err := svc.Check(t.Context(), key, late)
			testkit.Must0(t, err)
			testkit.Fault(t, demand(ctx, key), "approval.needed")
			testkit.Must(svc.Decide(t.Context(), person, waits.ID, true, ""))(t)
			ctx, waits, err = svc.Check(t.Context(), key, late)
			testkit.Must0(t, err)
			testkit.Equal(t, waits, (*approval.Approval)(nil))
			testkit.Must0(t, demand(ctx, key))
		})
		t.Run("refused, it stays refused for its time", func(t *testing.T) {
			a := check(t, key, op)
			testkit.Must(svc.Decide(t.Context(), person, a.ID, false, ""))(t)
			_, _, err := svc.Check(t.Context(), key, op)
			testkit.Fault(t, err, "approval.rejected")
			_, err = svc.Decide(t.Context(), person, a.ID, true, "")
			testkit.Fault(t, err, "approval.decided")
			now = now.Add(10 * time.Minute)
			testkit.Equal(t, check(t, key, op).Status, approval.Pending)
		})
		t.Run("after ten minutes it is over, and reading it changes nothing", func(t *testing.T) {
			a := check(t, key, op)
			now = now.Add(10 * time.Minute)
			testkit.Equal(t, testkit.Must(svc.Get(t.Context(), key.Organization, a.ID))(t).Status, approval.Expired)
			stored := testkit.Must(db.Value[string](t.Context(), s, `SELECT status FROM approvals WHERE id = $1`, a.ID))(t)
			testkit.Equal(t, stored, "pending")
			_, err := svc.Decide(t.Context(), person, a.ID, true, "")
			testkit.Fault(t, err, "approval.decided")
			b := check(t, key, op)
			testkit.Must(svc.Decide(t.Context(), person, b.ID, true, ""))(t)
			now = now.Add(10 * time.Minute)
			if check(t, key, op) == nil {
				t.Error("an old agreement passed")
			}
		})
		t.Run("only a person of the organization decides and sets the policy", func(t *testing.T) {
			a := check(t, key, op)
			_, err := svc.Decide(t.Context(), key, a.ID, true, "")
			testkit.Fault(t, err, "approval.person")
			_, err = svc.SetPolicy(t.Context(), key, nil)
			testkit.Fault(t, err, "approval.person")
			member := *person
			member.Role = access.Developer
			_, err = svc.Decide(t.Context(), &member, a.ID, true, "")
			testkit.Fault(t, err, "access.denied")
			elsewhere, _ := organization()
			_, err = svc.Decide(t.Context(), elsewhere, a.ID, true, "")
			testkit.Fault(t, err, "approval.not_found")
			_, err = svc.SetPolicy(t.Context(), person, []approval.Gate{"everything"})
			testkit.Fault(t, err, "approval.gate")
		})
		t.Run("neither rows nor events hold an argument", func(t *testing.T) {
			for _, q := range []string{`SELECT action || target || reason FROM approvals`, `SELECT action || target_id || details FROM events`} {
				for _, text := range testkit.Must(db.All(t.Context(), s, func(s *string) []any { return []any{s} }, q))(t) {
					if len(text) == 0 || strings.Contains(text, "hunter2") {
						t.Errorf("%s: %q", q, text)
					}
				}
			}
		})
		t.Run("a hundred wait and no more", func(t *testing.T) {
			_, key := organization()
			exec(`INSERT INTO approval_policies (organization_id, gates, updated_at) VALUES ($1, 'secrets', 0)`, key.Organization)
			for i := range 100 {
				check(t, key, approval.Operation{Gate: approval.Secrets, Action: "a", Target: fmt.Sprint(i)})
			}
			_, _, err := svc.Check(t.Context(), key, approval.Operation{Gate: approval.Secrets, Action: "a", Target: "more"})
			testkit.Fault(t, err, "approval.too_many")
		})
	})
}
