package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"headgate/internal/app"
	"headgate/internal/db"
	"headgate/internal/settings"
	"headgate/internal/testkit"
)

func load(t *testing.T, data string, more map[string]string) *settings.Settings {
	t.Helper()
	flags := map[string]string{"data": data, "listen": "127.0.0.1:0"}
	for k, v := range more {
		flags[k] = v
	}
	return testkit.Must(settings.Load("", func(string) string { return "" }, flags))(t)
}

func TestFirstStart(t *testing.T) {
	ctx := context.Background()
	data := filepath.Join(t.TempDir(), "data")
	quiet := slog.New(slog.DiscardHandler)
	read := func() app.FirstRun {
		path := filepath.Join(data, "first-run.json")
		info := testkit.Must(os.Stat(path))(t)
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("mode %v", info.Mode())
		}
		var f app.FirstRun
		testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(path))(t), &f))
		return f
	}
	a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
	first := read()
	t.Run("leaves everything a first call needs", func(t *testing.T) {
		for name, v := range map[string]string{"url": first.URL, "mcpUrl": first.MCPURL, "ownerEmail": first.OwnerEmail, "ownerPassword": first.OwnerPassword,
			"apiKey": first.APIKey, "organizationKey": first.OrganizationKey, "operatorKey": first.OperatorKey} {
			if v == "" {
				t.Errorf("%s is empty", name)
			}
		}
		n := testkit.Must(db.Value[int64](ctx, a.Store, `SELECT purchased FROM accounts`))(t)
		if n != 1_000_000_000 {
			t.Fatalf("the home account has %d credits", n)
		}
	})
	t.Run("keeps no secret in the database", func(t *testing.T) {
		testkit.Must0(t, a.Close())
		for _, file := range []string{"headgate.db", "headgate.db-wal", "logs.db"} {
			text, err := os.ReadFile(filepath.Join(data, file))
			if err != nil {
				continue
			}
			for _, secret := range []string{first.APIKey, first.OrganizationKey, first.OperatorKey, first.OwnerPassword} {
				if bytes.Contains(text, []byte(secret)) {
					t.Errorf("%s holds a secret in plain", file)
				}
			}
		}
	})
	t.Run("is made once, and the keys stay", func(t *testing.T) {
		a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		defer a.Close()
		testkit.Equal(t, read(), first)
		if n := testkit.Must(db.Value[int64](ctx, a.Store, `SELECT COUNT(*) FROM keys`))(t); n != 3 {
			t.Fatalf("%d keys", n)
		}
	})
	t.Run("goes on where it was cut off", func(t *testing.T) {
		a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		testkit.Must(db.Exec(ctx, a.Store, `DELETE FROM installation WHERE name = 'first-run'`))(t)
		testkit.Must0(t, a.Close())
		cut := first
		cut.APIKey, cut.OrganizationKey, cut.OperatorKey = "", "", ""
		testkit.Must0(t, os.WriteFile(filepath.Join(data, "first-run.json"), testkit.Must(json.Marshal(cut))(t), 0o600))
		a = testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		defer a.Close()
		again := read()
		if again.OwnerPassword != first.OwnerPassword || again.APIKey == first.APIKey || again.APIKey == "" {
			t.Fatalf("got %+v", again)
		}
		if n := testkit.Must(db.Value[int64](ctx, a.Store, `SELECT COUNT(*) FROM keys WHERE revoked_at IS NULL`))(t); n != 3 {
			t.Fatalf("%d live keys: those nobody saw must be revoked", n)
		}
	})
	t.Run("a missing or foreign keys file refuses to start", func(t *testing.T) {
		path := filepath.Join(data, "keys.json")
		right := testkit.Must(os.ReadFile(path))(t)
		testkit.Must0(t, os.Remove(path))
		if _, err := app.Open(ctx, load(t, data, nil), "test", quiet); err == nil || !strings.Contains(err.Error(), "keys file") {
			t.Fatalf("got %v", err)
		}
		other := filepath.Join(t.TempDir(), "data")
		b := testkit.Must(app.Open(ctx, load(t, other, nil), "test", quiet))(t)
		testkit.Must0(t, b.Close())
		if _, err := app.Open(ctx, load(t, data, map[string]string{"keys": filepath.Join(other, "keys.json")}), "test", quiet); err == nil || !strings.Contains(err.Error(), "does not belong") {
			t.Fatalf("got %v", err)
		}
		// The master key of this one, the pepper of that: every credential would be refused.
		var own, foreign map[string]json.RawMessage
		testkit.Must0(t, json.Unmarshal(right, &own))
		testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(other, "keys.json")))(t), &foreign))
		own["pepper"] = foreign["pepper"]
		testkit.Must0(t, os.WriteFile(path, testkit.Must(json.Marshal(own))(t), 0o600))
		if _, err := app.Open(ctx, load(t, data, nil), "test", quiet); err == nil || !strings.Contains(err.Error(), "lacks the pepper") {
			t.Fatalf("got %v", err)
		}
		testkit.Must0(t, os.WriteFile(path, right, 0o600))
	})
	t.Run("a check value without the pepper is replaced", func(t *testing.T) {
		a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		testkit.Must(db.Exec(ctx, a.Store, `UPDATE installation SET value = $1 WHERE name = 'check'`, a.Keys.Seal("installation:check", []byte("headgate"))))(t)
		testkit.Must0(t, a.Close())
		a = testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		defer a.Close()
		if complete, err := a.Keys.Verify(testkit.Must(db.Value[[]byte](ctx, a.Store, `SELECT value FROM installation WHERE name = 'check'`))(t)); err != nil || !complete {
			t.Fatal(complete, err)
		}
	})
	t.Run("the credentials still in the file are told of at each start", func(t *testing.T) {
		for _, there := range []bool{true, false} {
			if !there {
				testkit.Must0(t, os.Remove(filepath.Join(data, "first-run.json")))
			}
			var log bytes.Buffer
			a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", slog.New(slog.NewTextHandler(&log, nil))))(t)
			testkit.Must0(t, a.Close())
			if strings.Contains(log.String(), "change the owner's password") != there {
				t.Errorf("with the file %v it says: %s", there, log.String())
			}
		}
	})
	t.Run("two processes cannot share a data directory", func(t *testing.T) {
		a := testkit.Must(app.Open(ctx, load(t, data, nil), "test", quiet))(t)
		defer a.Close()
		if _, err := app.Open(ctx, load(t, data, nil), "test", quiet); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Fatalf("got %v", err)
		}
	})
}

// TestNetworks: servers on this machine are allowed where nobody else reaches
// the listener, and private networks where the operator named them.
func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		listen, allow string
		open, shut    []string
	}{
		{"127.0.0.1:0", "", []string{"127.0.0.1", "::1"}, []string{"10.1.2.3", "169.254.169.254"}},
		{"0.0.0.0:0", "", nil, []string{"127.0.0.1", "::1", "10.1.2.3"}},
		{"0.0.0.0:0", "10.1.0.0/16, 127.0.0.0/8", []string{"10.1.2.3", "127.0.0.1"}, []string{"10.2.2.3", "::1", "169.254.169.254"}},
	} {
		a := testkit.Must(app.Open(t.Context(), load(t, filepath.Join(t.TempDir(), "data"), map[string]string{"listen": c.listen, "allow-networks": c.allow}), "test", slog.New(slog.DiscardHandler)))(t)
		for _, address := range append(c.open, c.shut...) {
			if open := a.Guard.CheckAddr(netip.MustParseAddr(address)) == nil; open != slices.Contains(c.open, address) {
				t.Errorf("listening on %s, allowing %q: %s is open = %v", c.listen, c.allow, address, open)
			}
		}
		testkit.Must0(t, a.Close())
	}
}

// TestFirstStartsAtOnce lets three with keys of their own begin on one empty
// PostgreSQL. What one seals another could not open, so one goes on.
func TestFirstStartsAtOnce(t *testing.T) {
	url := testkit.PostgresURL(t)
	var all [3]*settings.Settings
	for i := range all {
		all[i] = load(t, filepath.Join(t.TempDir(), "data"), map[string]string{"database": url})
	}
	var errs [len(all)]error
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			a, err := app.Open(t.Context(), s, "test", slog.New(slog.DiscardHandler))
			if err == nil {
				err = a.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	went := 0
	for _, err := range errs {
		if err == nil {
			went++
		} else if !strings.Contains(err.Error(), "keys file") {
			t.Error(err)
		}
	}
	if went != 1 {
		t.Errorf("%d went on: %v", went, errs)
	}
}

// TestStartText reads what a person sees on the terminal, first and second time.
func TestStartText(t *testing.T) {
	h := newHouse(t, "")
	var out [2]bytes.Buffer
	for i := range out {
		h.out = &out[i]
		h.start()
		h.stop(syscall.SIGTERM)
	}
	for _, secret := range []string{h.first.APIKey, "op_", "ok_"} {
		if !strings.Contains(out[0].String(), secret) {
			t.Errorf("the first start does not show %.4s…", secret)
		}
		if strings.Contains(out[1].String(), secret) {
			t.Errorf("the second start shows %.4s…", secret)
		}
	}
	for i := range out {
		if !strings.Contains(out[i].String(), "servers on loopback may be registered") {
			t.Errorf("it does not say that it allows servers on loopback:\n%s", out[i].String())
		}
	}
	if !strings.Contains(out[1].String(), "/mcp") || !strings.Contains(out[1].String(), "call demo echo") {
		t.Errorf("the second start says:\n%s", out[1].String())
	}
}

func TestPasswordChangeDeletesTheFile(t *testing.T) {
	h := newHouse(t, "")
	h.start()
	var f app.FirstRun
	path := filepath.Join(h.data, "first-run.json")
	testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(path))(t), &f))
	post := func(route, token string, body map[string]string) map[string]any {
		t.Helper()
		req := testkit.Must(http.NewRequest(http.MethodPost, "http://"+h.addr+route, bytes.NewReader(testkit.Must(json.Marshal(body))(t))))(t)
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		defer res.Body.Close()
		text := testkit.Must(io.ReadAll(res.Body))(t)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", route, res.StatusCode, text)
		}
		var v struct{ Data map[string]any }
		testkit.Must0(t, json.Unmarshal(text, &v))
		return v.Data
	}
	token, _ := post("/v1/auth/login", "", map[string]string{"email": f.OwnerEmail, "password": f.OwnerPassword})["token"].(string)
	post("/v1/users/me/change-password", token, map[string]string{"currentPassword": f.OwnerPassword, "newPassword": "a much longer phrase 4711"})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("the file with the old password is still there: %v", err)
	}
}
