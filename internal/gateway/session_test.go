package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/gateway"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

func TestSessions(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{Era: rawmcp.Legacy})
	ok := func(t *testing.T, s *legacy) {
		t.Helper()
		if got := s.call("tools/call", `{`+echo+`}`).result(t); !strings.Contains(got, `"hi"`) {
			t.Fatal(got)
		}
	}
	t.Run("each revision with sessions gets the one it asks for, others the newest", func(t *testing.T) {
		for asked, want := range map[string]string{"2024-11-05": "2024-11-05", "2025-03-26": "2025-03-26", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25",
			"2026-07-28": "2025-11-25", "1999-01-01": "2025-11-25"} {
			r := h.send("POST", "/mcp/raw", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+asked+`","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
			var got struct{ ProtocolVersion string }
			decode(t, r.result(t), &got)
			testkit.Equal(t, got.ProtocolVersion, want)
		}
	})
	t.Run("another principal's session looks like none", func(t *testing.T) {
		s := h.initialize("/mcp/raw", "2025-11-25", `{}`)
		other := "Authorization: Bearer " + h.mint(h.owner, access.Every)
		for _, r := range []reply{s.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, other),
			h.send("GET", "/mcp/raw", "", s.headers(other, "Accept: text/event-stream")...), h.send("DELETE", "/mcp/raw", "", s.headers(other)...)} {
			if r.status != 404 || parse(t, r.body).Error == nil {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		ok(t, s)
	})
	t.Run("a session outlives a restart, also in another principal's hands", func(t *testing.T) {
		s := h.initialize("/mcp/raw", "2025-06-18", `{"sampling":{}}`)
		ok(t, s)
		before := h.url
		defer func() { h.url = before }()
		_, h.url = h.open(func(*gateway.Options) {})
		if r := s.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization: Bearer "+h.mint(h.owner, access.Every)); r.status != 404 {
			t.Errorf("%d %s", r.status, r.body)
		}
		ok(t, s)
	})
	t.Run("an ended session is over, and so are the servers'", func(t *testing.T) {
		s := h.initialize("/mcp/raw", "2025-11-25", `{}`)
		ok(t, s)
		held := h.hub.Stats().Sessions
		if r := h.send("DELETE", "/mcp/raw", "", s.headers()...); r.status != 204 {
			t.Fatal(r.status)
		}
		if r := s.call("ping", `{}`); r.status != 404 {
			t.Errorf("%d %s", r.status, r.body)
		}
		testkit.Equal(t, h.hub.Stats().Sessions, held-1)
	})
	t.Run("a changed id opens nothing", func(t *testing.T) {
		s := h.initialize("/mcp/raw", "2025-11-25", `{}`)
		for i := 0; i < len(s.id); i += 7 {
			flipped := []byte(s.id)
			if flipped[i]++; flipped[i] == '[' || flipped[i] == '{' {
				flipped[i] = 'a'
			}
			r := h.send("POST", "/mcp/raw", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Session-Id: "+string(flipped))
			if r.status != 404 {
				t.Fatalf("byte %d: %d %s", i, r.status, r.body)
			}
		}
	})
	t.Run("a server that lost its session is greeted again, and the client knows nothing of it", func(t *testing.T) {
		u := newScript(t, false)
		h.serve("forgetful", u.URL)
		s := h.initialize("/mcp/forgetful", "2025-11-25", `{}`)
		for range 2 {
			answer := make(chan reply, 1)
			go func() { answer <- s.call("tools/call", `{"name":"x"}`) }()
			u.gets().sends(t, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, 200)
			(<-answer).result(t)
			u.forget()
		}
	})
	t.Run("ping and levels are answered here", func(t *testing.T) {
		s := h.initialize("/mcp", "2025-11-25", `{}`)
		testkit.Equal(t, s.call("ping", `{}`).result(t), `{}`)
		testkit.Equal(t, s.call("logging/setLevel", `{"level":"debug"}`).result(t), `{}`)
	})
	t.Run("a principal's sessions beyond a thousand put the least used to sleep, not to death", func(t *testing.T) {
		key := h.mint(h.owner, access.Every)
		open := func() *legacy {
			r := h.send("POST", "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, "Authorization: Bearer "+key)
			r.result(t)
			return &legacy{h: h, path: "/mcp", rev: "2025-11-25", id: r.header.Get("Mcp-Session-Id")}
		}
		first := open()
		for range 1001 {
			open()
		}
		if r := first.post(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization: Bearer "+key); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	if up.Sessions() == 0 {
		t.Error("the server has had no sessions")
	}
}

func TestBatch(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{})
	s := h.initialize("/mcp/raw", "2025-03-26", `{}`)
	call := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"n%d"}}}`, id, id)
	}
	t.Run("each message is served as if it had come alone", func(t *testing.T) {
		r := s.post(`[` + call(1) + `,{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}},{"jsonrpc":"2.0","id":2,"method":"nothing"},` + call(3) + `,{"jsonrpc":"2.0","id":4}]`)
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		var all []rpc
		decode(t, r.body, &all)
		if len(all) != 4 {
			t.Fatalf("%d answers: %s", len(all), r.body)
		}
		for i, want := range []string{"1", "2", "3", "4"} {
			testkit.Equal(t, string(all[i].ID), want)
		}
		if !strings.Contains(string(all[0].Result), "n1") || all[1].Error.Code != mcp.CodeMethodNotFound || !strings.Contains(string(all[2].Result), "n3") || all[3].Error.Code != mcp.CodeInvalidRequest {
			t.Errorf("%s", r.body)
		}
		testkit.Equal(t, up.Calls(), int64(2))
		testkit.Equal(t, h.balance(), int64(1_000_000-2))
	})
	t.Run("notifications alone have no answer", func(t *testing.T) {
		if r := s.post(`[{"jsonrpc":"2.0","method":"notifications/initialized"}]`); r.status != 202 || r.body != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("an id twice is refused once", func(t *testing.T) {
		slow := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"slow","arguments":{"ms":100,"text":"s"}}}`
		var all []rpc
		decode(t, s.post(`[`+slow+`,`+slow+`]`).body, &all)
		failed := 0
		for _, m := range all {
			if m.Error != nil {
				testkit.Equal(t, m.Error.Code, mcp.CodeInvalidRequest)
				failed++
			}
		}
		testkit.Equal(t, failed, 1)
	})
	for name, body := range map[string]string{"an empty one": `[]`, "an endless one": `[` + strings.Repeat(`{},`, 200) + `{}]`, "one cut off": `[` + call(1)} {
		t.Run(name+" is refused", func(t *testing.T) {
			if r := s.post(body); r.status != 400 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	t.Run("initialize may not be part of one", func(t *testing.T) {
		var all []rpc
		decode(t, s.post(`[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}]`).body, &all)
		testkit.Equal(t, all[0].Error.Code, mcp.CodeInvalidRequest)
	})
	t.Run("what comes before the answers goes out as it comes", func(t *testing.T) {
		e := s.events(`[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"progress","arguments":{"steps":2},"_meta":{"progressToken":"p"}}},` + call(2) + `]`)
		testkit.Equal(t, e.want().Method, "notifications/progress")
		testkit.Equal(t, e.want().Method, "notifications/progress")
		var all []rpc
		decode(t, e.message(), &all)
		testkit.Equal(t, len(all), 2)
		e.ended()
	})
}

func TestKeepAlive(t *testing.T) {
	h := newHouse(t, func(o *houseOptions) {
		o.gateway = func(o *gateway.Options) { o.KeepAlive = 20 * time.Millisecond }
	})
	u := newScript(t, false)
	h.serve("slow", u.URL)
	t.Run("a call that takes long becomes a stream that shows it lives", func(t *testing.T) {
		s := h.initialize("/mcp/slow", "2025-11-25", `{}`)
		done := make(chan *events, 1)
		go func() { done <- s.events(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`) }()
		in := u.gets()
		e := <-done // the head came before the answer
		if got := e.resp.Header; got.Get("Content-Type") != "text/event-stream" || got.Get("X-Accel-Buffering") != "no" {
			t.Errorf("%v", got)
		}
		for lines, prime := 0, 0; lines < 2; {
			line := testkit.Must(e.in.ReadString('\n'))(t)
			if strings.HasPrefix(line, ": keep-alive") {
				lines++
				if prime == 0 {
					t.Error("no event id before the first message")
				}
			}
			if strings.HasPrefix(line, "id: ") {
				prime++
			}
		}
		in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, 200)
		if e.want().Result == nil {
			t.Error("no answer")
		}
	})
	t.Run("unless the client takes no streams", func(t *testing.T) {
		s := h.initialize("/mcp/slow", "2025-11-25", `{}`)
		done := make(chan reply, 1)
		go func() {
			done <- s.post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`, "Accept: application/json")
		}()
		in := u.gets()
		time.Sleep(50 * time.Millisecond)
		in.sends(t, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`, 200)
		if r := <-done; r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", r)
		}
	})
	t.Run("the session's stream too", func(t *testing.T) {
		e := h.initialize("/mcp/slow", "2025-06-18", `{}`).listen()
		testkit.Equal(t, testkit.Must(e.in.ReadString('\n'))(t), ": keep-alive\n")
	})
}
