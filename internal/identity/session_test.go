package identity_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
)

func (w *world) refresh(token string) (*identity.Tokens, error) {
	return w.svc.Refresh(w.Context(), platform, token)
}

func TestRefresh(t *testing.T) {
	each(t, func(w *world) {
		w.register("ada@example.com")
		w.Run("rotates: a new refresh token and a fresh access token of the same session", func(t *testing.T) {
			first := w.login("ada@example.com")
			w.pass(time.Minute)
			second := testkit.Must(w.refresh(first.Refresh))(t)
			testkit.Equal(t, []bool{second.Refresh != first.Refresh, second.Session == first.Session, second.ExpiresAt.After(first.ExpiresAt)}, []bool{true, true, true})
			w.who(second.Access)
			testkit.Must(w.refresh(second.Refresh))(t)
		})
		w.Run("a repeat within ten seconds gets the same successor", func(t *testing.T) {
			first := w.login("ada@example.com")
			second := testkit.Must(w.refresh(first.Refresh))(t)
			w.pass(10 * time.Second)
			again := testkit.Must(w.refresh(first.Refresh))(t)
			testkit.Equal(t, again.Refresh, second.Refresh)
			w.who(again.Access)
		})
		w.Run("a later repeat ends that session, at once, and no other", func(t *testing.T) {
			other, victim := w.login("ada@example.com"), w.login("ada@example.com")
			next := testkit.Must(w.refresh(victim.Refresh))(t)
			p := w.who(next.Access)
			w.pass(10*time.Second + time.Millisecond)
			_, err := w.refresh(victim.Refresh)
			testkit.Fault(t, err, "identity.token_invalid")
			w.refused(next.Access, "identity.token_invalid")
			_, err = w.refresh(next.Refresh)
			testkit.Fault(t, err, "identity.token_invalid")
			closed(t, p)
			w.who(other.Access)
			testkit.Equal(t, w.count(`SELECT COUNT(*) FROM events WHERE action = 'session.reuse'`), int64(1))
		})
		w.Run("parallel uses all get the one successor", func(t *testing.T) {
			first := w.login("ada@example.com")
			got := make([]string, 24)
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() {
					next, err := w.refresh(first.Refresh)
					if err != nil {
						t.Error(err)
						return
					}
					got[i] = next.Refresh
				})
			}
			wg.Wait()
			for _, g := range got {
				testkit.Equal(t, g, got[0])
			}
			testkit.Equal(t, w.count(`SELECT COUNT(*) FROM refresh_tokens WHERE session_id = $1`, first.Session), int64(2))
		})
		w.Run("is kept as a hash, its successor sealed", func(t *testing.T) {
			first := w.login("ada@example.com")
			next := testkit.Must(w.refresh(first.Refresh))(t)
			rows := testkit.Must(db.All(t.Context(), w.store, func(r *[2][]byte) []any { return []any{&r[0], &r[1]} }, `SELECT hash, COALESCE(successor, hash) FROM refresh_tokens`))(t)
			for _, r := range rows {
				for _, secret := range []string{first.Refresh, next.Refresh} {
					if strings.Contains(string(r[0])+string(r[1]), secret[3:]) {
						t.Error("readable")
					}
				}
			}
		})
		w.Run("an idle week ends it, and thirty days in any case", func(t *testing.T) {
			idle := w.login("ada@example.com")
			w.pass(7 * 24 * time.Hour)
			_, err := w.refresh(idle.Refresh)
			testkit.Fault(t, err, "identity.token_expired")
			busy := w.login("ada@example.com")
			for range 4 {
				w.pass(6 * 24 * time.Hour)
				busy = testkit.Must(w.refresh(busy.Refresh))(t)
			}
			w.pass(6 * 24 * time.Hour)
			_, err = w.refresh(busy.Refresh)
			testkit.Fault(t, err, "identity.token_invalid")
		})
		w.Run("junk and other pools' tokens are refused", func(t *testing.T) {
			first := w.login("ada@example.com")
			_, err := w.svc.Refresh(t.Context(), "ten_other", first.Refresh)
			testkit.Fault(t, err, "identity.token_invalid")
			for _, junk := range []string{"", "rt_", first.Access, "rt_" + strings.Repeat("A", 43), first.Refresh + "A", "rt_' OR 1=1 --"} {
				_, err := w.refresh(junk)
				testkit.Fault(t, err, "identity.token_invalid")
			}
			testkit.Must(w.refresh(first.Refresh))(t) // and a foreign try has not used it up
		})
	})
}

// closed fails unless the principal's streams have been told to end.
func closed(t testing.TB, p *access.Principal) {
	t.Helper()
	select {
	case <-p.Revoked():
	default:
		t.Error("open streams of the session were not told")
	}
}

// K09: whatever ends a session's right ends it for tokens already issued, at
// once, on the streams too.
func TestSessionDeath(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		boss, bossIs := w.person("boss@example.com")
		_ = boss
		for i, c := range []struct {
			promise string
			act     func(t *testing.T, p *access.Principal) error
			code    string
		}{
			{"logout", func(t *testing.T, p *access.Principal) error { return w.svc.Logout(ctx, p) }, "identity.token_invalid"},
			{"revocation from the list of sessions", func(t *testing.T, p *access.Principal) error {
				return w.svc.Revoke(ctx, w.who(w.login(p.Name).Access), p.ID)
			}, "identity.token_invalid"},
			{"ending all other sessions", func(t *testing.T, p *access.Principal) error {
				return w.svc.RevokeOthers(ctx, w.who(w.login(p.Name).Access))
			}, "identity.token_invalid"},
			{"a password change from another session", func(t *testing.T, p *access.Principal) error {
				return w.svc.ChangePassword(ctx, w.who(w.login(p.Name).Access), pass, "another kettle, 10 hills", here)
			}, "identity.token_invalid"},
			{"a password reset", func(t *testing.T, p *access.Principal) error {
				testkit.Must0(t, w.svc.Forgot(ctx, platform, p.Name))
				_, err := w.svc.Reset(ctx, platform, w.link(p.Name), "another kettle, 10 hills")
				return err
			}, "identity.token_invalid"},
			{"suspension of the user", func(t *testing.T, p *access.Principal) error { return w.svc.Suspend(ctx, operator, p.User) }, "identity.token_invalid"},
			{"deactivation of the member", func(t *testing.T, p *access.Principal) error {
				_, err := w.tenancy.Deactivate(ctx, system, p.Organization, p.User)
				return err
			}, "identity.token_invalid"},
			{"removal of the member", func(t *testing.T, p *access.Principal) error {
				return w.tenancy.Remove(ctx, system, p.Organization, p.User)
			}, "identity.token_invalid"},
			{"suspension of the tenant", func(t *testing.T, p *access.Principal) error { return w.tenancy.SuspendTenant(ctx, operator, p.Tenant) }, "tenancy.suspended"},
			{"switching to another organization", func(t *testing.T, p *access.Principal) error {
				_, err := w.svc.Switch(ctx, p, w.place("Other", p.User, access.Viewer).ID)
				return err
			}, "identity.token_expired"},
		} {
			w.Run(c.promise, func(t *testing.T) {
				tokens, p := w.person(fmt.Sprintf("u%d@example.com", i))
				// A second owner, so that the first may leave.
				testkit.Must0(t, w.store.Tx(ctx, func(tx *db.Tx) error {
					return w.tenancy.AddMember(ctx, tx, system, tenancy.Membership{Organization: p.Organization, User: bossIs.User, Role: access.Owner, Seat: true})
				}))
				testkit.Must0(t, c.act(t, p))
				w.refused(tokens.Access, c.code)
				closed(t, p)
				if c.code == "identity.token_invalid" {
					_, err := w.refresh(tokens.Refresh)
					testkit.Fault(t, err, c.code)
				}
			})
		}
		w.Run("a new role holds for the tokens of before", func(t *testing.T) {
			_, p := w.person("role@example.com")
			o := w.place("Roles", p.User, access.Viewer)
			tokens := testkit.Must(w.svc.Switch(ctx, p, o.ID))(t)
			p = w.who(tokens.Access)
			testkit.Equal(t, p.Role, access.Viewer)
			testkit.Must(w.tenancy.SetRole(ctx, system, o.ID, p.User, access.Admin))(t)
			testkit.Equal(t, w.who(tokens.Access).Role, access.Admin)
			closed(t, p)
		})
		w.Run("a right that comes back finds the session ended", func(t *testing.T) {
			tokens, p := w.person("back@example.com")
			testkit.Must0(t, w.svc.Suspend(ctx, operator, p.User))
			testkit.Fault(t, w.try("back@example.com", pass, here), "identity.suspended")
			testkit.Must0(t, w.svc.Resume(ctx, operator, p.User))
			w.refused(tokens.Access, "identity.token_invalid")
			w.login("back@example.com")
		})
		w.Run("others' changes disturb nobody", func(t *testing.T) {
			tokens, p := w.person("calm@example.com")
			_, other := w.person("other@example.com")
			testkit.Must0(t, w.svc.Logout(ctx, other))
			testkit.Must0(t, w.tenancy.SuspendTenant(ctx, operator, other.Tenant))
			w.who(tokens.Access)
			select {
			case <-p.Revoked():
				t.Error("streams were ended")
			default:
			}
		})
		w.Run("the age of what is remembered ends no stream", func(t *testing.T) {
			tokens, p := w.person("age@example.com")
			w.pass(time.Minute)
			w.who(tokens.Access)
			select {
			case <-p.Revoked():
				t.Error("streams were ended")
			default:
			}
			testkit.Must0(t, w.svc.Logout(ctx, p))
			closed(t, p)
		})
	})
}

// A load that began before a change must not be remembered after it.
func TestAuthenticateRace(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	w.register("ada@example.com")
	for range 30 {
		tokens := w.login("ada@example.com")
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = w.svc.Authenticate(context.Background(), tokens.Access)
					}
				}
			})
		}
		testkit.Must0(t, w.svc.Logout(t.Context(), w.who(tokens.Access)))
		w.refused(tokens.Access, "identity.token_invalid")
		close(stop)
		wg.Wait()
		w.refused(tokens.Access, "identity.token_invalid")
	}
}

// What cannot be checked is not let in.
func TestAuthenticateWithoutStore(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t))
	tokens := w.login(w.register("ada@example.com").Email)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.svc.Authenticate(ctx, tokens.Access)
	testkit.Fault(t, err, "identity.unavailable")
	w.who(tokens.Access)
}

func TestSessions(t *testing.T) {
	each(t, func(w *world) {
		ctx := w.Context()
		_, ada := w.person("ada@example.com")
		_, eve := w.person("eve@example.com")
		w.Run("are listed with where and when, the current one marked", func(t *testing.T) {
			w.pass(time.Minute)
			second := w.login("ada@example.com")
			list := testkit.Must(w.svc.Sessions(ctx, ada))(t)
			testkit.Equal(t, len(list), 2)
			testkit.Equal(t, []any{list[0].ID, list[0].Current, list[0].IP, list[0].UserAgent, list[0].CreatedAt}, []any{second.Session, false, "192.0.2.1", "test/1", w.clock()})
			testkit.Equal(t, list[1].Current, true)
		})
		w.Run("a stranger's session is not there", func(t *testing.T) {
			testkit.Fault(t, w.svc.Revoke(ctx, eve, ada.ID), "identity.no_session")
			testkit.Fault(t, w.svc.Revoke(ctx, eve, "ses_nothing"), "identity.no_session")
			testkit.Must(w.svc.Sessions(ctx, ada))(t)
		})
		w.Run("a key has no session to manage", func(t *testing.T) {
			key := &access.Principal{Kind: access.PersonalKey, ID: "key_x", User: ada.User, Organization: ada.Organization, Role: access.Owner, Scopes: access.Every}
			testkit.Fault(t, w.svc.Logout(ctx, key), "identity.session_needed")
			testkit.Fault(t, w.svc.RevokeOthers(ctx, key), "identity.session_needed")
			testkit.Fault(t, w.svc.ChangePassword(ctx, key, pass, "another kettle, 10 hills", here), "identity.session_needed")
		})
		w.Run("a user has at most a hundred; the one used longest ago makes room", func(t *testing.T) {
			first := w.login("eve@example.com")
			for range 100 {
				w.pass(time.Second)
				w.login("eve@example.com")
			}
			w.refused(first.Access, "identity.token_invalid")
			testkit.Equal(t, w.count(`SELECT COUNT(*) FROM sessions WHERE user_id = $1 AND ended_at IS NULL`, eve.User), int64(100))
		})
		w.Run("switching where one is no member finds nothing", func(t *testing.T) {
			foreign := w.place("Foreign", eve.User, access.Owner)
			for _, o := range []string{foreign.ID, "org_nothing", ""} {
				_, err := w.svc.Switch(ctx, ada, o)
				testkit.Fault(t, err, "tenancy.no_organization")
			}
		})
		w.Run("a hostile User-Agent is stored harmlessly", func(t *testing.T) {
			agent := "a\x00b\xff" + strings.Repeat("x", 5000)
			tokens, err := w.svc.Login(ctx, identity.Credentials{Pool: platform, Email: "ada@example.com", Password: pass}, identity.Client{IP: here.IP, UserAgent: agent})
			testkit.Must0(t, err)
			for _, s := range testkit.Must(w.svc.Sessions(ctx, w.who(tokens.Access)))(t) {
				if s.Current && (!strings.HasPrefix(s.UserAgent, "abx") || len(s.UserAgent) > 400) {
					t.Errorf("stored %q", s.UserAgent[:10])
				}
			}
		})
		w.Run("sweeping leaves the living", func(t *testing.T) {
			w.pass(31 * 24 * time.Hour)
			tokens := w.login("ada@example.com")
			w.pass(30*24*time.Hour - time.Hour)
			fresh := w.login("ada@example.com")
			testkit.Must0(t, w.svc.Sweep(ctx))
			testkit.Equal(t, w.count(`SELECT COUNT(*) FROM sessions`), int64(2))
			testkit.Must(w.refresh(fresh.Refresh))(t)
			_ = tokens
		})
	})
}

func TestComplete(t *testing.T) {
	each(t, func(w *world) {
		w.register("ada@example.com")
		tokens := w.login("ada@example.com")
		workspace := "ws_1"
		svc := w.service(func(o *identity.Options) {
			o.Complete = func(_ context.Context, p *access.Principal) error {
				p.Workspace, p.Account = workspace, "acc_1"
				return nil
			}
		})
		p := testkit.Must(svc.Authenticate(w.Context(), tokens.Access))(w)
		testkit.Equal(w, []string{p.Workspace, p.Account}, []string{"ws_1", "acc_1"})
		workspace = "ws_2"
		testkit.Must0(w, w.store.Tx(w.Context(), func(tx *db.Tx) error { tx.Changed("workspace", "ws_1"); return nil }))
		testkit.Equal(w, testkit.Must(svc.Authenticate(w.Context(), tokens.Access))(w).Workspace, "ws_2")
	})
}

func TestErrorsKinds(t *testing.T) {
	for err, kind := range map[*fault.Error]fault.Kind{
		identity.ErrCredentials: fault.BadCredential, identity.ErrTokenExpired: fault.BadCredential, identity.ErrTokenInvalid: fault.BadCredential,
		identity.ErrLocked: fault.Throttled, identity.ErrBusy: fault.Unavailable, identity.ErrEmailTaken: fault.Conflict, identity.ErrWeakPassword: fault.Invalid,
	} {
		testkit.Equal(t, err.Kind, kind)
	}
}
