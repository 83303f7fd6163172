package bridge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const era = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

func TestModern(t *testing.T) {
	t.Run("says in headers what the body says", func(t *testing.T) {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, body string) {
			if strings.Contains(body, "tools/list") {
				answerJSON(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","tools":[{"name":"grüß","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}}`)
				return
			}
			answerJSON(w, 200, `{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete","content":[]}}`)
		})
		c := start(t, s.URL)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + era + `}}`)
		c.next()
		c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"grüß","arguments":{"region":"eu"},` + era + `}}`)
		c.next()
		for name, want := range map[string]string{
			"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "=?base64?Z3LDvMOf?=", "Mcp-Param-Region": "eu", "Mcp-Session-Id": "",
		} {
			if got := s.of("tools/call")[0].header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
	t.Run("a cancellation hangs up, and nothing is answered", func(t *testing.T) {
		gone := make(chan struct{})
		s := newServer(t, func(w http.ResponseWriter, r *http.Request, body string) {
			if !strings.Contains(body, "tools/call") {
				answerJSON(w, 200, `{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete","tools":[]}}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		})
		c := start(t, s.URL)
		c.send(`{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"slow",` + era + `}}`)
		c.next()
		c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0061",` + era + `}}`)
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("the server was not told")
		}
		c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{` + era + `}}`)
		c.expect(`{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete","tools":[]}}`)
		if n := len(s.of("notifications/cancelled")); n != 0 {
			t.Error("the notification was sent too")
		}
	})
	t.Run("a subscription ends with the input", func(t *testing.T) {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{}}\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		c := start(t, s.URL)
		c.send(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"notifications":{},` + era + `}}`)
		c.next()
		c.close()
	})
}

func TestEveryRequestIsAnsweredOnce(t *testing.T) {
	for promise, c := range map[string]struct {
		answer http.HandlerFunc
		want   string // part of the one line
	}{
		"an error without its id": {func(w http.ResponseWriter, _ *http.Request) {
			answerJSON(w, 400, `{"jsonrpc":"2.0","error":{"code":-32020,"message":"header","data":{"big":12345678901234567890}}}`)
		}, `{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"header","data":{"big":12345678901234567890}}}`},
		"a refused credential": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, "headgate login"},
		"a page of something else": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<h1>Hello</h1>")
		}, "no MCP"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://example.com/", 307) }, "redirects"},
		"events without an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n\n")
		}, "without one to this request"},
		"an answer given twice": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: "+noTools+"\n\ndata: "+noTools+"\n\n")
		}, noTools},
		"garbage":             {func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"jsonrpc":`) }, "without one to this request"},
		"an accepted request": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }, "without one to this request"},
		"a broken connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, `"id":7,"error"`},
	} {
		t.Run(promise, func(t *testing.T) {
			s := newServer(t, func(w http.ResponseWriter, r *http.Request, body string) {
				if strings.Contains(body, `"id":9`) {
					answerJSON(w, 200, `{"jsonrpc":"2.0","id":9,"result":{}}`)
					return
				}
				c.answer(w, r)
			})
			x := start(t, s.URL)
			x.send(listTools)
			got := x.next()
			if !strings.Contains(got, c.want) || !strings.Contains(got, `"id":7`) {
				t.Errorf("got %s", got)
			}
			x.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
			x.expect(`{"jsonrpc":"2.0","id":9,"result":{}}`)
		})
	}
	t.Run("a server that is not there", func(t *testing.T) {
		s := newServer(t, nil)
		s.Close()
		x := start(t, s.URL)
		x.send(listTools)
		if got := x.next(); !strings.Contains(got, "Nothing answers") || !strings.Contains(got, `"id":7`) {
			t.Errorf("got %s", got)
		}
	})
	t.Run("lines that are no message are refused here", func(t *testing.T) {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, noTools) })
		x := start(t, s.URL)
		for _, line := range []string{
			`{"jsonrpc":"2.0","id":1,`,
			`{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}`,
			`{"jsonrpc":"2.0","id":1,"Method":"tools/list"}`,
		} {
			x.send(line)
			if got := x.next(); !strings.Contains(got, `"error":{"code":-32`) {
				t.Errorf("%s: got %s", line, got)
			}
		}
		if len(s.seen) > 0 {
			t.Error("the server saw one of them")
		}
	})
	t.Run("a line that is too long is refused, and the next one read", func(t *testing.T) {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request, _ string) { answerJSON(w, 200, noTools) })
		x := start(t, s.URL)
		x.send(strings.Repeat("x", 17<<20))
		if got := x.next(); !strings.Contains(got, "longer than") {
			t.Errorf("got %s", got)
		}
		x.send(listTools)
		x.expect(noTools)
	})
}
