package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// TestRounds has a modern server want more and more of a legacy client: the call
// ends with an error, once, and is not charged.
func TestRounds(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, true)
	h.serve("curious", u.URL)
	before := h.balance()
	answer := make(chan reply, 1)
	s := h.initialize("/mcp/curious", "2025-11-25", `{}`)
	go func() { answer <- s.call("tools/call", `{"name":"x"}`) }()
	for rounds := 0; ; rounds++ {
		select {
		case in := <-u.got:
			var m rpc
			decode(t, in.body, &m)
			in.sends(t, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"resultType":"input_required","requestState":"more"}}`, 200)
		case r := <-answer:
			if rounds < 2 || rounds > 10 || r.status != 200 || !strings.Contains(r.body, "eras.rounds") {
				t.Errorf("after %d rounds: %d %s", rounds, r.status, r.body)
			}
			testkit.Equal(t, h.lines(), []string{"eras.rounds"})
			testkit.Equal(t, h.balance(), before)
			return
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
	}
}

// TestTimeouts shows that the time given to a tool, else to the server, is the
// one that a call has.
func TestTimeouts(t *testing.T) {
	h := newHouse(t)
	for _, era := range []rawmcp.Era{rawmcp.Legacy, rawmcp.Modern} {
		slug := map[rawmcp.Era]string{rawmcp.Legacy: "old", rawmcp.Modern: "new"}[era]
		up := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: era}))(t)
		t.Cleanup(up.Close)
		d := h.serve(slug, up.URL(), func(in *catalog.ServerInput) { in.Timeout = time.Minute })
		short, second := 300*time.Millisecond, time.Second
		testkit.Must(h.catalog.UpdateServer(t.Context(), h.owner, d.ID, catalog.ServerChange{ToolTimeouts: map[string]*time.Duration{"hang": &short}}))(t)
		hangs := func() time.Duration {
			start := time.Now()
			r := h.modern("/mcp/"+slug, "tools/call", `"name":"hang","arguments":{}`)
			if !strings.Contains(r.body, "upstream.timeout") {
				t.Errorf("%d %s", r.status, r.body)
			}
			return time.Since(start)
		}
		t.Run(slug+": the tool's", func(t *testing.T) {
			if took := hangs(); took > patience {
				t.Errorf("it took %s", took)
			}
		})
		t.Run(slug+": without one the server's, from the next call on", func(t *testing.T) {
			testkit.Must(h.catalog.UpdateServer(t.Context(), h.owner, d.ID, catalog.ServerChange{Timeout: &second, ToolTimeouts: map[string]*time.Duration{"hang": nil}}))(t)
			if took := hangs(); took < second || took > patience {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestMirrored shows what modern clients' headers of arguments have to say.
func TestMirrored(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, true)
	u.lists["tools/list"] = `{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[{"name":"x","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}`
	h.serve("weather", u.URL)
	h.modern("/mcp/weather", "tools/list", "").result(t)
	for name, headers := range map[string][]string{
		"none":              nil,
		"another value":     {"Mcp-Param-Region: south"},
		"bad base64":        {"Mcp-Param-Region: =?base64?!?="},
		"in another letter": {"Mcp-Param-Region: North"},
	} {
		t.Run(name+" is refused, and the server hears nothing", func(t *testing.T) {
			r := h.modern("/mcp/weather", "tools/call", `"name":"x","arguments":{"region":"north"}`, headers...)
			if r.status != 400 || r.code(t) != mcp.CodeHeaderMismatch {
				t.Errorf("%d %s", r.status, r.body)
			}
			testkit.Equal(t, len(u.got), 0)
		})
	}
	t.Run("what fits passes, and so does what no schema knows", func(t *testing.T) {
		answer := make(chan reply, 1)
		go func() {
			answer <- h.modern("/mcp", "tools/call", `"name":"weather_x","arguments":{"region":"north"}`, "Mcp-Param-Region: north", "Mcp-Param-Other: =?base64?YQ==?=")
		}()
		in := u.gets()
		testkit.Equal(t, []string{in.header.Get("Mcp-Param-Region"), in.header.Get("Mcp-Param-Other"), in.header.Get("Mcp-Name")}, []string{"north", "=?base64?YQ==?=", "x"})
		in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}`, 200)
		(<-answer).result(t)
	})
}

// TestDraining shows how open streams end when Headgate does: a subscription
// with its result, a session's stream by its end, and calls go on.
func TestDraining(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, false)
	h.serve("weather", u.URL)
	draining := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.gateway.ServeHTTP(w, r.WithContext(request.With(r.Context(), request.Info{ID: id.New("req"), Draining: draining})))
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	h.url = server.URL
	s := h.initialize("/mcp/weather", "2025-11-25", `{}`)
	old := s.listen()
	now := h.events(h.modernRequest(context.Background(), "/mcp/weather", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`))
	testkit.Equal(t, now.want().Method, mcp.NotifySubscriptionsAck)
	answer := make(chan reply, 1)
	go func() { answer <- s.call("tools/call", `{"name":"x"}`) }()
	in := u.gets()
	close(draining)
	testkit.Equal(t, string(now.want().Result), `{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":1}}`)
	now.ended()
	for {
		if data, err := old.next(); err != nil {
			break
		} else if data != "" {
			t.Errorf("heard %s", data)
		}
	}
	in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, 200)
	(<-answer).result(t)
}
