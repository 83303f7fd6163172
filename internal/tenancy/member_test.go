package tenancy_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

func TestMembers(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		admin, dev := w.join(access.Admin), w.join(access.Developer)

		w.Run("a new role holds at once", func(t *testing.T) {
			testkit.Must(w.svc.SetRole(ctx, admin, w.home.ID, dev.User, access.Viewer))(t)
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, dev.User))(t), access.Viewer)
			testkit.Equal(t, w.events("member.role"), int64(1))
		})
		w.Run("a role outside the five is refused", func(t *testing.T) {
			_, err := w.svc.SetRole(ctx, w.owner, w.home.ID, dev.User, "root")
			testkit.Fault(t, err, "tenancy.bad_role")
		})
		w.Run("people without the right manage nobody", func(t *testing.T) {
			_, err := w.svc.SetRole(ctx, dev, w.home.ID, dev.User, access.Admin)
			testkit.Fault(t, err, "access.denied")
			testkit.Fault(t, w.svc.Remove(ctx, dev, w.home.ID, admin.User), "access.denied")
		})
		w.Run("admins neither make owners nor change them", func(t *testing.T) {
			_, err := w.svc.SetRole(ctx, admin, w.home.ID, admin.User, access.Owner)
			testkit.Fault(t, err, "tenancy.owners_only")
			_, err = w.svc.SetRole(ctx, admin, w.home.ID, w.owner.User, access.Viewer)
			testkit.Fault(t, err, "tenancy.owners_only")
			_, err = w.svc.Deactivate(ctx, admin, w.home.ID, w.owner.User)
			testkit.Fault(t, err, "tenancy.owners_only")
			testkit.Fault(t, w.svc.Remove(ctx, admin, w.home.ID, w.owner.User), "tenancy.owners_only")
		})
		w.Run("the last owner stays", func(t *testing.T) {
			_, err := w.svc.SetRole(ctx, w.owner, w.home.ID, w.owner.User, access.Admin)
			testkit.Fault(t, err, "tenancy.last_owner")
			_, err = w.svc.Deactivate(ctx, w.owner, w.home.ID, w.owner.User)
			testkit.Fault(t, err, "tenancy.last_owner")
			testkit.Fault(t, w.svc.Remove(ctx, w.owner, w.home.ID, w.owner.User), "tenancy.last_owner")
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, w.owner.User))(t), access.Owner)
		})
		w.Run("a deactivated member is out until reactivated", func(t *testing.T) {
			var left []string
			w.svc.OnLeave(func(_ context.Context, _ *db.Tx, _ *access.Principal, _, user string) error {
				left = append(left, user)
				return nil
			})
			testkit.Must(w.svc.Deactivate(ctx, admin, w.home.ID, dev.User))(t)
			_, err := w.svc.RoleOf(ctx, w.home.ID, dev.User)
			testkit.Fault(t, err, "tenancy.no_member")
			testkit.Equal(t, left, []string{dev.User})
			testkit.Equal(t, testkit.Must(w.svc.Counts(ctx, w.home.ID))(t), tenancy.Counts{Users: 2, Inactive: 1})
			testkit.Must(w.svc.Reactivate(ctx, admin, w.home.ID, dev.User))(t)
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, dev.User))(t), access.Viewer)
		})
		w.Run("members leave by themselves", func(t *testing.T) {
			testkit.Must0(t, w.svc.Remove(ctx, dev, w.home.ID, dev.User))
			_, err := w.svc.RoleOf(ctx, w.home.ID, dev.User)
			testkit.Fault(t, err, "tenancy.no_member")
		})
		w.Run("a foreign organization's members are not there", func(t *testing.T) {
			other, theirs := w.found("Other")
			_, err := w.svc.SetRole(ctx, w.owner, other.ID, theirs.User, access.Viewer)
			testkit.Fault(t, err, "tenancy.no_organization")
			_, err = w.svc.SetRole(ctx, w.owner, w.home.ID, theirs.User, access.Viewer)
			testkit.Fault(t, err, "tenancy.no_member")
		})
	})
}

func TestTransfer(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		heir := w.join(access.Developer)
		w.Run("only an owner gives ownership away, and only to an active member", func(t *testing.T) {
			testkit.Fault(t, w.svc.Transfer(ctx, w.join(access.Admin), w.home.ID, heir.User), "access.denied")
			testkit.Fault(t, w.svc.Transfer(ctx, w.owner, w.home.ID, "user_nobody"), "tenancy.no_member")
			testkit.Fault(t, w.svc.Transfer(ctx, w.owner, w.home.ID, w.owner.User), "tenancy.no_member")
		})
		w.Run("the heir is owner, the giver admin", func(t *testing.T) {
			testkit.Must0(t, w.svc.Transfer(ctx, w.owner, w.home.ID, heir.User))
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, heir.User))(t), access.Owner)
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, w.owner.User))(t), access.Admin)
			testkit.Equal(t, w.events("member.transfer"), int64(1))
		})
		w.Run("a right that was lost meanwhile is no right", func(t *testing.T) {
			testkit.Fault(t, w.svc.Transfer(ctx, w.owner, w.home.ID, heir.User), "tenancy.owners_only")
		})
	})
}

// Two owners who step down at once must not leave the organization without one.
func TestOwnersStepDownTogether(t *testing.T) {
	each(t, func(w *world) {
		w.tx(func(tx *db.Tx) error {
			_, err := w.svc.ChangePlan(w.Context(), tx, nil, w.home.ID, tenancy.ProPlan)
			return err
		})
		owners := []*access.Principal{w.owner}
		for range 7 {
			owners = append(owners, w.join(access.Owner))
		}
		var refused atomic.Int32
		var wg sync.WaitGroup
		for _, o := range owners {
			wg.Go(func() {
				if err := w.svc.Remove(w.Context(), o, w.home.ID, o.User); errors.Is(err, tenancy.ErrLastOwner) {
					refused.Add(1)
				} else if err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		testkit.Equal(w, refused.Load(), int32(1))
		testkit.Equal(w, testkit.Must(w.svc.Counts(w.Context(), w.home.ID))(w).Users, int64(1))
	})
}

func TestSeats(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		w.Run("parallel joins never take more seats than the plan has", func(t *testing.T) {
			users := make([]string, 12)
			for i := range users {
				users[i] = w.user(time.Duration(i).String() + "@example.com")
			}
			var joined, refused atomic.Int32
			var wg sync.WaitGroup
			for _, u := range users {
				wg.Go(func() {
					err := w.store.Tx(ctx, func(tx *db.Tx) error {
						return w.svc.AddMember(ctx, tx, nil, tenancy.Membership{Organization: w.home.ID, User: u, Role: access.Viewer, Seat: true})
					})
					switch fault.CodeOf(err) {
					case "":
						joined.Add(1)
					case "tenancy.limit":
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, []int32{joined.Load(), refused.Load()}, []int32{4, 8}) // the owner has the fifth
		})
		w.Run("the refusal says what is limited", func(t *testing.T) {
			late := w.user("late@example.com")
			err := w.store.Tx(ctx, func(tx *db.Tx) error {
				return w.svc.AddMember(ctx, tx, nil, tenancy.Membership{Organization: w.home.ID, User: late, Role: access.Viewer, Seat: true})
			})
			testkit.Equal(t, fault.Of(err).Kind, fault.Unpaid)
			testkit.Equal(t, fault.Of(err).Details, map[string]any{"feature": "users", "limit": int64(5), "used": int64(5), "reset": nil})
		})
		w.Run("end users take no seat", func(t *testing.T) {
			u := w.user("end@example.com")
			w.tx(func(tx *db.Tx) error {
				return w.svc.AddMember(ctx, tx, nil, tenancy.Membership{Organization: w.home.ID, User: u, Role: access.Member})
			})
			testkit.Equal(t, testkit.Must(w.svc.Counts(ctx, w.home.ID))(t), tenancy.Counts{Users: 5, EndUsers: 1})
		})
		w.Run("a deactivated member frees a seat and needs one to return", func(t *testing.T) {
			list := testkit.Must(db.All(ctx, w.store, func(s *string) []any { return []any{s} }, `SELECT user_id FROM memberships WHERE role = 'viewer' AND organization_id = $1`, w.home.ID))(t)
			testkit.Must(w.svc.Deactivate(ctx, w.owner, w.home.ID, list[0]))(t)
			w.join(access.Viewer)
			// Nor does the half of a change that could be made happen.
			role := access.Admin
			_, err := w.svc.Change(ctx, w.owner, w.home.ID, list[0], &role, new(true))
			testkit.Fault(t, err, "tenancy.limit")
			if m := testkit.Must(w.svc.Membership(ctx, w.home.ID, list[0]))(t); m.Role == role {
				t.Error("the role has changed")
			}
			_, err = w.svc.Reactivate(ctx, w.owner, w.home.ID, list[0])
			testkit.Fault(t, err, "tenancy.limit")
		})
		w.Run("a larger plan has room", func(t *testing.T) {
			testkit.Must(w.svc.SetPlan(ctx, operator, w.home.ID, tenancy.ProPlan))(t)
			w.join(access.Viewer)
		})
	})
}

func TestInvitations(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		ada := w.user("ada@example.com")

		w.Run("asking about one never uses it up, accepting does", func(t *testing.T) {
			inv, token := w.invite(" Ada@Example.com", access.Developer)
			for range 3 {
				got := testkit.Must(w.svc.Invitation(ctx, w.store, token))(t)
				testkit.Equal(t, []string{got.ID, got.Email, string(got.Role)}, []string{inv.ID, "ada@example.com", "developer"})
			}
			testkit.Must0(t, w.accept(token, ada, "ada@example.com"))
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, w.home.ID, ada))(t), access.Developer)
			testkit.Fault(t, w.accept(token, ada, "ada@example.com"), "tenancy.bad_invitation")
			testkit.Equal(t, w.events("invitation.accept"), int64(1))
		})
		w.Run("the token is stored as a hash only", func(t *testing.T) {
			_, token := w.invite("hash@example.com", access.Viewer)
			n := testkit.Must(db.Value[int64](ctx, w.store, `SELECT COUNT(*) FROM invitations WHERE token_hash = $1`, []byte(token)))(t)
			testkit.Equal(t, n, int64(0))
			testkit.Equal(t, len(token), 43)
		})
		w.Run("another address cannot accept", func(t *testing.T) {
			_, token := w.invite("bob@example.com", access.Viewer)
			testkit.Fault(t, w.accept(token, w.user("eve@example.com"), "eve@example.com"), "tenancy.not_invited")
		})
		w.Run("a new one to the same address ends the old", func(t *testing.T) {
			_, old := w.invite("bob@example.com", access.Viewer)
			w.invite("bob@example.com", access.Admin)
			_, err := w.svc.Invitation(ctx, w.store, old)
			testkit.Fault(t, err, "tenancy.bad_invitation")
		})
		w.Run("promised seats count", func(t *testing.T) {
			w.invite("third@example.com", access.Viewer) // owner, ada; bob, hash and this one promised
			err := w.store.Tx(ctx, func(tx *db.Tx) error {
				_, _, err := w.svc.Invite(ctx, tx, w.owner, w.home.ID, "sixth@example.com", access.Viewer)
				return err
			})
			testkit.Fault(t, err, "tenancy.limit")
		})
		w.Run("a revoked one is refused", func(t *testing.T) {
			list := testkit.Must(w.svc.Invitations(ctx, w.owner, w.home.ID))(t)
			testkit.Equal(t, len(list), 3)
			inv, token := w.invite("third@example.com", access.Viewer)
			testkit.Must0(t, w.svc.RevokeInvitation(ctx, w.owner, w.home.ID, inv.ID))
			testkit.Fault(t, w.accept(token, w.user("third@example.com"), "third@example.com"), "tenancy.bad_invitation")
			testkit.Fault(t, w.svc.RevokeInvitation(ctx, w.owner, w.home.ID, inv.ID), "tenancy.no_invitation")
		})
		w.Run("it lives seven days", func(t *testing.T) {
			_, token := w.invite("late@example.com", access.Viewer)
			late := w.user("late@example.com")
			start := w.now
			defer func() { w.now = start }()
			w.now = start.Add(7 * 24 * time.Hour)
			testkit.Fault(t, w.accept(token, late, "late@example.com"), "tenancy.bad_invitation")
			w.now = w.now.Add(-time.Millisecond)
			testkit.Must0(t, w.accept(token, late, "late@example.com"))
		})
		w.Run("two who accept at once: one does", func(t *testing.T) {
			testkit.Must(w.svc.SetPlan(ctx, operator, w.home.ID, tenancy.ProPlan))(t)
			_, token := w.invite("twin@example.com", access.Viewer)
			a := w.user("twin@example.com")
			var ok atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if w.accept(token, a, "twin@example.com") == nil {
						ok.Add(1)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, ok.Load(), int32(1))
		})
		w.Run("admins invite no owners, others nobody", func(t *testing.T) {
			for role, want := range map[access.Role]string{access.Admin: "tenancy.owners_only", access.Developer: "access.denied"} {
				by := w.join(role)
				err := w.store.Tx(ctx, func(tx *db.Tx) error {
					_, _, err := w.svc.Invite(ctx, tx, by, w.home.ID, "boss@example.com", access.Owner)
					return err
				})
				testkit.Fault(t, err, want)
			}
		})
		w.Run("junk is no invitation", func(t *testing.T) {
			for _, token := range []string{"", "x", "' OR 1=1 --", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
				_, err := w.svc.Invitation(ctx, w.store, token)
				testkit.Fault(t, err, "tenancy.bad_invitation")
			}
		})
	})
}
