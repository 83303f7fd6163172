package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// ask has one caller ask a server a few times and returns what was counted.
func ask(t *testing.T, addr string, q question, calls int) *tally {
	t.Helper()
	k := &caller{target: &target{name: t.Name(), addr: addr, path: "/mcp", tool: "echo"}}
	testkit.Must0(t, k.reopen())
	defer closeAll([]*caller{k})
	k.prepare(q)
	wrong := &tally{}
	for range calls {
		k.call(wrong, time.Now())
	}
	return wrong
}

func upstreamAddr(t *testing.T) string {
	t.Helper()
	s := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(t)
	t.Cleanup(s.Close)
	return s.Addr()
}

func TestRightAnswersAreNotCounted(t *testing.T) {
	s := testkit.Must(listen(listed))(t)
	t.Cleanup(s.Close)
	for _, addr := range []string{s.addr, upstreamAddr(t)} {
		for _, q := range []question{echoOf("echo", 64), echoOf("echo", 64<<10), echoOf("echo_sse", 4096), listOf("tools/list")} {
			testkit.Equal(t, ask(t, addr, q, 3).String(), "0 wrong or mixed up, 0 lost, 0 repeated")
		}
	}
	testkit.Equal(t, []int64{s.calls.Load(), s.sessions.Load()}, []int64{9, 4})
}

// TestUsualUpstream checks what callers do not ask for and Headgate does.
func TestUsualUpstream(t *testing.T) {
	s := testkit.Must(listen(3))(t)
	t.Cleanup(s.Close)
	post := func(body string) string {
		t.Helper()
		res := testkit.Must(http.Post("http://"+s.addr+"/mcp", "application/json", strings.NewReader(body)))(t)
		defer res.Body.Close()
		return fmt.Sprintf("%d %s", res.StatusCode, testkit.Must(io.ReadAll(res.Body))(t))
	}
	testkit.Equal(t, post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`), "202 ")
	testkit.Equal(t, post(`{"jsonrpc":"2.0","id":"a","method":"ping"}`), `200 {"jsonrpc":"2.0","id":"a","result":{}}`)
	testkit.Equal(t, post(`{"jsonrpc":"2.0","id":7,"method":"server/discover"}`), `200 {"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"method not found"}}`)
	res := testkit.Must(http.Get("http://" + s.addr + "/mcp"))(t)
	testkit.Equal(t, res.Header.Get("Content-Type"), "text/event-stream")
	testkit.Must0(t, res.Body.Close())
}

func TestWrongAnswersAreCounted(t *testing.T) {
	addr := upstreamAddr(t)
	for _, tool := range []string{"wrong_id", "garbage", "tool_error", "nobody"} {
		t.Run(tool, func(t *testing.T) {
			testkit.Equal(t, ask(t, addr, echoOf(tool, 64), 2).mixed.Load(), int64(2))
		})
	}
	t.Run("an answer that breaks off is lost", func(t *testing.T) {
		testkit.Equal(t, ask(t, addr, echoOf("die", 64), 2).lost.Load(), int64(2))
	})
	t.Run("somebody else's text under the right id", func(t *testing.T) {
		fake := fakeServer(t, func(id string) string {
			return `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"` + blank + strings.Repeat("x", 48) + `"}]}}`
		})
		testkit.Equal(t, ask(t, fake, echoOf("echo", 64), 2).mixed.Load(), int64(2))
	})
	t.Run("a list that changes", func(t *testing.T) {
		n := 0
		fake := fakeServer(t, func(id string) string {
			n++
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[%d]}}`, id, n%2)
		})
		testkit.Equal(t, ask(t, fake, listOf("tools/list"), 3).mixed.Load(), int64(1))
	})
}

// fakeServer begins sessions and answers everything else with what answer says.
func fakeServer(t *testing.T, answer func(id string) string) string {
	t.Helper()
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveFake(c, answer)
		}
	}()
	return l.Addr().String()
}

func serveFake(c net.Conn, answer func(id string) string) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		text := answer(string(rawmcp.Member(body, "id")))
		if strings.Contains(string(body), "initialize") {
			text = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(text), text)
	}
}

func TestOpenLoopKeepsTheRate(t *testing.T) {
	target := &target{name: "direct", addr: upstreamAddr(t), path: "/mcp", tool: "echo"}
	var callers []*caller
	for range 4 {
		k := &caller{target: target}
		testkit.Must0(t, k.reopen())
		k.prepare(echoOf("echo", 64))
		callers = append(callers, k)
	}
	defer closeAll(callers)
	wrong := &tally{}
	s := open(t.Context(), callers, wrong, 200, 500*time.Millisecond)
	if s.calls < 95 || s.calls > 105 || wrong.total() != 0 {
		t.Errorf("%d calls, want about 100; %s", s.calls, wrong)
	}
}
