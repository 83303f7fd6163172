//go:build linux && (amd64 || arm64)

package gateway_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

// TestConformanceOverStdio runs the official suite (HEADGATE_CONFORMANCE=1)
// through the Gateway in front of the Go SDK's everything-server as a program
// behind walls, and compares each check with the direct run over HTTP.
func TestConformanceOverStdio(t *testing.T) {
	if os.Getenv("HEADGATE_CONFORMANCE") == "" {
		t.Skip("set HEADGATE_CONFORMANCE=1, or run make conformance")
	}
	dir := t.TempDir()
	program, headgate := filepath.Join(dir, "everything-server"), filepath.Join(dir, "headgate")
	for path, pkg := range map[string]string{program: "github.com/modelcontextprotocol/go-sdk/conformance/everything-server", headgate: "headgate/cmd/headgate"} {
		if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	testkit.Must0(t, sandbox.Harden())
	log := slog.New(slog.DiscardHandler)
	launcher := testkit.Must(sandbox.NewLauncher(sandbox.Config{Executable: headgate, Log: log, Now: time.Now}))(t)
	host := stdio.NewHost(stdio.Options{Launcher: launcher, Version: "test", Log: log,
		Spec: func(_ context.Context, s *catalog.Server, _ *catalog.Binding) (sandbox.Spec, error) {
			return sandbox.Spec{Argv: []string{program}, ReadOnly: []string{program}, WorkDir: filepath.Join(dir, s.ID), Limits: sandbox.Limits{Data: 4 << 30}}, nil
		}})
	t.Cleanup(func() { host.Close(context.Background()) })
	h := newHouse(t, fixedPrincipal, func(o *houseOptions) {
		o.hub = func(o *upstream.Options) { o.Channels[catalog.Stdio] = host }
	})
	conformanceKey = h.key
	operator := &access.Principal{Kind: access.OperatorKey, ID: "op"}
	for _, era := range []catalog.Era{catalog.Legacy, catalog.Modern} {
		s := testkit.Must(h.catalog.CreateService(t.Context(), operator, catalog.ServiceInput{Slug: string(era), Transport: catalog.Stdio, Command: json.RawMessage(`{}`), Era: era}))(t)
		testkit.Must(h.catalog.CreateServer(t.Context(), h.owner, catalog.ServerInput{Workspace: h.workspace, Service: s.ID, ServiceInput: catalog.ServiceInput{Slug: string(era)}}))(t)
	}
	for _, c := range []struct{ name, revision, mode, through string }{
		{"legacy client, legacy program", "2025-11-25", "-stateless=false", "/mcp/legacy"},
		{"modern client, modern program", "2026-07-28", "-stateless", "/mcp/modern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := suite(t, c.revision, h.url+c.through)
			if err != nil {
				t.Errorf("not every scored scenario passes: %v", err)
			}
			compare(t, directly(t, c.revision, fixture(t, program, c.mode)), got, expected(t, strings.ReplaceAll(c.name, "program", "server")))
		})
	}
}
