package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// withKey sends the key with each request.
type withKey struct{ key string }

func (w withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.key)
	return http.DefaultTransport.RoundTrip(r)
}

// TestSDKClient uses everything with the Go SDK's client, over the merged
// endpoint, in front of the built-in server and one that nobody here wrote.
func TestSDKClient(t *testing.T) {
	h := newHouse(t)
	h.demo()
	h.serve("every", testkit.Everything(t))
	changed := make(chan struct{}, 8)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "decline"}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Role: "assistant", Model: "test", Content: &mcp.TextContent{Text: "sampled by the client"}}, nil
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.url + "/mcp", HTTPClient: &http.Client{Transport: withKey{h.key}}}, nil)
	testkit.Must0(t, err)
	defer s.Close()
	t.Logf("revision %s", s.InitializeResult().ProtocolVersion)
	t.Run("tools of all servers, by their merged names", func(t *testing.T) {
		names := map[string]bool{}
		for tool, err := range s.Tools(ctx, nil) {
			testkit.Must0(t, err)
			names[tool.Name] = true
		}
		for _, name := range []string{"demo_echo", "demo_add", "every_echo", "every_get-sum"} {
			if !names[name] {
				t.Errorf("%s is missing from %v", name, names)
			}
		}
	})
	t.Run("a call of each", func(t *testing.T) {
		for name, args := range map[string]map[string]any{"demo_echo": {"text": "hello"}, "every_echo": {"message": "hello"}} {
			r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: args})
			testkit.Must0(t, err)
			if text := r.Content[0].(*mcp.TextContent).Text; !strings.Contains(text, "hello") {
				t.Errorf("%s: %s", name, text)
			}
		}
	})
	t.Run("a server's sampling comes to the client, in whichever way its era has", func(t *testing.T) {
		r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "every_trigger-sampling-request", Arguments: map[string]any{"prompt": "p", "maxTokens": 10}})
		testkit.Must0(t, err)
		text, _ := json.Marshal(r)
		if !strings.Contains(string(text), "sampled by the client") {
			t.Errorf("%s", text)
		}
	})
	t.Run("resources, templates and prompts", func(t *testing.T) {
		for _, uri := range []string{"demo://about", "demo://greeting/Ada"} {
			r, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: uri})
			testkit.Must0(t, err)
			if len(r.Contents) != 1 || r.Contents[0].Text == "" {
				t.Errorf("%s: %+v", uri, r)
			}
		}
		p, err := s.GetPrompt(ctx, &mcp.GetPromptParams{Name: "demo_introduce", Arguments: map[string]string{"audience": "children"}})
		testkit.Must0(t, err)
		if len(p.Messages) != 1 {
			t.Errorf("%+v", p)
		}
	})
	t.Run("an unknown tool is an error of the call", func(t *testing.T) {
		if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "nothing"}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("progress reaches it", func(t *testing.T) {
		up := h.raw("raw", rawmcp.Options{})
		select {
		case <-changed:
		case <-time.After(patience):
			t.Error("it was not told of the new server")
		}
		r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "raw_progress", Arguments: map[string]any{"steps": 3}, Meta: mcp.Meta{"progressToken": "p"}})
		testkit.Must0(t, err)
		if len(r.Content) == 0 || up.Calls() != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// run runs a Node program and returns what it prints.
func run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.Node(t), args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it is returned as it is
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%v: %v\n%s\n%s", args, err, out, stderr)
	}
	return string(out)
}

// TestTypeScriptClient uses the official client of each era.
func TestTypeScriptClient(t *testing.T) {
	h := newHouse(t)
	h.demo()
	h.serve("every", testkit.Everything(t))
	for era, pkg := range map[string]string{"legacy": "@modelcontextprotocol/sdk", "modern": "@modelcontextprotocol/client"} {
		t.Run(era, func(t *testing.T) {
			script := testkit.Script(t, pkg, "testdata/clients/"+era+".mjs")
			for _, path := range []string{"/mcp", "/mcp/every"} {
				var got struct {
					Revision string
					Tools    []string
					Echo     string
					Sampled  string
					Error    string
				}
				decode(t, run(t, script, h.url+path, h.key), &got)
				t.Logf("%s: %s, %d tools", path, got.Revision, len(got.Tools))
				if !strings.Contains(got.Echo, "hello") || len(got.Tools) < 10 || got.Error == "" || !strings.Contains(got.Sampled, "sampled by the client") {
					t.Errorf("%s: %+v", path, got)
				}
				if (era == "modern") != (got.Revision == "2026-07-28") {
					t.Errorf("%s spoke %s", era, got.Revision)
				}
			}
		})
	}
}

// TestInspector uses the official Inspector's command line, in both eras.
func TestInspector(t *testing.T) {
	h := newHouse(t)
	h.demo()
	inspector := testkit.NPM(t, "@modelcontextprotocol/inspector", "mcp-inspector")
	for _, era := range []string{"legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			out := run(t, inspector, "--cli", h.url+"/mcp/demo", "--transport", "http", "--protocol-era", era, "--header", "Authorization: Bearer "+h.key,
				"--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello", "--format", "json")
			if !strings.Contains(out, "hello") {
				t.Error(out)
			}
		})
	}
}
