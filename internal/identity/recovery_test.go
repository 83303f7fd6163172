package identity_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/identity"
	"headgate/internal/testkit"
)

func TestVerifyEmail(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		u := w.register("ada@example.com")
		w.Run("the link works once, for 24 hours", func(t *testing.T) {
			token := w.link(u.Email)
			w.pass(24*time.Hour - time.Millisecond)
			got := testkit.Must(w.svc.VerifyEmail(ctx, token))(t)
			testkit.Equal(t, got.EmailVerifiedAt, w.clock())
			testkit.Equal(t, testkit.Must(w.svc.User(ctx, u.ID))(t).EmailVerifiedAt, w.clock())
			_, err := w.svc.VerifyEmail(ctx, token)
			testkit.Fault(t, err, "identity.bad_link")
		})
		w.Run("an old one is refused", func(t *testing.T) {
			w.register("late@example.com")
			w.pass(24 * time.Hour)
			_, err := w.svc.VerifyEmail(ctx, w.link("late@example.com"))
			testkit.Fault(t, err, "identity.bad_link")
		})
		w.Run("it can be sent again, a few times an hour, until the address is proven", func(t *testing.T) {
			late := w.who(w.login("late@example.com").Access)
			before := w.mails()
			for range 10 {
				testkit.Must0(t, w.svc.ResendVerification(ctx, late))
			}
			testkit.Equal(t, w.mails()-before, 5)
			testkit.Must(w.svc.VerifyEmail(ctx, w.link("late@example.com")))(t)
			w.pass(2 * time.Hour)
			testkit.Must0(t, w.svc.ResendVerification(ctx, w.who(w.login("late@example.com").Access)))
			testkit.Equal(t, w.mails()-before, 5)
		})
		w.Run("a link of one kind is none of another", func(t *testing.T) {
			w.register("kind@example.com")
			_, err := w.svc.Reset(ctx, platform, w.link("kind@example.com"), "another kettle, 10 hills")
			testkit.Fault(t, err, "identity.bad_link")
			testkit.Must0(t, w.svc.Forgot(ctx, platform, "kind@example.com"))
			_, err = w.svc.VerifyEmail(ctx, w.link("kind@example.com"))
			testkit.Fault(t, err, "identity.bad_link")
		})
	})
}

// K10.
func TestPasswordReset(t *testing.T) {
	const next = "another kettle, 10 hills"
	each(t, func(w *world) {
		ctx := w.Context()
		u := w.register("ada@example.com")
		w.Run("known and unknown addresses are answered alike", func(t *testing.T) {
			before := w.mails()
			for _, email := range []string{"nobody@example.com", "no address", ""} {
				testkit.Must0(t, w.svc.Forgot(ctx, platform, email))
			}
			testkit.Must0(t, w.svc.Forgot(ctx, "ten_other", u.Email))
			testkit.Equal(t, w.mails()-before, 0)
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			testkit.Equal(t, w.mails()-before, 1)
		})
		w.Run("the link works once", func(t *testing.T) {
			token := w.link(u.Email)
			testkit.Must(w.svc.Reset(ctx, platform, token, next))(t)
			_, err := w.svc.Reset(ctx, platform, token, "yet another, 11 hills")
			testkit.Fault(t, err, "identity.bad_link")
			testkit.Fault(t, w.try(u.Email, pass, here), "identity.bad_credentials")
			testkit.Must0(t, w.try(u.Email, next, here))
			testkit.Equal(t, testkit.Must(w.svc.User(ctx, u.ID))(t).EmailVerifiedAt, w.clock())
		})
		w.Run("it lives ten minutes", func(t *testing.T) {
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			w.pass(10 * time.Minute)
			_, err := w.svc.Reset(ctx, platform, w.link(u.Email), next)
			testkit.Fault(t, err, "identity.bad_link")
		})
		w.Run("a weak password does not use it up; one used ends its siblings", func(t *testing.T) {
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			older := w.link(u.Email)
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			newer := w.link(u.Email)
			_, err := w.svc.Reset(ctx, platform, newer, "password")
			testkit.Fault(t, err, "identity.weak_password")
			testkit.Must(w.svc.Reset(ctx, platform, newer, pass))(t)
			_, err = w.svc.Reset(ctx, platform, older, next)
			testkit.Fault(t, err, "identity.bad_link")
		})
		w.Run("nobody is flooded with mail", func(t *testing.T) {
			w.pass(2 * time.Hour)
			before := w.mails()
			for range 20 {
				testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			}
			testkit.Equal(t, w.mails()-before, 5)
		})
		w.Run("it opens a locked account", func(t *testing.T) {
			for range 11 {
				_ = w.try(u.Email, "wrong password 1", here)
			}
			testkit.Fault(t, w.try(u.Email, pass, here), "identity.locked")
			testkit.Must(w.svc.Reset(ctx, platform, w.link(u.Email), next))(t)
			testkit.Must0(t, w.try(u.Email, next, here))
		})
		w.Run("of parallel uses one counts", func(t *testing.T) {
			w.pass(2 * time.Hour)
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			token := w.link(u.Email)
			var ok atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if _, err := w.svc.Reset(ctx, platform, token, next); err == nil {
						ok.Add(1)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, ok.Load(), int32(1))
		})
		w.Run("another pool's door does not take it", func(t *testing.T) {
			testkit.Must0(t, w.svc.Forgot(ctx, platform, u.Email))
			_, err := w.svc.Reset(ctx, "ten_other", w.link(u.Email), next)
			testkit.Fault(t, err, "identity.bad_link")
		})
		w.Run("links lead to the configured base, whatever a request says", func(t *testing.T) {
			for _, m := range w.mail {
				if !strings.Contains(m.Text, "\n"+base+"/") {
					t.Errorf("no link to %s in %q", base, m.Text)
				}
			}
		})
	})
}

// A sign-in with the old password must not slip past the reset that ends it.
func TestResetAgainstLogin(t *testing.T) {
	each(t, func(w *world) {
		u := w.register("ada@example.com")
		old, next := pass, "another kettle, 10 hills"
		for range 8 {
			testkit.Must0(w, w.svc.Forgot(w.Context(), platform, u.Email))
			token := w.link(u.Email)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { _ = w.try(u.Email, old, there) })
			}
			wg.Go(func() {
				if _, err := w.svc.Reset(w.Context(), platform, token, next); err != nil {
					w.Error(err)
				}
			})
			wg.Wait()
			if n := w.count(`SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL`); n != 0 {
				w.Fatalf("%d sessions of the old password live", n)
			}
			old, next = next, old
			w.pass(time.Hour)
		}
	})
}

func TestChangePassword(t *testing.T) {
	const next = "another kettle, 10 hills"
	each(t, func(w *world) {
		ctx := w.Context()
		tokens, p := w.person("ada@example.com")
		other := w.login("ada@example.com")
		w.Run("needs the present password, and guesses count", func(t *testing.T) {
			for range 10 {
				testkit.Fault(t, w.svc.ChangePassword(ctx, p, "wrong password 1", next, there), "identity.bad_credentials")
			}
			testkit.Fault(t, w.svc.ChangePassword(ctx, p, pass, next, there), "identity.locked")
		})
		w.Run("keeps this session and ends the others", func(t *testing.T) {
			var changed []string
			w.store.OnChange(func(kind, ref string) {
				if kind == identity.KindPassword {
					changed = append(changed, ref)
				}
			})
			testkit.Fault(t, w.svc.ChangePassword(ctx, p, pass, "password", here), "identity.weak_password")
			testkit.Must0(t, w.svc.ChangePassword(ctx, p, pass, next, here))
			w.who(tokens.Access)
			w.refused(other.Access, "identity.token_invalid")
			testkit.Must0(t, w.try("ada@example.com", next, here))
			testkit.Equal(t, changed, []string{p.User})
		})
		w.Run("a reset link of before is dead", func(t *testing.T) {
			testkit.Must0(t, w.svc.Forgot(ctx, platform, "ada@example.com"))
			token := w.link("ada@example.com")
			testkit.Must0(t, w.svc.ChangePassword(ctx, p, next, pass, here))
			_, err := w.svc.Reset(ctx, platform, token, next)
			testkit.Fault(t, err, "identity.bad_link")
		})
	})
}

func TestTrail(t *testing.T) {
	each(t, func(w *world) {
		_, p := w.person("ada@example.com")
		testkit.Must0(w, w.svc.Forgot(context.Background(), platform, "ada@example.com"))
		testkit.Must(w.svc.Reset(w.Context(), platform, w.link("ada@example.com"), "another kettle, 10 hills"))(w)
		for _, action := range []string{"user.register", "session.login", "user.reset_link", "user.reset"} {
			if n := w.count(`SELECT COUNT(*) FROM events WHERE tenant_id = $1 AND action = $2`, p.Tenant, action); n != 1 {
				w.Errorf("%s: %d events", action, n)
			}
		}
		if n := w.count(`SELECT COUNT(*) FROM events WHERE details LIKE '%token%' OR details LIKE '%kettle%'`); n != 0 {
			w.Error("a secret in the trail")
		}
	})
}
