package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/testkit"
)

// oldServer is a legacy server by the Go SDK with two tools that ask their
// caller for a word and give it back: one on the stream of the call, and one on
// its session's own, as many old servers do.
func oldServer(t testing.TB) string {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "old", Version: "1"}, nil)
	type in struct {
		Nonce string `json:"nonce"`
	}
	ask := func(aside bool) mcp.ToolHandlerFor[in, any] {
		return func(ctx context.Context, r *mcp.CallToolRequest, in in) (*mcp.CallToolResult, any, error) {
			if aside {
				ctx = context.Background() // what relates to no request goes to the session's stream
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: in.Nonce, RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"word": map[string]any{"type": "string"}}}})
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(answer.Content["word"])}}}, nil, nil
		}
	}
	mcp.AddTool(s, &mcp.Tool{Name: "beside"}, ask(false))
	mcp.AddTool(s, &mcp.Tool{Name: "aside"}, ask(true))
	h := httptest.NewServer(untilEnd(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h.URL
}

// TestEverybodyIsAskedHisOwn has many clients of one principal in both eras
// call at once a server that asks each of them something. Nobody is asked what
// another's call wants to know.
func TestEverybodyIsAskedHisOwn(t *testing.T) {
	h := newHouse(t)
	h.serve("old", oldServer(t))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for c := range 12 {
		wg.Go(func() {
			name := fmt.Sprintf("client-%d-", c)
			client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ClientOptions{
				ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
					return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"word": name + r.Params.Message}}, nil
				},
			})
			o := &mcp.ClientSessionOptions{}
			if c%3 == 0 {
				o.ProtocolVersion = "2025-11-25"
			}
			s, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: h.url + "/mcp/old", HTTPClient: &http.Client{Transport: withKey{h.key}}}, o)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for n := range 6 {
				nonce := fmt.Sprintf("%d-%d", c, n)
				tool := []string{"beside", "aside"}[n%2]
				r, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"nonce": nonce}})
				if err != nil {
					t.Errorf("client %d, %s: %v", c, tool, err)
					return
				}
				if got := r.Content[0].(*mcp.TextContent).Text; got != name+nonce {
					t.Errorf("%s%s got %s", name, nonce, got)
				}
			}
		})
	}
	wg.Wait()
	testkit.Equal(t, h.balance(), int64(1_000_000-72))
}
