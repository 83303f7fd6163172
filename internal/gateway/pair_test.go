package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/access"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// paired opens the stream of a 2024-11-05 client and returns it with the URL it
// is to post to.
func (h *house) paired(t *testing.T, path string) (*events, string) {
	t.Helper()
	e := h.events(h.request(t.Context(), "GET", path, "", "Accept: text/event-stream"))
	if e.resp.StatusCode != 200 || e.resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", e.resp.StatusCode, e.resp.Header)
	}
	if line := testkit.Must(e.in.ReadString('\n'))(t); line != "event: endpoint\n" {
		t.Fatalf("%q", line)
	}
	return e, testkit.Must(e.next())(t)
}

func TestPairs(t *testing.T) {
	h := newHouse(t)
	up := h.raw("raw", rawmcp.Options{Era: rawmcp.Legacy})
	e, address := h.paired(t, "/mcp/raw")
	send := func(t *testing.T, body string, headers ...string) reply {
		t.Helper()
		return h.send("POST", address, body, headers...)
	}
	t.Run("a message before initialize is refused", func(t *testing.T) {
		send(t, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		testkit.Equal(t, e.want().Error.Code, -32600)
	})
	t.Run("each is taken at once, and answered on the stream", func(t *testing.T) {
		if r := send(t, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`); r.status != 202 || r.body != "" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if got := e.want(); string(got.ID) != "0" || !strings.Contains(string(got.Result), `"protocolVersion":"2024-11-05"`) {
			t.Fatalf("%s", got.Result)
		}
		send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		send(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"progress","arguments":{"steps":2},"_meta":{"progressToken":"p"}}}`)
		testkit.Equal(t, e.want().Method, "notifications/progress")
		testkit.Equal(t, e.want().Method, "notifications/progress")
		testkit.Equal(t, string(e.want().ID), "1")
		send(t, `{"jsonrpc":"2.0","id":2,"method":"nothing"}`)
		testkit.Equal(t, e.want().Error.Code, -32601)
	})
	t.Run("calls go on side by side", func(t *testing.T) {
		send(t, `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"slow","arguments":{"ms":300,"text":"a"}}}`)
		send(t, `{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"echo","arguments":{"text":"b"}}}`)
		testkit.Equal(t, string(e.want().ID), "4")
		testkit.Equal(t, string(e.want().ID), "3")
	})
	t.Run("a body that is no message is refused by status", func(t *testing.T) {
		for body, status := range map[string]int{`{`: 400, `[]`: 400} {
			if r := send(t, body); r.status != status {
				t.Errorf("%s: %d %s", body, r.status, r.body)
			}
		}
	})
	t.Run("initializing twice is refused", func(t *testing.T) {
		send(t, `{"jsonrpc":"2.0","id":9,"method":"initialize","params":{"protocolVersion":"2024-11-05"}}`)
		testkit.Equal(t, e.want().Error.Code, -32600)
	})
	t.Run("another principal cannot post to it", func(t *testing.T) {
		if r := send(t, `{"jsonrpc":"2.0","id":5,"method":"ping"}`, "Authorization: Bearer "+h.mint(h.owner, access.Every)); r.status != 400 {
			t.Errorf("%d %s", r.status, r.body) // no session, as far as that one is concerned
		}
	})
	t.Run("what servers say outside of requests comes the same way", func(t *testing.T) {
		eventually(t, "the server is listened to", func() bool { return up.Notify("notifications/message") == 2 })
		up.Notify("notifications/tools/list_changed")
		for e.want().Method != "notifications/tools/list_changed" { // after the message
		}
	})
	t.Run("the session ends with the connection", func(t *testing.T) {
		e.resp.Body.Close()
		eventually(t, "the address is gone", func() bool { return send(t, `{"jsonrpc":"2.0","id":6,"method":"ping"}`).status == 400 })
		eventually(t, "nothing is left", func() bool { s := h.hub.Stats(); return s.Streams == 0 && s.Sessions <= 1 })
	})
}

// TestPairsSDK uses the Go SDK's client of 2024-11-05's transport.
func TestPairsSDK(t *testing.T) {
	h := newHouse(t)
	h.serve("every", testkit.Everything(t))
	sampled := false
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			sampled = true
			return &mcp.CreateMessageResult{Role: "assistant", Model: "test", Content: &mcp.TextContent{Text: "sampled"}}, nil
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := client.Connect(ctx, &mcp.SSEClientTransport{Endpoint: h.url + "/mcp", HTTPClient: &http.Client{Transport: withKey{h.key}}}, nil)
	testkit.Must0(t, err)
	defer s.Close()
	l, err := s.ListTools(ctx, nil)
	testkit.Must0(t, err)
	r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "every_echo", Arguments: map[string]any{"message": "hello"}})
	testkit.Must0(t, err)
	if len(l.Tools) < 5 || !strings.Contains(r.Content[0].(*mcp.TextContent).Text, "hello") {
		t.Errorf("%d tools, %+v", len(l.Tools), r)
	}
	_, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "every_trigger-sampling-request", Arguments: map[string]any{"prompt": "p", "maxTokens": 10}})
	testkit.Must0(t, err)
	if !sampled {
		t.Error("the client was not asked")
	}
}
