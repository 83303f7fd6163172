package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

// built is where binary put it; "" as long as no test has asked for it.
var built string

// binary builds headgate once for the tests of this package.
var binary = sync.OnceValues(func() (_ string, err error) {
	if built, err = os.MkdirTemp("", "headgate-binary-"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "headgate")
	out, err := exec.Command("go", "build", "-o", path, "headgate/cmd/headgate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// house is a headgate process and where its data is.
type house struct {
	t        *testing.T
	data     string
	database string // "" for SQLite
	addr     string
	cmd      *exec.Cmd
	log      bytes.Buffer
	out      io.Writer // the terminal; nil throws it away
	flags    []string  // more of them
	first    struct{ APIKey, MCPURL string }
}

// eachHouse runs a test on the program over each engine.
func eachHouse(t *testing.T, test func(t *testing.T, h *house)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			database := ""
			if engine == "postgres" {
				database = testkit.PostgresURL(t)
			}
			test(t, newHouse(t, database))
		})
	}
}

func newHouse(t *testing.T, database string) *house {
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	h := &house{t: t, data: filepath.Join(t.TempDir(), "data"), database: database, addr: l.Addr().String()}
	t.Cleanup(func() {
		if h.cmd != nil {
			_ = h.cmd.Process.Kill()
			_ = h.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", h.log.String())
		}
	})
	return h
}

func (h *house) start() {
	h.t.Helper()
	args := []string{"serve", "--listen", h.addr, "--data", h.data, "--log-level", "warn"}
	if h.database != "" {
		args = append(args, "--database", h.database)
	}
	args = append(args, h.flags...)
	h.cmd = exec.Command(testkit.Must(binary())(h.t), args...)
	h.cmd.Stderr, h.cmd.Stdout = &h.log, h.out
	testkit.Must0(h.t, h.cmd.Start())
	ready := time.Now().Add(20 * time.Second)
	for {
		res, err := http.Get("http://" + h.addr + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(ready) {
			h.t.Fatalf("not ready: %v\n%s", err, h.log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	testkit.Must0(h.t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(h.data, "first-run.json")))(h.t), &h.first))
}

func (h *house) stop(sig os.Signal) {
	h.t.Helper()
	testkit.Must0(h.t, h.cmd.Process.Signal(sig))
	err := h.cmd.Wait()
	h.cmd = nil
	if sig == syscall.SIGTERM && err != nil {
		h.t.Fatalf("a stop on request failed: %v\n%s", err, h.log.String())
	}
}

// call makes one call and returns its request id once the whole answer is read.
func (h *house) call(ctx context.Context, c *http.Client, n int64) (string, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"demo_echo","arguments":{"text":"n%d"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, n, n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.addr+"/mcp", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + h.first.APIKey, "Content-Type": "application/json",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "demo_echo"} {
		req.Header.Set(k, v)
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK || !strings.Contains(string(answer), fmt.Sprintf(`"n%d"`, n)) || !strings.Contains(string(answer), fmt.Sprintf(`"id":%d,`, n)) {
		return "", fmt.Errorf("status %d: %s", res.StatusCode, answer)
	}
	return res.Header.Get("X-Request-Id"), nil
}

// load calls in parallel until the server dies, and returns what was answered.
func (h *house) load(callers int, until <-chan struct{}) (answered []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer c.CloseIdleConnections()
			for n := int64(i) << 32; ; n++ {
				select {
				case <-until:
					return
				default:
				}
				rid, err := h.call(context.Background(), c, n)
				if err != nil {
					var op *net.OpError
					if !errors.As(err, &op) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "EOF") {
						h.t.Errorf("a call was answered wrongly: %v", err)
					}
					return
				}
				mu.Lock()
				answered = append(answered, rid)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answered
}

// audit opens the store of a stopped server and checks the promise: what was
// answered has one line and one entry, balances are the sum of their entries,
// nothing is held.
func (h *house) audit(answered []string) {
	h.t.Helper()
	ctx := context.Background()
	at := h.database
	if at == "" {
		at = filepath.Join(h.data, "headgate.db")
	}
	s := testkit.Must(db.Open(ctx, at, db.Options{}))(h.t)
	defer s.Close()
	one := func(text string, args ...any) int64 {
		return testkit.Must(db.Value[int64](ctx, s, text, args...))(h.t)
	}
	for _, rid := range answered {
		raw, ok := id.ParseRaw("req", rid)
		if !ok {
			h.t.Fatalf("request id %q", rid)
		}
		if lines, entries := one(`SELECT COUNT(*) FROM calls WHERE id = $1 AND success`, raw[:]), one(`SELECT COUNT(*) FROM entries WHERE call_id = $1`, raw[:]); lines != 1 || entries != 1 {
			h.t.Fatalf("answered call %s has %d lines and %d entries", rid, lines, entries)
		}
	}
	if n := one(`SELECT COUNT(*) FROM calls c WHERE c.credits_charged > 0 AND (SELECT COUNT(*) FROM entries e WHERE e.account_id = c.account_id AND e.call_id = c.id AND e.amount = -c.credits_charged) <> 1`); n != 0 {
		h.t.Fatalf("%d charged calls without their one entry", n)
	}
	if n := one(`SELECT COUNT(*) FROM accounts a WHERE a.monthly + a.purchased <> (SELECT COALESCE(SUM(amount), 0) FROM entries e WHERE e.account_id = a.id)`); n != 0 {
		h.t.Fatalf("%d accounts are not the sum of their entries", n)
	}
	if n := one(`SELECT COALESCE(SUM(leased), 0) FROM accounts`); n != 0 {
		h.t.Fatalf("%d credits are still set aside", n)
	}
}

// TestChaosKill kills the server under load, again and again.
func TestChaosKill(t *testing.T) {
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("HEADGATE_KILLS")); err == nil {
		kills = n
	}
	eachHouse(t, func(t *testing.T, h *house) {
		var answered []string
		for range kills {
			h.start()
			dead := make(chan struct{})
			after := 150*time.Millisecond + time.Duration(rand.Int64N(int64(500*time.Millisecond)))
			go func() {
				defer close(dead)
				time.Sleep(after)
				_ = h.cmd.Process.Kill()
			}()
			got := h.load(12, dead)
			<-dead
			_ = h.cmd.Wait()
			h.cmd = nil
			if len(got) == 0 {
				t.Fatal("the load made no call, so the kill shows nothing")
			}
			answered = append(answered, got...)
		}
		h.start()
		h.waitIdle()
		h.stop(syscall.SIGTERM)
		h.audit(answered)
		t.Logf("%d kills, %d answered calls, none lost", kills, len(answered))
	})
}

// waitIdle lets the leases of dead replicas pass their deadline.
func (h *house) waitIdle() {
	if h.database == "" {
		return
	}
	s := testkit.Must(db.Open(context.Background(), h.database, db.Options{}))(h.t)
	defer s.Close()
	for range 600 {
		if testkit.Must(db.Value[int64](context.Background(), s, `SELECT COALESCE(SUM(leased), 0) FROM accounts`))(h.t) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.t.Fatal("leases of dead replicas are still there after a minute")
}

// TestStop asks the server to stop under load: no request fails for it that
// was accepted, and everything answered is there.
func TestStop(t *testing.T) {
	h := newHouse(t, "")
	h.start()
	over := make(chan struct{})
	go func() {
		time.Sleep(300 * time.Millisecond)
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		close(over)
	}()
	answered := h.load(8, over)
	testkit.Must0(t, h.cmd.Wait())
	h.cmd = nil
	h.audit(answered)
}
