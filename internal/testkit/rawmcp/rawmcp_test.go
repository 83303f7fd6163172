package rawmcp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

func listen(t *testing.T, o rawmcp.Options) *rawmcp.Server {
	t.Helper()
	s := testkit.Must(rawmcp.Listen(o))(t)
	t.Cleanup(s.Close)
	return s
}

// post sends a message and returns status and body.
func post(t *testing.T, s *rawmcp.Server, version, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req := testkit.Must(http.NewRequestWithContext(ctx, "POST", s.URL(), strings.NewReader(body)))(t)
	req.Header.Set("Mcp-Protocol-Version", version)
	res := testkit.Must(http.DefaultClient.Do(req))(t)
	defer res.Body.Close()
	text := testkit.Must(io.ReadAll(res.Body))(t)
	return res.StatusCode, string(text)
}

func callBody(tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
}

func TestServer(t *testing.T) {
	t.Run("the official Go client uses it", func(t *testing.T) {
		s := listen(t, rawmcp.Options{Tools: 200})
		client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		session := testkit.Must(client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.URL()}, nil))(t)
		defer session.Close()
		list := testkit.Must(session.ListTools(t.Context(), nil))(t)
		testkit.Equal(t, len(list.Tools), 200)
		for _, tool := range []string{"echo", "echo_sse"} {
			res := testkit.Must(session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"text": `a "quoted" \ text`}}))(t)
			testkit.Equal(t, res.Content[0].(*mcp.TextContent).Text, `a "quoted" \ text`)
		}
		testkit.Equal(t, s.Calls(), int64(2))
	})

	t.Run("large and small requests on one connection are told apart", func(t *testing.T) {
		s := listen(t, rawmcp.Options{})
		for _, n := range []int{1, 64 << 10, 10, 1 << 20, 0} {
			text := strings.Repeat("x", n)
			_, body := post(t, s, "2025-11-25", callBody("echo", `{"text":"`+text+`"}`))
			testkit.Equal(t, body, `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"`+text+`"}]}}`)
		}
	})

	t.Run("a server of one era refuses the other", func(t *testing.T) {
		status, body := post(t, listen(t, rawmcp.Options{Era: rawmcp.Legacy}), "2026-07-28", callBody("echo", `{"text":"a"}`))
		if status != 400 || !strings.Contains(body, "-32000") {
			t.Errorf("legacy: %d %s", status, body)
		}
		status, body = post(t, listen(t, rawmcp.Options{Era: rawmcp.Modern}), "2025-11-25", callBody("echo", `{"text":"a"}`))
		if status != 400 || !strings.Contains(body, "-32022") {
			t.Errorf("modern: %d %s", status, body)
		}
	})

	t.Run("a modern answer has its result type", func(t *testing.T) {
		_, body := post(t, listen(t, rawmcp.Options{}), "2026-07-28", callBody("echo", `{"text":"a"}`))
		testkit.Equal(t, body, `{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[{"type":"text","text":"a"}]}}`)
	})
}

func TestNotify(t *testing.T) {
	s := listen(t, rawmcp.Options{})
	req := testkit.Must(http.NewRequestWithContext(t.Context(), "GET", s.URL(), nil))(t)
	res := testkit.Must(http.DefaultClient.Do(req))(t)
	defer res.Body.Close()
	for s.Notify("notifications/tools/list_changed") == 0 { // the head is sent before the stream counts
		time.Sleep(time.Millisecond)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Scan()
	lines.Scan()
	testkit.Equal(t, lines.Text(), `data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
}

func TestTools(t *testing.T) {
	s := listen(t, rawmcp.Options{})

	t.Run("progress comes in events, the answer last", func(t *testing.T) {
		_, body := post(t, s, "2025-11-25", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"progress","arguments":{"steps":2},"_meta":{"progressToken":"p"}}}`)
		events := strings.Split(strings.TrimSpace(body), "\n\n")
		testkit.Equal(t, len(events), 3)
		testkit.Equal(t, events[1], "event: message\ndata: "+`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":2}}`)
	})

	answers := []struct{ tool, arguments, body string }{
		{"garbage", `{}`, `{"jsonrpc":"2.0","id":`},
		{"wrong_id", `{"text":"a"}`, `{"jsonrpc":"2.0","id":987654321,"result":{"content":[{"type":"text","text":"a"}]}}`},
		{"status", `{"code":503}`, `asked for`},
		{"slow", `{"ms":1,"text":"a"}`, `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a"}]}}`},
		{"rpc_error", `{}`, `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"bad argument","data":{"big":9007199254740993}}}`},
		{"nobody", `{}`, `{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"unknown tool"}}`},
	}
	for _, a := range answers {
		t.Run(a.tool, func(t *testing.T) {
			_, body := post(t, s, "2025-11-25", callBody(a.tool, a.arguments))
			testkit.Equal(t, body, a.body)
		})
	}

	t.Run("hang answers nothing until the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		req := testkit.Must(http.NewRequestWithContext(ctx, "POST", s.URL(), strings.NewReader(callBody("hang", `{}`))))(t)
		if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	})

	t.Run("die breaks off inside the body", func(t *testing.T) {
		res := testkit.Must(http.Post(s.URL(), "application/json", strings.NewReader(callBody("die", `{"text":"a"}`))))(t)
		defer res.Body.Close()
		if _, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("err = %v", err)
		}
	})

	t.Run("huge announces what it sends", func(t *testing.T) {
		res := testkit.Must(http.Post(s.URL(), "application/json", strings.NewReader(callBody("huge", `{}`))))(t)
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || n != 1<<30 || res.ContentLength != 1<<30 {
			t.Errorf("read %d of %d, %v", n, res.ContentLength, err)
		}
	})
}

func TestMember(t *testing.T) {
	object := []byte(` { "a" : "x\"}" , "n":[1,{"b":"]"}],"id": 7, "o":{"id":8} } `)
	for key, want := range map[string]string{"a": `"x\"}"`, "n": `[1,{"b":"]"}]`, "id": "7", "o": `{"id":8}`, "none": ""} {
		testkit.Equal(t, string(rawmcp.Member(object, key)), want)
	}
}
