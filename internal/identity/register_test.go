package identity_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

func policy(p identity.SignUp) func(*identity.Options) {
	return func(o *identity.Options) { o.SignUp = p }
}

func (w *world) enroll(r identity.Registration) (*identity.User, error) {
	if r.Password == "" {
		r.Password = pass
	}
	return w.svc.Register(w.Context(), nil, r)
}

func TestRegister(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		w.Run("founds a tenant with its home organization, owned by the person", func(t *testing.T) {
			u := testkit.Must(w.enroll(identity.Registration{Email: " Ada@Example.com", FirstName: " Ada ", LastName: "Byron", OrganizationName: "Analytical Engines"}))(t)
			testkit.Equal(t, []string{u.Email, u.FirstName, u.Pool}, []string{"ada@example.com", "Ada", "platform"})
			places := testkit.Must(w.tenancy.Places(ctx, w.store, u.ID))(t)
			testkit.Equal(t, []any{len(places), places[0].Name, places[0].Home, places[0].Role}, []any{1, "Analytical Engines", true, access.Owner})
			testkit.Equal(t, testkit.Must(w.tenancy.PlanOf(ctx, places[0].ID))(t).Slug, "free")
		})
		w.Run("without a name the tenant is called like the mailbox", func(t *testing.T) {
			u := testkit.Must(w.enroll(identity.Registration{Email: "grace.hopper@example.com"}))(t)
			places := testkit.Must(w.tenancy.Places(ctx, w.store, u.ID))(t)
			testkit.Equal(t, []string{places[0].Name, places[0].Slug}, []string{"grace.hopper", "grace-hopper"})
		})
		w.Run("can be followed by a session at once", func(t *testing.T) {
			u := testkit.Must(w.enroll(identity.Registration{Email: "now@example.com"}))(t)
			tokens := testkit.Must(w.svc.Start(ctx, u.ID, "", here))(t)
			testkit.Equal(t, w.who(tokens.Access).User, u.ID)
			testkit.Must0(t, w.svc.Suspend(ctx, operator, u.ID))
			_, err := w.svc.Start(ctx, u.ID, "", here)
			testkit.Fault(t, err, "identity.suspended")
			_, err = w.svc.Start(ctx, "user_nobody", "", here)
			testkit.Fault(t, err, "identity.no_user")
		})
		w.Run("an address is one user in its pool, in any spelling", func(t *testing.T) {
			_, err := w.enroll(identity.Registration{Email: "ADA@EXAMPLE.COM"})
			testkit.Fault(t, err, "identity.email_taken")
		})
		w.Run("parallel registrations of one address make one user and one tenant", func(t *testing.T) {
			tenants := w.count(`SELECT COUNT(*) FROM tenants`)
			var made atomic.Int32
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if _, err := w.enroll(identity.Registration{Email: "twin@example.com"}); err == nil {
						made.Add(1)
					} else {
						testkit.Fault(t, err, "identity.email_taken")
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, []int64{int64(made.Load()), w.count(`SELECT COUNT(*) FROM tenants`) - tenants}, []int64{1, 1})
		})
		w.Run("what is unfit is refused, and nothing is left of it", func(t *testing.T) {
			users := w.count(`SELECT COUNT(*) FROM users`)
			for code, r := range map[string]identity.Registration{
				"tenancy.bad_email":      {Email: "nonsense"},
				"identity.weak_password": {Email: "weak@example.com", Password: "Password123!"},
				"identity.bad_name":      {Email: "name@example.com", FirstName: "a\x00"},
				"tenancy.bad_name":       {Email: "org@example.com", OrganizationName: strings.Repeat("x", 101)},
				"tenancy.bad_invitation": {Email: "inv@example.com", Invitation: "nonsense"},
			} {
				_, err := w.enroll(r)
				testkit.Fault(t, err, code)
			}
			testkit.Equal(t, w.count(`SELECT COUNT(*) FROM users`), users)
		})
		w.Run("nobody else says what is founded", func(t *testing.T) {
			u := testkit.Must(w.enroll(identity.Registration{Email: "sly@example.com", Founding: tenancy.Founding{Plan: tenancy.OperatorPlan}}))(t)
			places := testkit.Must(w.tenancy.Places(ctx, w.store, u.ID))(t)
			testkit.Equal(t, testkit.Must(w.tenancy.PlanOf(ctx, places[0].ID))(t).Slug, "free")
		})
	})
}

func TestSignUpPolicy(t *testing.T) {
	each(t, func(w *world) {
		w.Run("closed refuses strangers and lets Headgate itself", func(t *testing.T) {
			closedSvc := w.service(policy(identity.Closed))
			_, err := closedSvc.Register(t.Context(), nil, identity.Registration{Email: "ada@example.com", Password: pass})
			testkit.Fault(t, err, "identity.sign_up_closed")
			u := testkit.Must(closedSvc.Register(t.Context(), system, identity.Registration{Email: "owner@localhost", Password: pass, OrganizationName: "Home",
				Founding: tenancy.Founding{Slug: "home", TenantName: "Default", TenantSlug: "default", Plan: tenancy.OperatorPlan}}))(t)
			testkit.Equal(t, u.EmailVerifiedAt, w.clock())
			o := testkit.Must(w.tenancy.OrganizationBySlug(t.Context(), "home"))(t)
			tenant := testkit.Must(w.tenancy.Tenant(t.Context(), o.Tenant))(t)
			testkit.Equal(t, []string{tenant.Slug, testkit.Must(w.tenancy.PlanOf(t.Context(), o.ID))(t).Slug}, []string{"default", "operator"})
		})
		w.Run("invite needs an invitation", func(t *testing.T) {
			w.svc = w.service(policy(identity.Invite))
			_, err := w.enroll(identity.Registration{Email: "ada@example.com"})
			testkit.Fault(t, err, "identity.invitation_needed")
			owner := w.who(w.login("owner@localhost").Access)
			testkit.Must(w.svc.Invite(t.Context(), owner, owner.Organization, "ada@example.com", access.Developer))(t)
			u := testkit.Must(w.enroll(identity.Registration{Email: "ada@example.com", Invitation: w.link("ada@example.com")}))(t)
			testkit.Equal(t, u.EmailVerifiedAt, w.clock())
			testkit.Equal(t, w.login("ada@example.com").Role, access.Developer)
		})
	})
}

func TestInvitations(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		_, owner := w.person("owner@example.com")
		w.Run("the mail names organization, inviter and role, and links to the configured base", func(t *testing.T) {
			testkit.Must(w.svc.Invite(ctx, owner, owner.Organization, "ada@example.com", access.Viewer))(t)
			m := w.mail[len(w.mail)-1]
			testkit.Equal(t, m.Subject, "Invitation to owner")
			for _, want := range []string{"owner@example.com invites you to join owner as viewer", base + "/invitation#token=" + w.link("ada@example.com")} {
				if !strings.Contains(m.Text, want) || !strings.Contains(m.HTML, want) {
					t.Errorf("%q is not in the message", want)
				}
			}
		})
		w.Run("opening the link uses nothing up", func(t *testing.T) {
			for range 3 {
				inv, o, err := w.svc.Invitation(ctx, w.link("ada@example.com"))
				testkit.Must0(t, err)
				testkit.Equal(t, []string{inv.Email, o.ID}, []string{"ada@example.com", owner.Organization})
			}
		})
		w.Run("an existing user accepts once, with the invited address only", func(t *testing.T) {
			token := w.link("ada@example.com")
			_, ada := w.person("ada@example.com")
			_, eve := w.person("eve@example.com")
			_, err := w.svc.AcceptInvitation(ctx, eve, token)
			testkit.Fault(t, err, "tenancy.not_invited")
			testkit.Must(w.svc.AcceptInvitation(ctx, ada, token))(t)
			_, err = w.svc.AcceptInvitation(ctx, ada, token)
			testkit.Fault(t, err, "tenancy.bad_invitation")
			testkit.Equal(t, testkit.Must(w.svc.Switch(ctx, ada, owner.Organization))(t).Role, access.Viewer)
		})
		w.Run("a member is not invited again", func(t *testing.T) {
			_, err := w.svc.Invite(ctx, owner, owner.Organization, "ada@example.com", access.Admin)
			testkit.Fault(t, err, "tenancy.member_exists")
		})
		w.Run("only those who manage the organization invite", func(t *testing.T) {
			_, stranger := w.person("stranger@example.com")
			_, err := w.svc.Invite(ctx, stranger, owner.Organization, "x@example.com", access.Viewer)
			testkit.Fault(t, err, "tenancy.no_organization")
		})
	})
}

func TestMembersAndUsers(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		_, owner := w.person("owner@example.com")
		other, _ := w.person("other@example.com")
		testkit.Must0(w, w.store.Tx(ctx, func(tx *db.Tx) error {
			return w.tenancy.AddMember(ctx, tx, owner, tenancy.Membership{Organization: owner.Organization, User: other.User.ID, Role: access.Viewer, Seat: true})
		}))
		w.Run("members are listed in the order they joined", func(t *testing.T) {
			list, total, err := w.svc.Members(ctx, owner, owner.Organization, tenancy.Window{Limit: 10})
			testkit.Must0(t, err)
			testkit.Equal(t, []any{total, list[0].Email, list[0].Role, list[1].Email, list[1].Role, list[1].Active}, []any{int64(2), "owner@example.com", access.Owner, "other@example.com", access.Viewer, true})
			list, _, err = w.svc.Members(ctx, owner, owner.Organization, tenancy.Window{Limit: 1, Offset: 1})
			testkit.Must0(t, err)
			testkit.Equal(t, list[0].Email, "other@example.com")
		})
		w.Run("viewers and strangers see no list", func(t *testing.T) {
			viewer := w.who(testkit.Must(w.svc.Switch(ctx, w.who(other.Access), owner.Organization))(t).Access)
			_, _, err := w.svc.Members(ctx, viewer, owner.Organization, tenancy.Window{Limit: 10})
			testkit.Fault(t, err, "access.denied")
			_, _, err = w.svc.Members(ctx, owner, "org_other", tenancy.Window{Limit: 10})
			testkit.Fault(t, err, "tenancy.no_organization")
		})
		w.Run("operators search a pool; percent signs are just signs", func(t *testing.T) {
			list, total, err := w.svc.Users(ctx, operator, platform, "OTHER@", tenancy.Window{Limit: 10})
			testkit.Must0(t, err)
			testkit.Equal(t, []any{len(list), total}, []any{1, int64(1)})
			_, total, err = w.svc.Users(ctx, operator, platform, "%", tenancy.Window{Limit: 10})
			testkit.Must0(t, err)
			testkit.Equal(t, total, int64(0))
			_, _, err = w.svc.Users(ctx, owner, platform, "", tenancy.Window{Limit: 10})
			testkit.Fault(t, err, "identity.no_user")
		})
		w.Run("people change their own names", func(t *testing.T) {
			first := " Grace "
			u := testkit.Must(w.svc.UpdateProfile(ctx, owner, identity.Profile{FirstName: &first}))(t)
			testkit.Equal(t, []string{u.FirstName, u.LastName}, []string{"Grace", "Byron"})
			testkit.Equal(t, testkit.Must(w.svc.Me(ctx, owner))(t).FirstName, "Grace")
			bad := "a\nb"
			_, err := w.svc.UpdateProfile(ctx, owner, identity.Profile{LastName: &bad})
			testkit.Fault(t, err, "identity.bad_name")
		})
	})
}

func TestEndUsers(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		_, owner := w.person("owner@example.com")
		w.svc = w.service(policy(identity.Closed))
		join := func(organization string) (*identity.User, error) {
			return w.enroll(identity.Registration{Pool: owner.Tenant, Organization: organization, Email: "owner@example.com"})
		}
		w.Run("a tenant's pool is open whatever the policy, and apart from the platform's", func(t *testing.T) {
			u := testkit.Must(join(""))(t)
			testkit.Equal(t, u.Pool, owner.Tenant)
			testkit.Equal(t, testkit.Must(w.tenancy.Counts(ctx, owner.Organization))(t), tenancy.Counts{Users: 1, EndUsers: 1})
		})
		w.Run("their session is an end user's, with the role member", func(t *testing.T) {
			tokens := testkit.Must(w.svc.Login(ctx, identity.Credentials{Pool: owner.Tenant, Email: "owner@example.com", Password: pass}, here))(t)
			p := w.who(tokens.Access)
			testkit.Equal(t, []any{p.Kind, p.Role, p.Tenant}, []any{access.EndUser, access.Member, owner.Tenant})
			_, err := w.svc.Refresh(ctx, platform, tokens.Refresh)
			testkit.Fault(t, err, "identity.token_invalid")
			testkit.Must(w.svc.Refresh(ctx, owner.Tenant, tokens.Refresh))(t)
		})
		w.Run("they join organizations of their tenant only", func(t *testing.T) {
			foreign := w.place("Foreign", owner.User, access.Owner)
			_, err := w.enroll(identity.Registration{Pool: owner.Tenant, Organization: foreign.ID, Email: "x@example.com"})
			testkit.Fault(t, err, "tenancy.no_organization")
			_, err = w.enroll(identity.Registration{Pool: "ten_nothing", Email: "x@example.com"})
			testkit.Fault(t, err, "tenancy.no_organization")
		})
		w.Run("their tenant's staff manages them, others do not", func(t *testing.T) {
			list, total, err := w.svc.Users(ctx, owner, owner.Tenant, "", tenancy.Window{Limit: 10})
			testkit.Must0(t, err)
			testkit.Equal(t, total, int64(1))
			testkit.Must0(t, w.svc.Suspend(ctx, owner, list[0].ID))
			_, err = w.svc.Login(ctx, identity.Credentials{Pool: owner.Tenant, Email: "owner@example.com", Password: pass}, here)
			testkit.Fault(t, err, "identity.suspended")
			testkit.Fault(t, w.svc.Suspend(ctx, owner, owner.User), "identity.no_user")
		})
	})
}
