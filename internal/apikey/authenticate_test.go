package apikey_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/quota"
	"headgate/internal/seal"
	"headgate/internal/testkit"

	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAuthenticate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		owner := w.person(w.org, access.Owner)
		t.Run("each kind acts as what it belongs to", func(t *testing.T) {
			account := id.New("acc")
			for _, c := range []struct {
				by   *access.Principal
				spec apikey.Spec
				want access.Principal
			}{
				{owner, apikey.Spec{Kind: access.PersonalKey, User: owner.User, Scopes: scopes(t, "mcp:read")},
					access.Principal{User: owner.User, Role: access.Owner, Scopes: scopes(t, "mcp:read"), Workspace: w.workspace, Account: w.account}},
				{owner, apikey.Spec{Kind: access.DiagnosticsKey, User: owner.User},
					access.Principal{User: owner.User, Role: access.Owner, Scopes: access.Every, Workspace: w.workspace, Account: w.account}},
				{owner, apikey.Spec{Kind: access.AccountKey, User: owner.User, Account: account},
					access.Principal{User: owner.User, Role: access.Owner, Scopes: scopes(t, "mcp:read", "mcp:write"), Workspace: w.workspace, Account: account}},
				{owner, apikey.Spec{Kind: access.OrganizationKey},
					access.Principal{Role: access.Owner, Scopes: access.Every, Workspace: w.workspace, Account: w.account}},
				{owner, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace},
					access.Principal{Role: access.Member, Scopes: scopes(t, "mcp:read", "mcp:write"), Workspace: w.workspace, Account: w.account}},
			} {
				k, value := w.create(c.by, c.spec)
				p, err := w.use(value)
				testkit.Must0(t, err)
				c.want.Kind, c.want.ID, c.want.Name, c.want.Tenant, c.want.Organization = c.spec.Kind, k.ID, "test", w.tenant, w.org
				testkit.Equal(t, *p, c.want, cmpopts.IgnoreUnexported(access.Principal{}))
			}
		})
		t.Run("a known key costs no query", func(t *testing.T) {
			_, value := w.personal(owner, "mcp:read")
			testkit.Must(w.use(value))(t)
			before := w.store.Queries()
			for range 100 {
				testkit.Must(w.use(value))(t)
			}
			testkit.Equal(t, w.store.Queries(), before)
		})
		t.Run("junk costs no query", func(t *testing.T) {
			before := w.store.Queries()
			for _, p := range apikey.Prefixes() {
				good := apikey.Generate(p.Text)
				for _, junk := range []string{"", p.Text, good[:len(good)-1], good + "0", good[:len(good)-1] + "'", strings.ToUpper(good), " " + good, good + "\n", p.Text + "' OR '1'='1", p.Text + strings.Repeat("a", 1<<20), p.Text + "\x00" + good} {
					_, err := w.use(junk)
					testkit.Fault(t, err, "apikey.invalid")
				}
			}
			testkit.Equal(t, w.store.Queries(), before)
		})
		t.Run("an expired key is refused at that very moment", func(t *testing.T) {
			_, value := w.create(owner, apikey.Spec{Kind: access.PersonalKey, User: owner.User, Scopes: scopes(t, "mcp:read"), ExpiresIn: time.Hour})
			w.clock.Advance(time.Hour - time.Millisecond)
			testkit.Must(w.use(value))(t)
			w.clock.Advance(time.Millisecond)
			_, err := w.use(value)
			testkit.Fault(t, err, "apikey.expired")
		})
		t.Run("a key whose hash somebody wrote into the table is refused", func(t *testing.T) {
			value := apikey.Generate("ok_")
			for i, hash := range [][32]byte{sha256.Sum256([]byte(value)), foreignHash(t, value)} {
				w.exec(`INSERT INTO keys (id, kind, hash, pepper_id, organization_id, name, prefix, last_four, scopes, created_at) VALUES ($1, 'organization', $2, 'p1', $3, 'x', 'x', 'x', 'org:admin', 0)`, fmt.Sprint("forged", i), hash[:], w.org)
			}
			_, err := w.use(value)
			testkit.Fault(t, err, "apikey.invalid")
		})
		t.Run("a row of another kind than the text says is refused", func(t *testing.T) {
			k, value := w.personal(owner, "mcp:read")
			w.exec(`UPDATE keys SET kind = 'operator' WHERE id = $1`, k.ID)
			_, err := w.use(value)
			testkit.Fault(t, err, "apikey.invalid")
		})
		t.Run("an older pepper keeps its keys", func(t *testing.T) {
			_, value := w.personal(owner, "mcp:read")
			newer := apikey.New(w.store, withPepper(t, w.keyFile), apikey.Options{Now: w.clock.Now})
			for range 2 {
				testkit.Must(newer.Authenticate(t.Context(), value, home))(t)
			}
			k, v, err := newer.Create(t.Context(), owner, apikey.Spec{Kind: access.OrganizationKey, Organization: w.org, Name: "x"})
			testkit.Must0(t, err)
			testkit.Must(newer.Authenticate(t.Context(), v.Reveal(), home))(t)
			pepper := testkit.Must(db.Value[string](t.Context(), w.store, `SELECT pepper_id FROM keys WHERE id = $1`, k.ID))(t)
			testkit.Equal(t, pepper, "p2")
		})
	})
}

// withPepper returns the keys of the file with a newer pepper before the old.
func withPepper(t *testing.T, file []byte) *seal.Keys {
	t.Helper()
	pepper := fmt.Sprintf(`"pepper": [{"id": "p2", "key": %q},`, base64.StdEncoding.EncodeToString([]byte("thirty-two bytes of a new pepper")))
	return testkit.Must(seal.Parse([]byte(strings.Replace(string(file), `"pepper": [`, pepper, 1))))(t)
}

// foreignHash is the HMAC of an attacker who can write to the database but
// does not have the pepper.
func foreignHash(t *testing.T, value string) [32]byte {
	t.Helper()
	other, _, err := seal.Generate()
	testkit.Must0(t, err)
	sum, _ := other.Hash(value)
	return sum
}

func TestMisses(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		w := newWorld(t, s, apikey.Options{Misses: quota.Limit{PerMinute: 60, Burst: 5}})
		owner := w.person(w.org, access.Owner)
		t.Run("unknown keys are charged to their address, found ones are not", func(t *testing.T) {
			for range 20 {
				_, value := w.personal(owner, "mcp:read")
				testkit.Must(w.use(value))(t)
			}
			for range 5 {
				_, err := w.use(apikey.Generate("sk_"))
				testkit.Fault(t, err, "apikey.invalid")
			}
			_, known := w.personal(owner, "mcp:read")
			before := w.store.Queries()
			_, err := w.use(apikey.Generate("sk_"))
			testkit.Fault(t, err, "apikey.throttled")
			testkit.Equal(t, fault.Of(err).RetryAfter, time.Second)
			testkit.Equal(t, w.store.Queries(), before)
			if _, err := w.Authenticate(t.Context(), known, netip.MustParseAddr("192.0.2.8")); err != nil {
				t.Errorf("another address pays too: %v", err)
			}
			testkit.Must(w.use(known))(t) // known in memory by now: free even for the throttled address
			w.clock.Advance(time.Second)
			_, err = w.use(apikey.Generate("sk_"))
			testkit.Fault(t, err, "apikey.invalid")
		})
		t.Run("an IPv6 subscriber pays as one, mapped IPv4 as IPv4", func(t *testing.T) {
			w.clock.Advance(time.Hour)
			for i := range 5 {
				_, _ = w.Authenticate(t.Context(), apikey.Generate("sk_"), netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)))
				_, _ = w.Authenticate(t.Context(), apikey.Generate("sk_"), netip.MustParseAddr("::ffff:192.0.2.9"))
			}
			for _, addr := range []string{"2001:db8::ffff", "192.0.2.9"} {
				_, err := w.Authenticate(t.Context(), apikey.Generate("sk_"), netip.MustParseAddr(addr))
				testkit.Fault(t, err, "apikey.throttled")
			}
		})
		t.Run("a dead key that goes on being used costs one read and no charge", func(t *testing.T) {
			w.clock.Advance(time.Hour)
			k, value := w.personal(owner, "mcp:read")
			testkit.Must0(t, w.Revoke(t.Context(), owner, k.ID))
			_, err := w.use(value)
			testkit.Fault(t, err, "apikey.revoked")
			before := w.store.Queries()
			for range 50 {
				_, err := w.use(value)
				testkit.Fault(t, err, "apikey.revoked")
			}
			testkit.Equal(t, w.store.Queries(), before)
			_, err = w.use(apikey.Generate("sk_"))
			testkit.Fault(t, err, "apikey.invalid")
		})
		t.Run("parallel first uses of one key share one read", func(t *testing.T) {
			w.clock.Advance(time.Hour)
			_, value := w.personal(owner, "mcp:read")
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					if _, err := w.use(value); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	})
}

func TestOwner(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		admin := w.person(w.org, access.Admin)
		k, value := w.personal(admin, "mcp:read", "mcp:write", "org:write")
		_, orgKey := w.create(admin, apikey.Spec{Kind: access.OrganizationKey})
		_, wsKey := w.create(admin, apikey.Spec{Kind: access.WorkspaceKey, Workspace: w.workspace})
		first := testkit.Must(w.use(value))(t)
		testkit.Must(w.use(orgKey))(t)
		testkit.Must(w.use(wsKey))(t)
		refused := func(t *testing.T, value, code string) {
			t.Helper()
			_, err := w.use(value)
			testkit.Fault(t, err, code)
		}
		t.Run("a change that takes nothing lets streams go on", func(t *testing.T) {
			w.change("user", admin.User, `UPDATE users SET first_name = 'New' WHERE id = $1`, admin.User)
			w.Reread(t.Context())
			testkit.Must(w.use(value))(t)
			if ended(first) {
				t.Error("the stream ended")
			}
		})
		t.Run("a lost role is lost at once, and ends the streams opened with it", func(t *testing.T) {
			w.change("membership", admin.User, `UPDATE memberships SET role = 'viewer' WHERE user_id = $1`, admin.User)
			p := testkit.Must(w.use(value))(t)
			if p.Role != access.Viewer || p.Can(access.OrgManage) || p.Can(access.Call) {
				t.Errorf("still %s", p.Role)
			}
			if !ended(first) || ended(p) {
				t.Error("want the old stream ended and the new one open")
			}
		})
		t.Run("a suspended person's keys stop, without a further use, and come back", func(t *testing.T) {
			p := testkit.Must(w.use(value))(t)
			w.change("user", admin.User, `UPDATE users SET suspended_at = 1 WHERE id = $1`, admin.User)
			w.Reread(t.Context())
			if !ended(p) {
				t.Error("the stream goes on")
			}
			refused(t, value, "apikey.suspended")
			testkit.Must(w.use(orgKey))(t) // belongs to no person
			w.change("user", admin.User, `UPDATE users SET suspended_at = NULL WHERE id = $1`, admin.User)
			testkit.Must(w.use(value))(t)
		})
		t.Run("a suspended organization or tenant stops every key", func(t *testing.T) {
			for table, ref := range map[string]string{"organization": w.org, "tenant": w.tenant} {
				w.change(table, ref, `UPDATE `+table+`s SET suspended_at = 1 WHERE id = $1`, ref)
				for _, v := range []string{value, orgKey, wsKey} {
					refused(t, v, "apikey.suspended")
				}
				w.change(table, ref, `UPDATE `+table+`s SET suspended_at = NULL WHERE id = $1`, ref)
				testkit.Must(w.use(orgKey))(t)
			}
		})
		t.Run("a removed workspace orphans its keys", func(t *testing.T) {
			w.change("workspace", w.workspace, `UPDATE workspaces SET removed_at = 1 WHERE id = $1`, w.workspace)
			refused(t, wsKey, "apikey.orphaned")
			testkit.Equal(t, testkit.Must(w.use(orgKey))(t).Workspace, "")
		})
		t.Run("an account that is made later pays from then on", func(t *testing.T) {
			w.change("organization", w.org, `UPDATE accounts SET user_id = 'none' WHERE id = $1`, w.account)
			testkit.Equal(t, testkit.Must(w.use(orgKey))(t).Account, "")
			w.change("account", w.account, `UPDATE accounts SET user_id = '' WHERE id = $1`, w.account)
			testkit.Equal(t, testkit.Must(w.use(orgKey))(t).Account, w.account)
		})
		t.Run("an account that is switched off ends its own key's streams and uses, until it is on again", func(t *testing.T) {
			account := id.New("acc")
			w.exec(`INSERT INTO accounts (id, number, organization_id, user_id, monthly, purchased, leased, allocation, tier, seq, folded_seq, total_calls, total_used, active, allow_raw_records, created_at)
				VALUES ($1, 99, $2, $3, 0, 0, 0, 0, 'free', 0, 0, 0, 0, TRUE, FALSE, 0)`, account, w.org, admin.User)
			_, own := w.create(admin, apikey.Spec{Kind: access.AccountKey, User: admin.User, Account: account})
			p := testkit.Must(w.use(own))(t)
			w.change("account", account, `UPDATE accounts SET active = FALSE WHERE id = $1`, account)
			w.Reread(t.Context())
			if !ended(p) {
				t.Error("the stream goes on")
			}
			refused(t, own, "apikey.account_off")
			testkit.Must(w.use(value))(t) // pays from another
			w.change("account", account, `UPDATE accounts SET active = TRUE WHERE id = $1`, account)
			testkit.Must(w.use(own))(t)
		})
		t.Run("who left is orphaned, with the reason", func(t *testing.T) {
			w.change("membership", admin.User, `UPDATE memberships SET active = FALSE WHERE user_id = $1`, admin.User)
			_, err := w.use(value)
			if f := fault.Of(err); !errors.Is(err, apikey.ErrOrphaned) || f.Details["reason"] != "ORPHANED_KEY" || f.Kind.Status() != 401 {
				t.Errorf("got %v", err)
			}
		})
		t.Run("a removed organization orphans its keys", func(t *testing.T) {
			w.change("organization", w.org, `UPDATE organizations SET removed_at = 1 WHERE id = $1`, w.org)
			refused(t, orgKey, "apikey.orphaned")
		})
		t.Run("a row that is gone is refused", func(t *testing.T) {
			w.change("key", k.ID, `DELETE FROM keys WHERE id = $1`, k.ID)
			refused(t, value, "apikey.invalid")
		})
	})
}

func ended(p *access.Principal) bool {
	select {
	case <-p.Revoked():
		return true
	default:
		return false
	}
}

func TestCache(t *testing.T) {
	t.Run("is capped, and what falls out is told and comes back", func(t *testing.T) {
		w := newWorld(t, testkit.SQLite(t), apikey.Options{CacheSize: 3})
		owner := w.person(w.org, access.Owner)
		values := make([]string, 10)
		first := make([]*access.Principal, len(values))
		for i := range values {
			_, values[i] = w.personal(owner, "mcp:read")
			first[i] = testkit.Must(w.use(values[i]))(t)
			w.clock.Advance(time.Second)
		}
		open := 0
		for _, p := range first {
			if !ended(p) {
				open++
			}
		}
		testkit.Equal(t, open, 3)
		for _, v := range values {
			testkit.Must(w.use(v))(t)
		}
	})
	t.Run("gives up waiting with the caller, not with the read", func(t *testing.T) {
		w := newWorld(t, testkit.SQLite(t), apikey.Options{})
		_, value := w.personal(w.person(w.org, access.Owner), "mcp:read")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Authenticate(ctx, value, home); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		testkit.Must(w.use(value))(t)
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b), apikey.Options{})
	_, value := w.personal(w.person(w.org, access.Owner), "mcp:read")
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Authenticate(context.Background(), value, home); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("junk", func(b *testing.B) {
		junk := value[:len(value)-1] + "!"
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := apikey.Parse(junk); ok {
				b.Fatal("passed")
			}
		}
	})
}
