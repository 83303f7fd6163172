package mcp_test

import (
	"errors"
	"strings"
	"testing"

	"headgate/internal/mcp"
)

const modernCall = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search","arguments":{"q":"x","n":9007199254740993},` +
	`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},` +
	`"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/logLevel":"info",` +
	`"progressToken":"t1","traceparent":"00-a-b-01"},"requestState":"s","inputResponses":{"a":1}}}`

func scan(t *testing.T, text string) (mcp.Envelope, []byte) {
	t.Helper()
	b := []byte(text)
	var e mcp.Envelope
	if err := mcp.Scan(b, &e, mcp.Limits{}); err != nil {
		t.Fatalf("scan %s: %v", text, err)
	}
	return e, b
}

func wantSpan(t *testing.T, b []byte, what string, v mcp.Span, want string) {
	t.Helper()
	if got := string(v.Of(b)); got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestScan(t *testing.T) {
	t.Run("finds every member of a modern call", func(t *testing.T) {
		e, b := scan(t, modernCall)
		if e.Kind != mcp.Request || e.Method != mcp.MethodToolsCall || e.ProtocolVersion != "2026-07-28" {
			t.Fatalf("got kind %d, method %q, version %q", e.Kind, e.Method, e.ProtocolVersion)
		}
		wantSpan(t, b, "id", e.ID, `7`)
		wantSpan(t, b, "name", e.Name, `"search"`)
		wantSpan(t, b, "arguments", e.Arguments, `{"q":"x","n":9007199254740993}`)
		wantSpan(t, b, "version", e.ProtocolVersionSpan, `"2026-07-28"`)
		wantSpan(t, b, "capabilities", e.ClientCapabilities, `{"sampling":{}}`)
		wantSpan(t, b, "client", e.ClientInfo, `{"name":"c","version":"1"}`)
		wantSpan(t, b, "level", e.LogLevel, `"info"`)
		wantSpan(t, b, "token", e.ProgressToken, `"t1"`)
		wantSpan(t, b, "state", e.RequestState, `"s"`)
		wantSpan(t, b, "responses", e.InputResponses, `{"a":1}`)
		wantSpan(t, b, "params", e.Params, b2s(b[strings.Index(modernCall, `{"name"`):len(b)-1]))
	})
	t.Run("tells the kinds apart", func(t *testing.T) {
		for text, want := range map[string]mcp.Kind{
			`{"jsonrpc":"2.0","id":"a","method":"ping"}`:                                    mcp.Request,
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`:                        mcp.Notification,
			`{"jsonrpc":"2.0","id":1,"result":{}}`:                                          mcp.Response,
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}`:               mcp.ErrorResponse,
			`{"jsonrpc":"2.0","error":{"code":-32700,"message":"no","data":{"why":"x"}}}`:   mcp.ErrorResponse,
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}`:            mcp.ErrorResponse,
			" \t\r\n{ \"jsonrpc\" : \"2.0\" ,\n        \"id\" : -3 , \"method\" : \"x\" } ": mcp.Request,
		} {
			if e, _ := scan(t, text); e.Kind != want {
				t.Errorf("%s: got %d, want %d", text, e.Kind, want)
			}
		}
	})
	t.Run("reads an answer", func(t *testing.T) {
		b := []byte(`{"jsonrpc":"2.0","id":"x","result":{"resultType":"complete","content":[{"type":"text","text":"ü"}],` +
			`"structuredContent":{"a":1,"a":2},"isError":true,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}`)
		var e mcp.Envelope
		if err := mcp.ScanReply(b, &e, mcp.Limits{}); err != nil {
			t.Fatal(err)
		}
		if e.Kind != mcp.Response || e.ResultType != mcp.ResultComplete || !e.IsError {
			t.Fatalf("got %+v", e)
		}
		wantSpan(t, b, "content", e.Content, `[{"type":"text","text":"ü"}]`)
		wantSpan(t, b, "structured", e.StructuredContent, `{"a":1,"a":2}`)
		wantSpan(t, b, "server", e.ServerInfo, `{"name":"s"}`)
		if err := mcp.Scan(b, &e, mcp.Limits{}); !errors.Is(err, mcp.ErrNotMessage) {
			t.Fatalf("the strict scan took a duplicate: %v", err)
		}
	})
	t.Run("reads every kind of result and notification", func(t *testing.T) {
		for _, want := range []string{mcp.ResultComplete, mcp.ResultInputRequired, mcp.ResultTask, "com.example/other"} {
			e, _ := scan(t, `{"jsonrpc":"2.0","id":1,"result":{"resultType":"`+want+`","_meta":{"io.modelcontextprotocol/subscriptionId":9}}}`)
			if e.ResultType != want || e.SubscriptionID.Empty() || !e.Kind.IsReply() {
				t.Errorf("got %+v", e)
			}
		}
		e, b := scan(t, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b","_meta":{"io.modelcontextprotocol/subscriptionId":"s"}}}`)
		wantSpan(t, b, "subscription", e.SubscriptionID, `"s"`)
		wantSpan(t, b, "uri", e.URI, `"a:b"`)
		e, b = scan(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`)
		wantSpan(t, b, "request", e.RequestID, `3`)
		e, b = scan(t, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}`)
		wantSpan(t, b, "progress", e.Progress, `"p"`)
		if !e.ProgressToken.Empty() || e.Kind.IsReply() {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("reads an error", func(t *testing.T) {
		e, b := scan(t, `{"jsonrpc":"2.0","id":1,"error":{"data":{"a":1},"message":"no é","code":-32022,"vendor":1}}`)
		if e.ErrorCode != mcp.CodeUnsupportedVersion || !mcp.Equal(b, e.ErrorMessage, "no é") {
			t.Errorf("got %+v", e)
		}
		wantSpan(t, b, "data", e.ErrorData, `{"a":1}`)
	})
	t.Run("knows every revision's name without knowing the future", func(t *testing.T) {
		for _, want := range []string{"2025-11-25", "2026-07-28", "2031-01-01"} {
			if e, _ := scan(t, params(`"_meta":{"io.modelcontextprotocol/protocolVersion":"`+want+`"}`)); e.ProtocolVersion != want {
				t.Errorf("got %q", e.ProtocolVersion)
			}
		}
	})
	t.Run("means the same when keys, methods and names are escaped", func(t *testing.T) {
		e, b := scan(t, `{"jsonrpc":"2.0","\u0069d":1,"method":"tools\/call","params":{"n\u0061me":"\u0061"}}`)
		if e.Method != mcp.MethodToolsCall || !mcp.Equal(b, e.Name, "a") || e.ID.Empty() {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("forgets the message before", func(t *testing.T) {
		e, _ := scan(t, modernCall)
		if err := mcp.Scan([]byte(`{"jsonrpc":"2.0","method":"x"}`), &e, mcp.Limits{}); err != nil {
			t.Fatal(err)
		}
		if !e.ID.Empty() || !e.Params.Empty() || !e.Name.Empty() || e.ProtocolVersion != "" {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("keeps the id of a readable message it refuses, and only of such", func(t *testing.T) {
		var e mcp.Envelope
		b := []byte(`{"id":5,"jsonrpc":"1.0","method":"x"}`)
		if err := mcp.Scan(b, &e, mcp.Limits{}); mcp.RPCCode(err) != mcp.CodeInvalidRequest {
			t.Fatal(err)
		}
		wantSpan(t, b, "id", e.ID, "5")
		if err := mcp.Scan([]byte(`{"id":5,"jsonrpc":"2.0",`), &e, mcp.Limits{}); mcp.RPCCode(err) != mcp.CodeParse || !e.ID.Empty() {
			t.Fatalf("got %v, id %v", err, e.ID)
		}
	})
}

func b2s(b []byte) string { return string(b) }

// TestPlacesInLongTexts puts what ends or spoils a text at every place of a long
// one, since long ones are passed over in steps of 8 and 32 bytes.
func TestPlacesInLongTexts(t *testing.T) {
	plain := strings.Repeat("0123456789abcdef", 16)
	for at := range plain {
		for what, ok := range map[string]bool{`\n`: true, `é`: true, `\"`: true, "\x7f": true, "\x1f": false, "\n": false, `\x`: false, "\xff": false, `"`: false} {
			body := call(plain[:at] + what + plain[at:])
			var e mcp.Envelope
			if err := mcp.Scan([]byte(body), &e, mcp.Limits{}); (err == nil) != ok {
				t.Errorf("%q at %d: %v", what, at, err)
			}
		}
		var e mcp.Envelope
		body := []byte(call(plain[:at]))
		if err := mcp.Scan(body, &e, mcp.Limits{}); err != nil || string(e.Arguments.Of(body)) != `{"text":"`+plain[:at]+`"}` {
			t.Errorf("%d plain characters: %v, %s", at, err, e.Arguments.Of(body))
		}
	}
}
