package tenancy_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

func TestSeed(t *testing.T) {
	each(t, func(w *world) {
		w.Run("the free plan has the limits its contract names", func(t *testing.T) {
			p := testkit.Must(w.svc.PlanOf(t.Context(), w.home.ID))(t)
			testkit.Equal(t, []any{p.Slug, p.Users, p.Services, p.RequestsPerDay, p.MonthlyCredits},
				[]any{"free", tenancy.Limit(5), tenancy.Limit(10), tenancy.Limit(1000), int64(50)})
		})
		w.Run("a second seed changes nothing", func(t *testing.T) {
			free := testkit.Must(w.svc.PlanOf(t.Context(), w.home.ID))(t)
			edited := *free
			edited.Users = 7
			testkit.Must(w.svc.SavePlan(t.Context(), operator, edited))(t)
			w.tx(func(tx *db.Tx) error { return w.svc.Seed(t.Context(), tx) })
			plans := testkit.Must(w.svc.Plans(t.Context()))(t)
			testkit.Equal(t, len(plans), 3)
			testkit.Equal(t, plans[0].Users, tenancy.Limit(7))
			testkit.Equal(t, plans[2].Users, tenancy.Unlimited)
		})
		w.Run("a saved plan is what the next question is answered with", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(w.svc.PlanOf(t.Context(), w.home.ID))(t).Users, tenancy.Limit(7))
		})
		w.Run("only operators save plans, and only sound ones", func(t *testing.T) {
			_, err := w.svc.SavePlan(t.Context(), w.owner, tenancy.Plan{Slug: "x", Name: "X", RatePerMinute: 1, Burst: 1})
			testkit.Fault(t, err, "access.denied")
			_, err = w.svc.SavePlan(t.Context(), operator, tenancy.Plan{Slug: "X!", Name: "X", RatePerMinute: 1, Burst: 1})
			testkit.Fault(t, err, "tenancy.bad_plan")
		})
	})
}

func TestFound(t *testing.T) {
	each(t, func(w *world) {
		w.Run("a tenant gets its home organization, on the free plan", func(t *testing.T) {
			tenant := testkit.Must(w.svc.Tenant(t.Context(), w.home.Tenant))(t)
			testkit.Equal(t, []any{tenant.Name, tenant.Slug, w.home.Name, w.home.Slug, w.home.Home}, []any{"Acme", "acme", "Acme", "acme", true})
		})
		w.Run("equal names get different slugs", func(t *testing.T) {
			seen := map[string]bool{w.home.Slug: true}
			for range 7 {
				o, _ := w.found("Acme")
				if seen[o.Slug] || len(o.Slug) > 32 {
					t.Fatalf("slug %q", o.Slug)
				}
				seen[o.Slug] = true
			}
		})
		w.Run("a slug that was asked for is given or refused", func(t *testing.T) {
			o, err := w.svc.CreateOrganization(t.Context(), w.owner, "Anvils", "anvils")
			testkit.Must0(t, err)
			testkit.Equal(t, o.Slug, "anvils")
			_, err = w.svc.CreateOrganization(t.Context(), w.owner, "Anvils", "anvils")
			testkit.Fault(t, err, "tenancy.slug_taken")
			_, err = w.svc.CreateOrganization(t.Context(), w.owner, "Anvils", "an_vils")
			testkit.Fault(t, err, "tenancy.bad_name")
		})
		w.Run("slugs are made of any name, and never one of ours", func(t *testing.T) {
			for name, want := range map[string]string{"Müller & Söhne GmbH": "muller-sohne-gmbh", "中文": "organization", "www": "organization", strings.Repeat("long ", 14) + "name": "long-long-long-long-long-l"} {
				o, _ := w.found(name)
				if !strings.HasPrefix(o.Slug, want) {
					t.Errorf("%q became %q, want %q", name, o.Slug, want)
				}
			}
		})
		w.Run("names that cannot be shown are refused", func(t *testing.T) {
			for _, name := range []string{"", " x", "a\nb", "a\x00", strings.Repeat("x", 101), "\xff"} {
				_, err := w.svc.CreateOrganization(t.Context(), w.owner, name, "")
				testkit.Fault(t, err, "tenancy.bad_name")
			}
		})
		w.Run("what joins the founding fails it", func(t *testing.T) {
			svc := tenancy.New(w.store, nil, func() time.Time { return w.now })
			svc.OnFound(func(context.Context, *db.Tx, *access.Principal, *tenancy.Organization) error {
				return errors.New("no workspace")
			})
			_, err := svc.CreateOrganization(t.Context(), w.owner, "Ghost", "ghost")
			if err == nil {
				t.Fatal("founded without its workspace")
			}
			_, err = w.svc.OrganizationBySlug(t.Context(), "ghost")
			testkit.Fault(t, err, "tenancy.no_organization")
		})
	})
}

func TestOrganization(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		stranger, strangers := w.found("Stranger")
		customer := testkit.Must(w.svc.CreateOrganization(ctx, w.owner, "Customer", ""))(w)

		w.Run("its creator owns it", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(w.svc.RoleOf(ctx, customer.ID, w.owner.User))(t), access.Owner)
			testkit.Equal(t, customer.Home, false)
		})
		w.Run("a customer organization cannot found others", func(t *testing.T) {
			_, err := w.svc.CreateOrganization(ctx, w.session(customer, w.owner.User), "More", "")
			testkit.Fault(t, err, "access.denied")
		})
		w.Run("it is found by slug", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(w.svc.OrganizationBySlug(ctx, customer.Slug))(t).ID, customer.ID)
			_, err := w.svc.OrganizationBySlug(ctx, "no-such")
			testkit.Fault(t, err, "tenancy.no_organization")
		})
		w.Run("a change shows at once", func(t *testing.T) {
			testkit.Must(w.svc.Organization(ctx, w.home.ID))(t)
			name, mail, bodies := "Acme Two", "Billing@Example.COM", tenancy.BodiesOff
			testkit.Must(w.svc.UpdateOrganization(ctx, w.owner, w.home.ID, tenancy.OrganizationChange{Name: &name, ContactEmail: &mail, BodyPolicy: &bodies}))(t)
			o := testkit.Must(w.svc.Organization(ctx, w.home.ID))(t)
			testkit.Equal(t, []string{o.Name, o.ContactEmail, o.BodyPolicy}, []string{name, "billing@example.com", "off"})
			testkit.Equal(t, w.events("organization.update"), int64(1))
		})
		w.Run("values outside the lists are refused", func(t *testing.T) {
			bad := "everything"
			_, err := w.svc.UpdateOrganization(ctx, w.owner, w.home.ID, tenancy.OrganizationChange{BodyPolicy: &bad})
			testkit.Fault(t, err, "tenancy.bad_body_policy")
			_, err = w.svc.UpdateOrganization(ctx, w.owner, w.home.ID, tenancy.OrganizationChange{ContactEmail: &bad})
			testkit.Fault(t, err, "tenancy.bad_email")
		})
		w.Run("another tenant's is answered like one that does not exist", func(t *testing.T) {
			for _, org := range []string{stranger.ID, "org_nothing"} {
				_, err := w.svc.UpdateOrganization(ctx, w.owner, org, tenancy.OrganizationChange{})
				testkit.Fault(t, err, "tenancy.no_organization")
				_, err = w.svc.SuspendOrganization(ctx, w.owner, org)
				testkit.Fault(t, err, "tenancy.no_organization")
				_, err = w.svc.RemoveOrganization(ctx, w.owner, org)
				testkit.Fault(t, err, "tenancy.no_organization")
			}
			_, _, err := w.svc.Organizations(ctx, w.owner, stranger.Tenant, tenancy.Window{Limit: 10})
			testkit.Fault(t, err, "tenancy.no_tenant")
		})
		w.Run("lists stay inside the tenant and count", func(t *testing.T) {
			list, total, err := w.svc.Organizations(ctx, w.owner, w.home.Tenant, tenancy.Window{Limit: 1, Offset: 1})
			testkit.Must0(t, err)
			testkit.Equal(t, []any{len(list), total, list[0].ID}, []any{1, int64(2), customer.ID})
			_, all, err := w.svc.Organizations(ctx, operator, "", tenancy.Window{Limit: 10})
			testkit.Must0(t, err)
			testkit.Equal(t, all, int64(3))
		})
		w.Run("operators list tenants, others do not", func(t *testing.T) {
			list, total, err := w.svc.Tenants(ctx, operator, tenancy.Window{Limit: 1})
			testkit.Must0(t, err)
			testkit.Equal(t, []any{len(list), total, list[0].ID}, []any{1, int64(2), w.home.Tenant})
			_, _, err = w.svc.Tenants(ctx, w.owner, tenancy.Window{Limit: 1})
			testkit.Fault(t, err, "access.denied")
		})
		w.Run("is found inside its tenant only", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(w.svc.HomeOf(ctx, w.store, w.home.Tenant))(t).ID, w.home.ID)
			testkit.Equal(t, testkit.Must(w.svc.Find(ctx, w.store, w.home.Tenant, customer.ID))(t).ID, customer.ID)
			testkit.Must(w.svc.Find(ctx, w.store, "", customer.ID))(t)
			_, err := w.svc.Find(ctx, w.store, stranger.Tenant, customer.ID)
			testkit.Fault(t, err, "tenancy.no_organization")
		})
		w.Run("suspension stops it and resuming lets it work", func(t *testing.T) {
			testkit.Must0(t, w.svc.Usable(ctx, customer.ID))
			testkit.Must(w.svc.SuspendOrganization(ctx, w.owner, customer.ID))(t)
			testkit.Fault(t, w.svc.Usable(ctx, customer.ID), "tenancy.suspended")
			places := testkit.Must(w.svc.Places(ctx, w.store, w.owner.User))(t)
			testkit.Equal(t, len(places), 1)
			testkit.Must(w.svc.ResumeOrganization(ctx, operator, customer.ID))(t)
			testkit.Must0(t, w.svc.Usable(ctx, customer.ID))
		})
		w.Run("a suspended tenant stops all its organizations", func(t *testing.T) {
			testkit.Fault(t, w.svc.SuspendTenant(ctx, w.owner, w.home.Tenant), "access.denied")
			testkit.Must0(t, w.svc.SuspendTenant(ctx, operator, w.home.Tenant))
			testkit.Fault(t, w.svc.Usable(ctx, w.home.ID), "tenancy.suspended")
			testkit.Fault(t, w.svc.Usable(ctx, customer.ID), "tenancy.suspended")
			testkit.Must0(t, w.svc.Usable(ctx, stranger.ID))
			testkit.Must0(t, w.svc.ResumeTenant(ctx, operator, w.home.Tenant))
			testkit.Fault(t, w.svc.SuspendTenant(ctx, operator, "ten_nothing"), "tenancy.no_tenant")
		})
		w.Run("only operators change plans, and the change shows at once", func(t *testing.T) {
			_, err := w.svc.SetPlan(ctx, strangers, stranger.ID, tenancy.ProPlan)
			testkit.Fault(t, err, "access.denied")
			testkit.Must(w.svc.SetPlan(ctx, operator, stranger.ID, tenancy.ProPlan))(t)
			testkit.Equal(t, testkit.Must(w.svc.PlanOf(ctx, stranger.ID))(t).Slug, tenancy.ProPlan)
			_, err = w.svc.SetPlan(ctx, operator, stranger.ID, "gold")
			testkit.Fault(t, err, "tenancy.no_plan")
		})
		w.Run("a home organization is neither suspended nor removed", func(t *testing.T) {
			_, err := w.svc.RemoveOrganization(ctx, w.owner, w.home.ID)
			testkit.Fault(t, err, "tenancy.home")
			_, err = w.svc.SuspendOrganization(ctx, operator, w.home.ID)
			testkit.Fault(t, err, "tenancy.home")
		})
		w.Run("a removed one is gone, its slug stays taken", func(t *testing.T) {
			testkit.Must(w.svc.RemoveOrganization(ctx, w.session(customer, w.owner.User), customer.ID))(t)
			testkit.Fault(t, w.svc.Usable(ctx, customer.ID), "tenancy.no_organization")
			_, err := w.svc.OrganizationBySlug(ctx, customer.Slug)
			testkit.Fault(t, err, "tenancy.no_organization")
			_, err = w.svc.CreateOrganization(ctx, w.owner, "X", customer.Slug)
			testkit.Fault(t, err, "tenancy.slug_taken")
			_, err = w.svc.RemoveOrganization(ctx, operator, customer.ID)
			testkit.Fault(t, err, "tenancy.no_organization")
		})
	})
}

func TestNormalEmail(t *testing.T) {
	for text, want := range map[string]string{
		" Ada@Example.COM ": "ada@example.com", "a.b+c@x-y.example": "a.b+c@x-y.example",
		"jose\u0301@example.com": "jos\u00e9@example.com", "JOS\u00c9@example.com": "jos\u00e9@example.com",
		"a@M\u00dcNCHEN.example": "a@xn--mnchen-3ya.example", "owner@localhost": "owner@localhost",
	} {
		got, err := tenancy.NormalEmail(text)
		if err != nil || got != want {
			t.Errorf("%q became %q (%v), want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "a", "@x.com", "a@", "a@b", "a@@x.com", "a b@x.com", "a@x..com", "a@-x.com", ".a@x.com", "a..b@x.com",
		"\"a b\"@x.com", "a(comment)@x.com", "Ada <a@x.com>", "a@x.com\nBcc: b@x.com", "a@[127.0.0.1]", "a,b@x.com", "a\x00@x.com", "\xff@x.com",
		strings.Repeat("a", 65) + "@x.com", "a@" + strings.Repeat("x", 64) + ".com", "a@" + strings.Repeat("x.", 130) + "com",
		"\u212aevin@x.com" /* Kelvin sign */, "\u0130@x.com" /* dotted I */, "a\u200b@x.com", "a@x.com\u200b", "a@\uff58.com" /* full width x */, "a@x\u3002com"} {
		if got, err := tenancy.NormalEmail(bad); err == nil {
			t.Errorf("accepted %q as %q", bad, got)
		}
	}
}
