package eras_test

import (
	"bytes"
	"testing"

	"headgate/internal/gateway/eras"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

var requests = []string{
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":9007199254740993}}}`,
	`{"jsonrpc":"2.0","id":"a\/b","method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"x":1},"name":"x"}}`,
	`{"method":"ping","id":1,"jsonrpc":"2.0"}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"inputResponses":{"a":{}},"requestState":"s","name":"x","_meta":{}}}`,
	` { "jsonrpc" : "2.0" , "id" : 1 , "method" : "x" , "params" : { } } `,
	`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"_meta":{"io.modelcontextprotocol/logLevel":"debug","progressToken":"p"},"name":"x","vendor":[1.0,{}]}}`,
}

var replies = []string{
	`{"jsonrpc":"2.0","id":1,"result":{}}`,
	`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","ttlMs":1,"cacheScope":"public","content":[{"type":"text","text":"x"}]}}`,
	`{"jsonrpc":"2.0","id":1,"result":{"_meta":{},"content":[],"isError":false}}`,
	`{"result":{"content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{}},"resultType":"task","taskId":"t"},"id":1,"jsonrpc":"2.0"}`,
	`{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"x","data":{"n":9007199254740993}}}`,
	`{"jsonrpc":"2.0","id":1,"error":{"message":"x","code":-32602}}`,
}

// FuzzRequests holds translated requests to what no translation may change.
func FuzzRequests(f *testing.F) {
	for _, r := range requests {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var before, after mcp.Envelope
		if mcp.Scan(body, &before, mcp.Limits{}) != nil || before.Kind != mcp.Request {
			return
		}
		same := func(what string, out []byte) {
			for name, spans := range map[string][2]mcp.Span{"id": {before.ID, after.ID}, "arguments": {before.Arguments, after.Arguments}, "name": {before.Name, after.Name},
				"uri": {before.URI, after.URI}, "progress token": {before.ProgressToken, after.ProgressToken}} {
				if !bytes.Equal(spans[0].Of(body), spans[1].Of(out)) {
					t.Fatalf("%s changed the %s: %q to %q", what, name, body, out)
				}
			}
		}
		down, err := eras.Down(body)
		if err != nil {
			t.Fatalf("down: %v of %q", err, body)
		}
		if err := mcp.Scan(down, &after, mcp.Limits{}); err != nil {
			t.Fatalf("down made %q of %q: %v", down, body, err)
		}
		if !after.ProtocolVersionSpan.Empty() || !after.ClientCapabilities.Empty() || !after.ClientInfo.Empty() || !after.LogLevel.Empty() || !after.RequestState.Empty() || !after.InputResponses.Empty() {
			t.Fatalf("down left the era in %q", down)
		}
		same("down", down)
		up, err := eras.Up(body, upstream.Client{Capabilities: []byte(`{"roots":{}}`), Info: []byte(`{"name":"c"}`)})
		if err != nil {
			t.Fatalf("up: %v of %q", err, body)
		}
		if err := mcp.Scan(up, &after, mcp.Limits{}); err != nil {
			t.Fatalf("up made %q of %q: %v", up, body, err)
		}
		if after.ProtocolVersion != string(mcp.LatestModern) || after.ClientCapabilities.Empty() {
			t.Fatalf("up left the era out of %q", up)
		}
		same("up", up)
	})
}

// FuzzReplies holds translated replies to the same.
func FuzzReplies(f *testing.F) {
	for _, r := range replies {
		f.Add([]byte(r), "tools/call")
		f.Add([]byte(r), "resources/read")
	}
	f.Fuzz(func(t *testing.T, body []byte, method string) {
		var before, after mcp.Envelope
		if mcp.ScanReply(body, &before, mcp.Limits{}) != nil || !before.Kind.IsReply() || before.ID.Empty() {
			return
		}
		id := []byte(`"mine"`)
		modern, legacy, err := eras.Answers(body, method, id)
		if err != nil {
			t.Fatalf("%v of %q", err, body)
		}
		for era, out := range map[string][]byte{"modern": modern, "legacy": legacy} {
			if out == nil {
				continue
			}
			if err := mcp.ScanReply(out, &after, mcp.Limits{}); err != nil {
				t.Fatalf("%s: %q of %q: %v", era, out, body, err)
			}
			if string(after.ID.Of(out)) != string(id) || after.Kind != before.Kind || after.IsError != before.IsError ||
				!bytes.Equal(after.Content.Of(out), before.Content.Of(body)) || !bytes.Equal(after.StructuredContent.Of(out), before.StructuredContent.Of(body)) ||
				!bytes.Equal(after.ErrorData.Of(out), before.ErrorData.Of(body)) || !bytes.Equal(after.ErrorMessage.Of(out), before.ErrorMessage.Of(body)) {
				t.Fatalf("%s: %q of %q", era, out, body)
			}
			if era == "modern" && after.Kind == mcp.Response && after.ResultType == "" && before.ResultTypeSpan.Empty() {
				t.Fatalf("modern without a kind: %q", out)
			}
		}
	})
}
