package app_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"headgate/internal/testkit"
)

// TestClientsConnect uses the official clients over stdio, with headgate connect
// between them and a running server: the TypeScript client and the Inspector.
func TestClientsConnect(t *testing.T) {
	node, program := testkit.Node(t), testkit.Must(binary())(t)
	h := newHouse(t, "")
	h.start()
	env := []string{"HEADGATE_URL=http://" + h.addr, "HEADGATE_KEY=" + h.first.APIKey}
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, args...)
		cmd.Env = append(cmd.Environ(), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	t.Run("the TypeScript client initializes, lists and calls, on a server's endpoint and on the merged one", func(t *testing.T) {
		script := testkit.Script(t, "@modelcontextprotocol/sdk", "testdata/clients/connect.mjs")
		for path, tool := range map[string]string{"/mcp": "demo_echo", "/mcp/demo": "echo"} {
			var got struct {
				Server, Said, Error string
				Tools               []string
			}
			testkit.Must0(t, json.Unmarshal([]byte(run(script, program, "connect", path)), &got))
			if got.Server == "" || !slices.Contains(got.Tools, tool) || !strings.Contains(got.Said, "over stdio") || got.Error == "" {
				t.Errorf("%s: %+v", path, got)
			}
		}
	})
	t.Run("so does the Inspector, which is told the environment by name", func(t *testing.T) {
		inspector := testkit.NPM(t, "@modelcontextprotocol/inspector", "mcp-inspector")
		args := []string{inspector, "--cli", "-e", env[0], "-e", env[1], program, "connect", "/mcp/demo", "--method"}
		if out := run(append(args, "tools/list")...); !strings.Contains(out, `"echo"`) {
			t.Errorf("%s", out)
		}
		if out := run(append(args, "tools/call", "--tool-name", "echo", "--tool-arg", "text=inspected")...); !strings.Contains(out, "inspected") {
			t.Errorf("%s", out)
		}
	})
}
