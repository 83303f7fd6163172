package testkit

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Everything starts the reference MCP server server-everything, which speaks
// the revisions with sessions, and returns its URL on loopback.
func Everything(t testing.TB) string {
	t.Helper()
	program := NPM(t, "@modelcontextprotocol/server-everything", "mcp-server-everything")
	return NodeServer(t, program, "streamableHttp") + "/mcp"
}

// NodeServer starts a server written for Node and returns the base URL it
// listens on: a free port of loopback, whatever the program would choose. It
// ends with the test, and so does all it has started.
func NodeServer(t testing.TB, program string, args ...string) string {
	t.Helper()
	preload := filepath.Join(Must(Root())(t), "internal", "testkit", "node", "loopback.mjs")
	cmd := exec.Command(Node(t), append([]string{"--import", preload, program}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Stderr = t.Output()
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	Must(cmd.StdinPipe())(t) // held open: the server ends when we do, however that happens
	out := Must(cmd.StdoutPipe())(t)
	Must0(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // says that it was killed
	})
	port := make(chan string, 1)
	go func() {
		defer close(port)
		for lines := bufio.NewScanner(out); lines.Scan(); { // to its end, or a chatty server blocks
			if p, ok := strings.CutPrefix(lines.Text(), "loopback port "); ok {
				port <- p
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case p, ok := <-port:
		if !ok {
			t.Fatalf("%s ended before it listened", filepath.Base(program))
		}
		return "http://127.0.0.1:" + p
	case <-ctx.Done():
		t.Fatalf("%s did not listen: %v", filepath.Base(program), ctx.Err())
		return ""
	}
}
