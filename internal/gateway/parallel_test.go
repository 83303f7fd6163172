package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"headgate/internal/access"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// TestEverybodysOwn makes 200 calls at once from 20 clients of both eras, all
// with id 1, to servers of both eras behind one endpoint: with a nonce each,
// plain, as a stream, with progress, slow and fast.
func TestEverybodysOwn(t *testing.T) {
	h := newHouse(t)
	ups := []*rawmcp.Server{h.raw("both", rawmcp.Options{}), h.raw("old", rawmcp.Options{Era: rawmcp.Legacy}), h.raw("new", rawmcp.Options{Era: rawmcp.Modern})}
	servers := []string{"both", "old", "new"}
	tools := []string{"echo", "echo_sse", "slow"}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for c := range 20 {
		key := "Authorization: Bearer " + h.mint(h.owner, access.Every)
		for n := range 10 {
			server, tool := servers[(c+n)%3], tools[n%3]
			nonce := fmt.Sprintf("nonce-%d-%d", c, n)
			params := fmt.Sprintf(`"name":"%s_%s","arguments":{"text":%q,"ms":%d}`, server, tool, nonce, n*3)
			var r *http.Request
			if c%2 == 0 {
				r = h.modernRequest(context.Background(), "/mcp", "tools/call", params, key)
			} else { // each call of a legacy client in a session of its own, since ids are unique in one
				s := &legacy{h: h, path: "/mcp", rev: "2025-11-25", id: h.sessionID("/mcp", key)}
				r = h.request(context.Background(), "POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{%s}}`, params), s.headers(key)...)
			}
			wg.Go(func() {
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				e := newEvents(t, resp)
				got := e.message()
				if !strings.Contains(got, `"`+nonce+`"`) || string(parse(t, got).ID) != "1" {
					t.Errorf("%s got %s", nonce, got)
				}
			})
		}
	}
	wg.Wait()
	var calls int64
	for _, up := range ups {
		calls += up.Calls()
	}
	testkit.Equal(t, calls, int64(200))
	testkit.Equal(t, h.balance(), int64(1_000_000-200))
	testkit.Equal(t, len(h.lines()), 200)
}

// sessionID opens a session and returns its id.
func (h *house) sessionID(path string, headers ...string) string {
	h.t.Helper()
	r := h.send("POST", path, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, headers...)
	r.result(h.t)
	return r.header.Get("Mcp-Session-Id")
}
