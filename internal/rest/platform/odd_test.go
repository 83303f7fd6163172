package platform_test

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/upstream"
)

// odd is an MCP server with what the demo has not: tools without structure, of
// secret arguments, of large numbers, that fail; blobs; templates of every
// form.
func odd() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "odd", Version: "1"}, nil)
	tool := func(name, schema string, answer func(args string) *mcp.CallToolResult) {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(schema)}, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return answer(string(r.Params.Arguments)), nil
		})
	}
	said := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	tool("plain", `{"type":"object"}`, said)
	tool("sign", `{"type":"object","properties":{"pin":{"type":"string","writeOnly":true},"doc":{"type":"string"}}}`, func(string) *mcp.CallToolResult { return said("signed") })
	tool("big", `{"type":"object"}`, func(args string) *mcp.CallToolResult {
		r := said("big")
		r.StructuredContent = json.RawMessage(`{"n":9007199254740993,"args":` + args + `}`)
		return r
	})
	tool("fails", `{"type":"object"}`, func(string) *mcp.CallToolResult {
		r := said("it does not work")
		r.IsError = true
		return r
	})
	s.AddTool(&mcp.Tool{Name: "refuses", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, &jsonrpc.Error{Code: -32602, Message: "no such thing", Data: json.RawMessage(`{"hint":"try another"}`)}
	})
	s.AddResource(&mcp.Resource{URI: "odd://blob", Name: "blob", MIMEType: "image/png"}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "image/png", Blob: []byte{0, 1, 2, 255}}}}, nil
	})
	for name, template := range map[string]string{"path": "odd://path/{a}/{b}", "reserved": "odd://reserved/{+path}", "query": "odd://query{?q,r}"} {
		s.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: template, Name: name, MIMEType: "text/plain"}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "text/plain", Text: r.Params.URI}}}, nil
		})
	}
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true})
}

func builtins() upstream.Builtins {
	return upstream.Builtins{"odd": odd(), "broken": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "boom", http.StatusInternalServerError)
	})}
}
