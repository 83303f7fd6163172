package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// TestOutage takes the disk and the database away from a running server and
// gives them back: nothing is called that could not be recorded, every answer
// meanwhile is a 503 that says when to come back, and nothing has to be restarted.
func TestOutage(t *testing.T) {
	t.Run("a disk that takes no more", func(t *testing.T) {
		h := newHouse(t, "")
		h.outage(
			func() { h.fileSize(1) }, // every write fails, the journal's too
			func() { h.fileSize(unix.RLIM_INFINITY) })
	})
	t.Run("a PostgreSQL that is gone", func(t *testing.T) {
		database := testkit.PostgresURL(t)
		u := testkit.Must(url.Parse(database))(t)
		name := path.Base(u.Path)
		u.Path = "/postgres"
		admin := testkit.Must(db.Open(t.Context(), u.String(), db.Options{Connections: 1}))(t)
		t.Cleanup(func() { _ = admin.Close() })
		h := newHouse(t, database)
		h.outage(
			func() {
				testkit.Must(db.Exec(t.Context(), admin, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS false`))(t)
				testkit.Must(db.All(t.Context(), admin, func(ok *bool) []any { return []any{ok} },
					`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name))(t)
			},
			func() { testkit.Must(db.Exec(t.Context(), admin, `ALTER DATABASE `+name+` ALLOW_CONNECTIONS true`))(t) })
	})
}

// fileSize limits how large the server may make a file, which to it is a full disk.
func (h *house) fileSize(soft uint64) {
	h.t.Helper()
	testkit.Must0(h.t, unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: soft, Max: unix.RLIM_INFINITY}, nil))
}

func (h *house) outage(begin, end func()) {
	t := h.t
	up := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(t)
	t.Cleanup(up.Close)
	h.start()
	register := func(name string) (int, string, string) {
		return h.rest(http.MethodPost, "/v1/mcp/servers", `{"slug":"`+name+`","url":"`+up.URL()+`"}`)
	}
	status, body, _ := register("raw")
	var made struct {
		Data struct{ Server struct{ ServiceID string } }
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusCreated {
		t.Fatalf("register: %d %s", status, body)
	}
	call := func() (int, string, string) {
		return h.rest(http.MethodPost, "/v1/mcp/execute/tool", `{"serviceId":"`+made.Data.Server.ServiceID+`","toolName":"echo","parameters":{"text":"hi"}}`)
	}
	if status, body, _ := call(); status != http.StatusOK {
		t.Fatalf("before the outage: %d %s", status, body)
	}
	begin()
	call() // may be the one that finds it out
	before := up.Calls()
	for range 5 {
		if status, body, wait := call(); status != http.StatusServiceUnavailable || wait == "" || !strings.Contains(body, `"SERVICE_UNAVAILABLE"`) {
			t.Errorf("a call: %d, Retry-After %q, %s", status, wait, body)
		}
	}
	if n := up.Calls() - before; n != 0 {
		t.Errorf("%d calls were made that could not be recorded", n)
	}
	if status, body, wait := register("other"); status != http.StatusServiceUnavailable || wait == "" {
		t.Errorf("a change: %d, Retry-After %q, %s", status, wait, body)
	}
	if status, body, _ := h.rest(http.MethodGet, "/healthz", ""); status != http.StatusOK {
		t.Errorf("the server lives, and /healthz says %d %s", status, body)
	}
	end()
	h.soon("a call after the outage", func() bool { status, _, _ := call(); return status == http.StatusOK })
	h.soon("/readyz after the outage", func() bool { status, _, _ := h.rest(http.MethodGet, "/readyz", ""); return status == http.StatusOK })
	h.stop(syscall.SIGTERM)
	h.waitIdle()
	h.audit(nil)
}

// soon waits for what must happen within five seconds.
func (h *house) soon(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("%s: not within five seconds", what)
		}
	}
}

// rest sends a request with the key of the first run.
func (h *house) rest(method, route, body string) (status int, answer, retryAfter string) {
	h.t.Helper()
	req := testkit.Must(http.NewRequest(method, "http://"+h.addr+route, strings.NewReader(body)))(h.t)
	req.Header.Set("Authorization", "Bearer "+h.first.APIKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res := testkit.Must(http.DefaultClient.Do(req))(h.t)
	defer res.Body.Close()
	return res.StatusCode, string(testkit.Must(io.ReadAll(res.Body))(h.t)), res.Header.Get("Retry-After")
}
