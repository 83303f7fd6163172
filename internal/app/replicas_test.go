package app_test

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"headgate/internal/testkit"
)

// TestReplicas runs two servers over one PostgreSQL: what is taken away at one
// is gone at the other by the time the first has answered.
func TestReplicas(t *testing.T) {
	one := newHouse(t, testkit.PostgresURL(t))
	two := newHouse(t, one.database)
	two.data = one.data
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
