package testkit_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"headgate/internal/testkit"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

func TestEverything(t *testing.T) {
	url := testkit.Everything(t)

	t.Run("answers initialize", func(t *testing.T) {
		req := testkit.Must(http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(initialize)))(t)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		defer res.Body.Close()
		body := testkit.Must(io.ReadAll(io.LimitReader(res.Body, 1<<20)))(t)
		if res.StatusCode != 200 || !bytes.Contains(body, []byte(`"protocolVersion":"2025-11-25"`)) {
			t.Errorf("status %d, body %s", res.StatusCode, body)
		}
	})

	t.Run("is a tool server to the official Inspector", func(t *testing.T) {
		inspector := testkit.NPM(t, "@modelcontextprotocol/inspector", "mcp-inspector")
		cmd := exec.CommandContext(t.Context(), testkit.Node(t), inspector, "--cli", "--transport", "http", "--server-url", url,
			"--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello")
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Echo: hello") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.mjs")
	testkit.Must0(t, os.WriteFile(file, []byte(`
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import * as modern from "@modelcontextprotocol/client";
console.log(typeof Client, typeof modern.Client);
`), 0o644))
	script := testkit.Script(t, "@modelcontextprotocol/sdk", file)
	out := testkit.Must(exec.CommandContext(t.Context(), testkit.Node(t), script).CombinedOutput())(t)
	testkit.Equal(t, strings.TrimSpace(string(out)), "function function")
}

// The lock files are checked in: whose registry they were made with is nobody's
// business, and a foreign host in one would be fetched from.
func TestLockFilesNameNoHost(t *testing.T) {
	files := testkit.Must(filepath.Glob("node/*/package-lock.json"))(t)
	if len(files) == 0 {
		t.Fatal("no lock files found")
	}
	for _, file := range files {
		if bytes.Contains(testkit.Must(os.ReadFile(file))(t), []byte(`"resolved"`)) {
			t.Errorf("%s names hosts: write it again as node/README.md says", file)
		}
	}
}
