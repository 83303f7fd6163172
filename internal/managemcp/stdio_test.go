package managemcp_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/id"
	"headgate/internal/managemcp"
	"headgate/internal/testkit"
)

// stdio starts the server over pipes and connects the SDK's client to it.
func stdio(t *testing.T, c managemcp.Config) *mcp.ClientSession {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	toServer, fromClient := io.Pipe()
	toClient, fromServer := io.Pipe()
	c.In, c.Out, c.Version = toServer, fromServer, "test"
	ended := make(chan error, 1)
	go func() { ended <- managemcp.Stdio(ctx, c) }()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s := testkit.Must(client.Connect(ctx, &mcp.IOTransport{Reader: toClient, Writer: fromClient}, nil))(t)
	t.Cleanup(func() {
		_ = s.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stdio ended with %v", err)
		}
	})
	return s
}

func use(t *testing.T, s *mcp.ClientSession, name string, arguments any) *answer {
	t.Helper()
	r := testkit.Must(s.CallTool(t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments}))(t)
	a := &answer{t: t, name: name, IsError: r.IsError}
	testkit.Must0(t, json.Unmarshal([]byte(r.Content[0].(*mcp.TextContent).Text), &a.Data))
	return a
}

func TestStdio(t *testing.T) {
	h := newHouse(t)
	org := h.owner.Organization
	t.Run("the same tools as over HTTP, against any Headgate", func(t *testing.T) {
		s := stdio(t, managemcp.Config{URL: h.server.URL, OrgKey: h.key, OrgID: org.ID, OrgSlug: org.Slug, OperatorKey: h.operator})
		list := testkit.Must(s.ListTools(t.Context(), nil))(t)
		testkit.Equal(t, len(list.Tools), len(h.list(h.headers())))
		made := use(t, s, "provision_workspace", map[string]any{"name": "Far"}).ok()
		status, _ := h.api("GET", "/workspaces/"+text(made["id"]), nil)
		testkit.Equal(t, status, 200)
		testkit.Equal(t, use(t, s, "deprovision_workspace", map[string]any{"workspace_id": "far"}).ok()["status"], any("removed"))
		use(t, s, "get_workspace", map[string]any{"workspace_id": "nobody"}).failed("HTTP 404")
		use(t, s, "get_workspace", map[string]any{}).failed("INVALID_ARGUMENTS")
		use(t, s, "list_orgs", map[string]any{}).ok()
	})
	t.Run("without a key, or the operator's, nothing is called", func(t *testing.T) {
		s := stdio(t, managemcp.Config{URL: "http://127.0.0.1:1"})
		use(t, s, "list_workspaces", map[string]any{}).failed("AUTH_ERROR")
		use(t, s, "list_orgs", map[string]any{}).failed("CP_TIER_NOT_CONFIGURED")
	})
	t.Run("a key of another organization than the one named", func(t *testing.T) {
		for _, c := range []managemcp.Config{{OrgID: id.New("org")}, {OrgID: "x"}, {OrgSlug: "other"}} {
			c.URL, c.OrgKey = h.server.URL, h.key
			testkit.Equal(t, int(use(t, stdio(t, c), "list_workspaces", map[string]any{}).Data["status"].(float64)), 404)
		}
		use(t, stdio(t, managemcp.Config{URL: h.server.URL, OrgKey: "ok_wrong", OrgID: org.ID}), "list_workspaces", map[string]any{}).failed("AUTH_ERROR")
	})
	t.Run("a Headgate that is away is told of", func(t *testing.T) {
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		url := "http://" + l.Addr().String()
		testkit.Must0(t, l.Close())
		a := use(t, stdio(t, managemcp.Config{URL: url, OrgKey: h.key}), "list_workspaces", map[string]any{})
		testkit.Equal(t, a.Data["error"], any("Tenant host unreachable at "+url))
	})
	t.Run("one workspace acting on itself", func(t *testing.T) {
		key := text(h.tool("mint_workspace_token", map[string]any{"workspace_id": "default"}).ok()["auth_token"])
		s := stdio(t, managemcp.Config{URL: h.server.URL, OrgKey: key, Mode: "workspace"})
		testkit.Equal(t, use(t, s, "get_workspace", map[string]any{}).ok()["default"], any(true))
	})
	t.Run("settings that cannot be", func(t *testing.T) {
		for _, c := range []managemcp.Config{{Mode: "both"}, {URL: "ftp://x"}, {URL: "http://user:pass@x"}, {URL: "::"}} {
			if err := managemcp.Stdio(t.Context(), c); err == nil {
				t.Errorf("%+v was taken", c)
			}
		}
	})
}
