package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// TestBadServers calls tools that misbehave, alone and all at once: each call
// ends in time with an error that says what happened, nothing of the server's
// is charged, and the log has the cause.
func TestBadServers(t *testing.T) {
	h := newHouse(t)
	quick := func(in *catalog.ServerInput) { in.Timeout = 700 * time.Millisecond }
	for name, era := range map[string]rawmcp.Era{"old": rawmcp.Legacy, "new": rawmcp.Modern} {
		for i, c := range []struct {
			tool, arguments, cause string
			code, charged          int
		}{
			{"hang", `{}`, "upstream.timeout", 504, 0},
			{"dribble", `{"text":"xxxxxxxxxxxxxxxxxxxx"}`, "upstream.timeout", 504, 0},
			{"garbage", `{}`, "upstream.nonsense", 502, 0},
			{"wrong_id", `{}`, "upstream.nonsense", 502, 0},
			{"huge", `{}`, "upstream.too_large", 502, 0},
			{"die", `{}`, "upstream.lost", 502, 0},
			{"status", `{"code":503}`, "upstream.failed", 502, 0},
			{"status", `{"code":302}`, "upstream.nonsense", 502, 0},
			{"status", `{"code":403}`, "upstream_rejected", 502, 1},
			{"status", `{"code":401}`, "upstream.auth", 401, 0},
			{"rpc_error", `{}`, "upstream_rejected", mcp.CodeInvalidParams, 1},
			{"tool_error", `{}`, "tool_error", 0, 1},
		} {
			t.Run(name+" "+c.tool+c.arguments, func(t *testing.T) {
				h.t = t
				slug := fmt.Sprintf("%s-%d", name, i) // a breaker of its own
				up := h.raw(slug, rawmcp.Options{Era: era}, quick)
				before, lines := h.balance(), len(h.lines())
				start := time.Now()
				r := h.modern("/mcp/"+slug, "tools/call", fmt.Sprintf(`"name":%q,"arguments":%s`, c.tool, c.arguments))
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("took %s", took)
				}
				if r.status != 200 || r.code(t) != c.code {
					t.Errorf("%d %s", r.status, r.body)
				}
				all := h.lines()
				if len(all) != lines+1 || all[lines] != c.cause {
					t.Errorf("the log says %v", all[lines:])
				}
				if got := before - h.balance(); got != int64(c.charged) || up.Calls() != 1 {
					t.Errorf("charged %d for %d calls", got, up.Calls())
				}
			})
		}
	}
	h.t = t
	t.Run("all at once harm nobody else", func(t *testing.T) {
		up := h.raw("mixed", rawmcp.Options{}, func(in *catalog.ServerInput) { in.Timeout = 2 * time.Second })
		good := h.raw("good", rawmcp.Options{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		var codes []int
		for i := range 60 {
			tool := []string{"hang", "garbage", "die", "wrong_id", "status", "huge"}[i%6]
			wg.Go(func() {
				r := h.modern("/mcp/mixed", "tools/call", fmt.Sprintf(`"name":%q,"arguments":{"code":500}`, tool))
				mu.Lock()
				defer mu.Unlock()
				codes = append(codes, r.code(t))
			})
			wg.Go(func() {
				nonce := fmt.Sprintf("nonce-%d", i)
				if r := h.modern("/mcp/good", "tools/call", fmt.Sprintf(`"name":"echo","arguments":{"text":%q}`, nonce)); !strings.Contains(r.body, nonce) {
					t.Errorf("%s got %s", nonce, r.body)
				}
			})
		}
		wg.Wait()
		if slices.Contains(codes, 0) || good.Calls() != 60 {
			t.Errorf("codes %v, %d good calls of 60, %d of the others reached the server", codes, good.Calls(), up.Calls())
		}
	})
	t.Run("a server that nobody can reach, in another organization's eyes too, says so", func(t *testing.T) {
		h.serve("gone", nowhere(t))
		r := h.modern("/mcp/gone", "tools/call", echo)
		if r.status != http.StatusOK || r.code(t) != 502 || !strings.Contains(r.body, "upstream.unreachable") || strings.Contains(r.body, "127.0.0.1") {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("one that is switched off is not called", func(t *testing.T) {
		off := false
		d := h.serve("off", nowhere(t))
		testkit.Must(h.catalog.UpdateServer(t.Context(), h.owner, d.ID, catalog.ServerChange{Enabled: &off}))(t)
		for _, path := range []string{"/mcp/off", "/mcp"} {
			name := map[string]string{"/mcp/off": "echo", "/mcp": "off_echo"}[path]
			if r := h.modern(path, "tools/call", `"name":"`+name+`"`); !strings.Contains(r.body, "call.disabled") {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
	})
	t.Run("a principal's rate is HTTP 429", func(t *testing.T) {
		key := "Authorization: Bearer " + h.mint(h.owner, access.Every)
		h.terms.Rate.PerMinute, h.terms.Rate.Burst = 1, 1
		defer func() { h.terms.Rate.PerMinute, h.terms.Rate.Burst = 10_000_000, 1_000_000 }()
		h.modern("/mcp/good", "tools/call", echo, key)
		if r := h.modern("/mcp/good", "tools/call", echo, key); r.status != 429 || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// nowhere is a URL that nothing listens at.
func nowhere(t *testing.T) string {
	t.Helper()
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	testkit.Must0(t, l.Close())
	return "http://" + l.Addr().String() + "/mcp"
}
