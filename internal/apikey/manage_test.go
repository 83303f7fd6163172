package apikey_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/seal"
	"headgate/internal/testkit"
)

func TestLimits(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner := w.person(w.org, access.Owner)
		t.Run("ten organization keys an hour, however parallel, revoked ones counted", func(t *testing.T) {
			var made, throttled atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					k, _, err := w.Create(t.Context(), owner, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org, Name: "x"})
					switch fault.CodeOf(err) {
					case "":
						made.Add(1)
						if err := w.Revoke(t.Context(), owner, k.ID); err != nil {
							t.Error(err)
						}
					case "apikey.mints":
						throttled.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, []int64{made.Load(), throttled.Load()}, []int64{10, 6})
			_, _, err := w.Create(t.Context(), owner, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org, Name: "x"})
			testkit.Equal(t, fault.Of(err).RetryAfter, time.Hour)
			w.clock.Advance(time.Hour)
			w.create(owner, apikey.Spec{Kind: access.OrganizationKey})
		})
		t.Run("fifty live keys of a workspace", func(t *testing.T) {
			var last apikey.Key
			for range 50 {
				last, _ = w.create(owner, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace})
			}
			spec := apikey.Spec{Kind: access.WorkspaceKey, Organization: w.org, Workspace: w.workspace, Name: "x"}
			_, _, err := w.Create(t.Context(), owner, spec)
			testkit.Fault(t, err, "apikey.too_many")
			w.rotate(owner, last, time.Hour)
			testkit.Must0(t, w.Revoke(t.Context(), owner, last.ID))
			_, _, err = w.Create(t.Context(), owner, spec)
			testkit.Fault(t, err, "apikey.too_many")
		})
		t.Run("a hundred live keys of an organization", func(t *testing.T) {
			for i := range 101 {
				w.clock.Advance(time.Hour)
				_, _, err := w.Create(t.Context(), owner, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org, Name: "x"})
				if i < 99 { // one is left from above
					testkit.Must0(t, err)
				} else {
					testkit.Fault(t, err, "apikey.too_many")
				}
			}
		})
	})
}

func TestAccountKey(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		viewer := w.person(w.org, access.Viewer)
		spec := apikey.Spec{Kind: access.AccountKey, Organization: w.org, User: viewer.User, Account: id.New("acc"), Name: "account"}
		replace := func() (k apikey.Key, v seal.Value, err error) {
			err = w.store.Tx(t.Context(), func(tx *db.Tx) error {
				k, v, err = w.Replace(t.Context(), tx, viewer, spec)
				return err
			})
			return k, v, err
		}
		_, first := w.create(viewer, spec)
		t.Run("an account has one", func(t *testing.T) {
			_, _, err := w.Create(t.Context(), viewer, spec)
			testkit.Fault(t, err, "apikey.exists")
		})
		t.Run("the old one dies with the regeneration", func(t *testing.T) {
			old := testkit.Must(w.use(first))(t)
			_, v, err := replace()
			testkit.Must0(t, err)
			_, err = w.use(first)
			testkit.Fault(t, err, "apikey.revoked")
			if !ended(old) {
				t.Error("its stream goes on")
			}
			testkit.Equal(t, testkit.Must(w.use(v.Reveal()))(t).Account, spec.Account)
		})
		t.Run("parallel regenerations leave one", func(t *testing.T) {
			var wg sync.WaitGroup
			var alive atomic.Int64
			values := make([]string, 8)
			for i := range values {
				wg.Go(func() {
					if _, v, err := replace(); err == nil {
						values[i] = v.Reveal()
					}
				})
			}
			wg.Wait()
			for _, v := range values {
				if _, err := w.use(v); v != "" && err == nil {
					alive.Add(1)
				}
			}
			testkit.Equal(t, alive.Load(), int64(1))
		})
		t.Run("is not rotated", func(t *testing.T) {
			keys, _, err := w.List(t.Context(), apikey.Filter{Account: spec.Account})
			testkit.Must0(t, err)
			_, _, err = w.Rotate(t.Context(), viewer, keys[0].ID, 0)
			testkit.Fault(t, err, "apikey.rotated")
		})
	})
}

func TestRevoke(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner, developer := w.person(w.org, access.Owner), w.person(w.org, access.Developer)
		t.Run("no use passes once it has returned, and streams have been told", func(t *testing.T) {
			for i := range 60 {
				k, value := w.personal(owner, "mcp:read")
				if i%2 == 0 {
					testkit.Must(w.use(value))(t) // in the other half the first uses race with the end
				}
				var revoked atomic.Bool
				var wg sync.WaitGroup
				opened := make([]*access.Principal, 4)
				for i := range opened {
					wg.Go(func() {
						for range 2_000 {
							was := revoked.Load()
							p, err := w.use(value)
							if err != nil {
								if code := fault.CodeOf(err); code != "apikey.revoked" {
									t.Errorf("refused with %s", code)
								}
								return
							}
							if opened[i] = p; was || p.ID != k.ID {
								t.Error("a revoked key passed")
							}
						}
					})
				}
				testkit.Must0(t, w.Revoke(t.Context(), owner, k.ID))
				revoked.Store(true)
				wg.Wait()
				for _, p := range opened {
					if p != nil && (!ended(p) || p.Live(w.clock.Now())) {
						t.Error("a stream goes on")
					}
				}
				_, err := w.use(value)
				testkit.Fault(t, err, "apikey.revoked")
			}
		})
		t.Run("others' keys do not exist, but staff may end them", func(t *testing.T) {
			k, _ := w.personal(owner, "mcp:read")
			orgKey, _ := w.create(owner, apikey.Spec{Kind: access.OrganizationKey})
			elsewhere, _, _ := w.organization()
			stranger := w.person(elsewhere, access.Owner)
			for _, by := range []*access.Principal{developer, stranger} {
				for _, key := range []string{k.ID, orgKey.ID, id.New("key"), "key_1", "'", ""} {
					testkit.Fault(t, w.Revoke(t.Context(), by, key), "apikey.not_found")
				}
			}
			mine, value := w.personal(developer, "mcp:read")
			testkit.Must0(t, w.Revoke(t.Context(), owner, id.UUID(mine.ID)))
			_, err := w.use(value)
			testkit.Fault(t, err, "apikey.revoked")
			testkit.Must0(t, w.Revoke(t.Context(), developer, mine.ID)) // again: nothing happens
			events := testkit.Must(db.Value[int64](t.Context(), w.store, `SELECT COUNT(*) FROM events WHERE action = 'key.revoke' AND target_id = $1`, mine.ID))(t)
			testkit.Equal(t, events, int64(1))
		})
		t.Run("a person's key ends none, not even itself", func(t *testing.T) {
			k, value := w.personal(owner, "org:admin", "user:write")
			testkit.Fault(t, w.Revoke(t.Context(), testkit.Must(w.use(value))(t), k.ID), "access.session_only")
		})
		t.Run("a leaked organization key takes what was made with it, and nothing else", func(t *testing.T) {
			leaked, value := w.create(owner, apikey.Spec{Kind: access.OrganizationKey})
			child, childValue := w.create(testkit.Must(w.use(value))(t), apikey.Spec{Kind: access.OrganizationKey})
			_, grandchild := w.create(testkit.Must(w.use(childValue))(t), apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace})
			_, bystander := w.create(owner, apikey.Spec{Kind: access.OrganizationKey})
			testkit.Equal(t, testkit.Must(w.RevokeTree(t.Context(), owner, leaked.ID))(t), 3)
			for _, v := range []string{value, childValue, grandchild} {
				_, err := w.use(v)
				testkit.Fault(t, err, "apikey.revoked")
			}
			testkit.Must(w.use(bystander))(t)
			testkit.Equal(t, testkit.Must(w.RevokeTree(t.Context(), owner, child.ID))(t), 0)
		})
	})
}

func TestRotate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner := w.person(w.org, access.Owner)
		spec := apikey.Spec{Kind: access.PersonalKey, User: owner.User, Scopes: scopes(t, "mcp:read"), ExpiresIn: 90 * 24 * time.Hour}
		t.Run("the old key lives on for the grace, to the second, and both are listed", func(t *testing.T) {
			old, oldValue := w.create(owner, spec)
			stream := testkit.Must(w.use(oldValue))(t)
			w.clock.Advance(24 * time.Hour)
			next, v, err := w.Rotate(t.Context(), owner, old.ID, time.Minute)
			testkit.Must0(t, err)
			testkit.Equal(t, next.ExpiresAt, w.clock.Now().Add(spec.ExpiresIn))
			testkit.Equal(t, next.Scopes, old.Scopes)
			w.clock.Advance(time.Minute - time.Second)
			testkit.Must(w.use(oldValue))(t)
			testkit.Must(w.use(v.Reveal()))(t)
			if ended(stream) {
				t.Error("a stream ended within the grace")
			}
			keys, total, err := w.List(t.Context(), apikey.Filter{User: owner.User})
			testkit.Must0(t, err)
			if total != 2 || keys[0].ID != next.ID || keys[1].ReplacedBy != next.ID || !keys[1].LastUsedAt.Equal(w.clock.Now()) {
				t.Errorf("listed: %+v", keys)
			}
			w.clock.Advance(time.Second)
			_, err = w.use(oldValue)
			testkit.Fault(t, err, "apikey.expired")
			testkit.Must(w.use(v.Reveal()))(t)
			_, _, err = w.Rotate(t.Context(), owner, old.ID, 0)
			testkit.Fault(t, err, "apikey.rotated")
		})
		t.Run("no grace ends it at once", func(t *testing.T) {
			old, oldValue := w.create(owner, spec)
			p := testkit.Must(w.use(oldValue))(t)
			w.rotate(owner, old, 0)
			_, err := w.use(oldValue)
			testkit.Fault(t, err, "apikey.revoked")
			if !ended(p) {
				t.Error("its stream goes on")
			}
		})
		t.Run("a grace never lengthens a life", func(t *testing.T) {
			old, _ := w.create(owner, apikey.Spec{Kind: access.PersonalKey, User: owner.User, Scopes: scopes(t, "mcp:read"), ExpiresIn: time.Hour})
			w.rotate(owner, old, 24*time.Hour)
			testkit.Equal(t, testkit.Must(w.Get(t.Context(), owner, old.ID))(t).ExpiresAt, old.ExpiresAt)
		})
		t.Run("only its person gets the new text", func(t *testing.T) {
			old, _ := w.create(owner, spec)
			_, _, err := w.Rotate(t.Context(), w.person(w.org, access.Owner), old.ID, 0)
			testkit.Fault(t, err, "access.session_only")
		})
		t.Run("eight days are too long", func(t *testing.T) {
			_, _, err := w.Rotate(t.Context(), owner, id.New("key"), 8*24*time.Hour)
			testkit.Fault(t, err, "apikey.grace")
		})
		t.Run("of parallel rotations one succeeds", func(t *testing.T) {
			old, _ := w.create(owner, spec)
			var done atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					_, _, err := w.Rotate(t.Context(), owner, old.ID, time.Hour)
					if err == nil {
						done.Add(1)
					} else if fault.CodeOf(err) != "apikey.rotated" {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, done.Load(), int64(1))
		})
	})
}

func TestLastUse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner := w.person(w.org, access.Owner)
		k, value := w.personal(owner, "mcp:read")
		stored := func() int64 {
			return testkit.Must(db.Value[int64](t.Context(), w.store, `SELECT COALESCE(last_used_at, 0) FROM keys WHERE id = $1`, k.ID))(t)
		}
		for range 50 {
			testkit.Must(w.use(value))(t)
		}
		t.Run("is shown before it is written", func(t *testing.T) {
			testkit.Equal(t, stored(), int64(0))
			testkit.Equal(t, testkit.Must(w.Get(t.Context(), owner, k.ID))(t).LastUsedAt, w.clock.Now())
		})
		t.Run("is written once, and only when there was a use", func(t *testing.T) {
			testkit.Must0(t, w.Flush(t.Context()))
			testkit.Equal(t, stored(), w.clock.Now().UnixMilli())
			before := w.store.Queries()
			testkit.Must0(t, w.Flush(t.Context()))
			testkit.Equal(t, w.store.Queries(), before)
		})
		t.Run("outlives the key's revocation", func(t *testing.T) {
			w.clock.Advance(time.Hour)
			testkit.Must(w.use(value))(t)
			testkit.Must0(t, w.Revoke(t.Context(), owner, k.ID))
			testkit.Must0(t, w.Flush(t.Context()))
			testkit.Equal(t, stored(), w.clock.Now().UnixMilli())
		})
		t.Run("is written when the service stops, which also ends streams meanwhile", func(t *testing.T) {
			k, value := w.personal(owner, "mcp:read")
			p := testkit.Must(w.use(value))(t)
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan error, 1)
			go func() { stopped <- w.Run(ctx) }()
			w.change("membership", owner.User, `UPDATE memberships SET active = FALSE WHERE user_id = $1`, owner.User)
			select {
			case <-p.Revoked():
			case <-time.After(10 * time.Second):
				t.Error("the stream goes on")
			}
			cancel()
			testkit.Must0(t, <-stopped)
			got := testkit.Must(db.Value[int64](t.Context(), w.store, `SELECT COALESCE(last_used_at, 0) FROM keys WHERE id = $1`, k.ID))(t)
			testkit.Equal(t, got, w.clock.Now().UnixMilli())
		})
	})
}
