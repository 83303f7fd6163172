package app_test

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

// TestReplicas runs two servers over one PostgreSQL: what is taken away at one
// is gone at the other by the time the first has answered.
func TestReplicas(t *testing.T) {
	one := newHouse(t, testkit.PostgresURL(t))
	two := newHouse(t, one.database)
	two.data = one.data
	store := one.open()
	defer store.Close()
	testkit.Must(db.Exec(t.Context(), store, `INSERT INTO mcp_sessions (hash, level, subscriptions, ended, expires_at) VALUES ($1, '', '[]', $2, 1)`, []byte("old"), true))(t)
	for _, h := range []*house{one, two} {
		h.flags = []string{"--base-url", "https://gate.example.com", "--allow-hosts", "127.0.0.1"}
		h.start()
	}
	owner := one.owner()
	uses := func(h *house, credential string) int {
		req := testkit.Must(http.NewRequest(http.MethodGet, "http://"+h.addr+"/v1/mcp/services", nil))(t)
		req.Header.Set("Authorization", "Bearer "+credential)
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		_ = res.Body.Close()
		return res.StatusCode
	}
	want := func(what, credential string, status int) {
		t.Helper()
		if a, b := uses(one, credential), uses(two, credential); a != status || b != status {
			t.Errorf("%s: %d here, %d there, want %d", what, a, b, status)
		}
	}
	want("the owner", owner, 200)
	for range 5 {
		made := one.say(201, owner, "POST", "/v1/users/me/api-keys", object{"name": "k", "scopes": []string{"mcp:read"}})
		key := in(made, "data", "apiKey", "key")
		want("a new key", key, 200)
		two.say(204, owner, "DELETE", "/v1/users/me/api-keys/"+in(made, "data", "apiKey", "id"), nil)
		want("a revoked key", key, 401)
	}
	other := two.owner()
	want("a second session", other, 200)
	one.say(200, other, "POST", "/v1/auth/logout", nil)
	want("a session that has ended", other, 401)

	t.Run("an MCP session that a client ends at one is over at the other, which knew it", func(t *testing.T) {
		made := one.say(201, owner, "POST", "/v1/users/me/api-keys", object{"name": "m", "scopes": []string{"mcp:read", "mcp:write"}})
		key := in(made, "data", "apiKey", "key")
		mcp := func(h *house, method, session, body string) *http.Response {
			req := testkit.Must(http.NewRequest(method, "http://"+h.addr+"/mcp", strings.NewReader(body)))(t)
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("Content-Type", "application/json")
			if session != "" {
				req.Header.Set("Mcp-Session-Id", session)
			}
			res := testkit.Must(http.DefaultClient.Do(req))(t)
			_ = res.Body.Close()
			return res
		}
		const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
		begun := mcp(one, "POST", "", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		session := begun.Header.Get("Mcp-Session-Id")
		for _, h := range []*house{one, two} {
			testkit.Equal(t, mcp(h, "POST", session, ping).StatusCode, 200)
		}
		testkit.Equal(t, mcp(one, "DELETE", session, "").StatusCode, 204)
		for _, h := range []*house{one, two} {
			testkit.Equal(t, mcp(h, "POST", session, ping).StatusCode, 404)
		}
		one.soon("what was noted of an expired session goes, this does not", func() bool {
			return testkit.Must(db.Value[int64](t.Context(), store, `SELECT COUNT(*) FROM mcp_sessions`))(t) == 1
		})
	})
	t.Run("one that stands still is not waited for beyond its lease, and then refuses", func(t *testing.T) {
		made := one.say(201, owner, "POST", "/v1/users/me/api-keys", object{"name": "k", "scopes": []string{"mcp:read"}})
		key := in(made, "data", "apiKey", "key")
		want("a new key", key, 200)
		testkit.Must0(t, two.cmd.Process.Signal(syscall.SIGSTOP))
		start := time.Now()
		one.say(204, owner, "DELETE", "/v1/users/me/api-keys/"+in(made, "data", "apiKey", "id"), nil)
		if took := time.Since(start); took < 2*time.Second || took > 10*time.Second {
			t.Errorf("revoking took %v", took)
		}
		testkit.Must0(t, two.cmd.Process.Signal(syscall.SIGCONT))
		if got := uses(two, key); got != http.StatusServiceUnavailable && got != http.StatusUnauthorized {
			t.Errorf("right after it woke up the revoked key is %d", got)
		}
		two.soon("the other one refuses the key", func() bool { return uses(two, key) == 401 })
		two.soon("and trusts itself again", func() bool { return uses(two, owner) == 200 })
	})
	for _, h := range []*house{two, one} {
		h.stop(os.Signal(syscall.SIGTERM))
	}
}
