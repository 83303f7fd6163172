package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Name is the transport address of the server inside the process.
const Name = "demo"

type echoInput struct {
	Text string `json:"text" jsonschema:"what to say back"`
}

type echoOutput struct {
	Text string `json:"text"`
}

type addInput struct {
	A float64 `json:"a" jsonschema:"the first number"`
	B float64 `json:"b" jsonschema:"the second number"`
}

type addOutput struct {
	Sum float64 `json:"sum"`
}

type nowInput struct {
	Zone string `json:"zone,omitempty" jsonschema:"an IANA time zone such as Europe/Berlin; UTC when left out"`
}

type nowOutput struct {
	Time string `json:"time"`
	Zone string `json:"zone"`
}

// Handler serves the demo over Streamable HTTP, in every revision, without
// sessions.
func Handler(version string, now func() time.Time) http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "headgate-demo", Title: "Headgate demo", Version: version},
		&mcp.ServerOptions{Instructions: "A demonstration: echo, add and now."})
	yes := true
	readOnly := func(title string) *mcp.ToolAnnotations {
		no := false
		return &mcp.ToolAnnotations{Title: title, ReadOnlyHint: yes, OpenWorldHint: &no, IdempotentHint: yes}
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "Says back what you say.", Annotations: readOnly("Echo")},
		func(_ context.Context, _ *mcp.CallToolRequest, in echoInput) (*mcp.CallToolResult, echoOutput, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, echoOutput(in), nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "Adds two numbers.", Annotations: readOnly("Add")},
		func(_ context.Context, _ *mcp.CallToolRequest, in addInput) (*mcp.CallToolResult, addOutput, error) {
			sum := in.A + in.B
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(sum)}}}, addOutput{sum}, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "now", Description: "Tells the time in a zone.", Annotations: readOnly("Now")},
		func(_ context.Context, _ *mcp.CallToolRequest, in nowInput) (*mcp.CallToolResult, nowOutput, error) {
			zone, err := time.LoadLocation(in.Zone)
			if err != nil || in.Zone == "Local" {
				return nil, nowOutput{}, fmt.Errorf("there is no time zone of that name; use an IANA name such as Europe/Berlin")
			}
			t := now().In(zone).Format(time.RFC3339)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: t}}}, nowOutput{t, zone.String()}, nil
		})
	const about = "Headgate stands in front of MCP servers: it lets the right callers in, routes each call, meters it and logs it.\n"
	s.AddResource(&mcp.Resource{URI: "demo://about", Name: "about", Title: "About Headgate", MIMEType: "text/plain", Description: "What you are talking to."},
		func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "text/plain", Text: about}}}, nil
		})
	s.AddResourceTemplate(&mcp.ResourceTemplate{URITemplate: "demo://greeting/{name}", Name: "greeting", Title: "A greeting", MIMEType: "text/plain", Description: "Greets somebody by name."},
		func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			name := r.Params.URI[len("demo://greeting/"):]
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, MIMEType: "text/plain", Text: "Hello, " + name + "!\n"}}}, nil
		})
	s.AddPrompt(&mcp.Prompt{Name: "introduce", Title: "Introduce Headgate", Description: "Asks a model to explain Headgate to somebody.",
		Arguments: []*mcp.PromptArgument{{Name: "audience", Description: "who is to understand it", Required: true}}},
		func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Description: "Introduce Headgate", Messages: []*mcp.PromptMessage{{Role: "user",
				Content: &mcp.TextContent{Text: "Explain in three sentences what a gateway for MCP servers is good for. The audience: " + r.Params.Arguments["audience"] + "."}}}}, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true, DisableLocalhostProtection: true})
}
