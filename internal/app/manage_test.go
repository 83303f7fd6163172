package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

// rootKeys are the first start's.
func (h *house) rootKeys() (organization, operator string) {
	h.t.Helper()
	var first struct{ OrganizationKey, OperatorKey string }
	testkit.Must0(h.t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(h.data, "first-run.json")))(h.t), &first))
	return first.OrganizationKey, first.OperatorKey
}

// manage uses a tool of the Management MCP; the error is the connection's.
func (h *house) manage(key, tool string, arguments any) (data map[string]any, failed bool, err error) {
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": arguments}})
	if err != nil {
		return nil, false, err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+h.addr+"/manage/mcp", bytes.NewReader(text))
	if err != nil {
		return nil, false, err
	}
	for k, v := range map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"} {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer res.Body.Close()
	var reply struct {
		Result struct {
			IsError bool
			Content []struct{ Text string }
		}
	}
	body, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(body, &reply)
	}
	if err == nil && len(reply.Result.Content) != 1 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, false, fmt.Errorf("%d %s: %w", res.StatusCode, body, err)
	}
	return data, reply.Result.IsError, json.Unmarshal([]byte(reply.Result.Content[0].Text), &data)
}

// operate imports, restarts and purges until the server dies.
func (h *house) operate(key string, life int) {
	var wg sync.WaitGroup
	forever := func(step func(n int) error) {
		wg.Go(func() {
			for n := 0; step(n) == nil; n++ {
			}
		})
	}
	forever(func(n int) error {
		var nodes []any
		for i := range 5 {
			nodes = append(nodes, map[string]any{"name": fmt.Sprintf("I%d-%d-%d", life, n, i), "files": map[string]any{"a.md": strings.Repeat("x", 10_000)},
				"servers": []any{map[string]any{"slug": "demo", "transport": "builtin", "url": "demo"}}})
		}
		_, _, err := h.manage(key, "create_org_from_template", map[string]any{"template": map[string]any{"name": fmt.Sprintf("R%d-%d", life, n), "workspaces": nodes}})
		return err
	})
	forever(func(int) error {
		_, _, err := h.manage(key, "restart_workspace", map[string]any{"workspace_id": "default"})
		return err
	})
	forever(func(n int) error {
		made, failed, err := h.manage(key, "provision_workspace", map[string]any{"name": fmt.Sprintf("P%d-%d", life, n), "template": "assistant"})
		if err != nil || failed {
			return err
		}
		_, _, err = h.manage(key, "deprovision_workspace", map[string]any{"workspace_id": made["id"], "purge": true})
		return err
	})
	wg.Wait()
}

// TestOperationsKilled kills the server in the midst of imports, restarts and
// purges: each is done or never began, and imports say which of their steps.
func TestOperationsKilled(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		for life := range 4 {
			h.start()
			key, _ := h.rootKeys()
			done := make(chan struct{})
			go func() { defer close(done); h.operate(key, life) }()
			time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond)
			h.stop(syscall.SIGKILL)
			<-done
		}
		begun := h.imports()
		h.start()
		key, _ := h.rootKeys()
		if got, failed, err := h.manage(key, "list_workspaces", map[string]any{}); err != nil || failed {
			t.Fatalf("%v %v", got, err)
		}
		h.toldOf(key, begun)
		h.stop(syscall.SIGTERM)
		h.operations()
	})
}

// toldOf waits until no import is said to run, by those who ask for it: over
// PostgreSQL another replica might still be at work, so that takes a moment.
func (h *house) toldOf(key string, ids []string) {
	h.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for _, id := range ids {
		for {
			got, failed, err := h.manage(key, "get_import", map[string]any{"import_id": id})
			if err != nil || failed {
				h.t.Fatalf("%v %v", got, err)
			}
			if got["state"] != "running" {
				break
			}
			if time.Now().After(deadline) {
				h.t.Fatalf("import %s still runs, two minutes after its process was killed", id)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// imports lists those that were begun.
func (h *house) imports() []string {
	h.t.Helper()
	s := h.open()
	defer s.Close()
	ids := testkit.Must(db.All(context.Background(), s, func(s *string) []any { return []any{s} }, `SELECT id FROM imports`))(h.t)
	if len(ids) == 0 {
		h.t.Fatal("no import was begun, so the kills show nothing")
	}
	return ids
}

// open opens the store of a stopped server, to look into it.
func (h *house) open() *db.Store {
	h.t.Helper()
	at := h.database
	if at == "" {
		at = filepath.Join(h.data, "headgate.db")
	}
	return testkit.Must(db.Open(context.Background(), at, db.Options{}))(h.t)
}

// operations looks into the store of a stopped server.
func (h *house) operations() {
	h.t.Helper()
	ctx := context.Background()
	s := h.open()
	defer s.Close()
	one := func(text string, args ...any) int64 {
		h.t.Helper()
		return testkit.Must(db.Value[int64](ctx, s, text, args...))(h.t)
	}
	type row struct{ id, state, steps string }
	imports := testkit.Must(db.All(ctx, s, func(r *row) []any { return []any{&r.id, &r.state, &r.steps} }, `SELECT id, state, steps FROM imports`))(h.t)
	for _, i := range imports {
		if i.state == "running" && h.database != "" {
			i.state = "interrupted" // who asked was told so; the row follows in a moment
		}
		if i.state != "done" && i.state != "interrupted" {
			h.t.Errorf("import %s is %s", i.id, i.state)
		}
		var steps []struct{ Name, State, Workspace string }
		testkit.Must0(h.t, json.Unmarshal([]byte(i.steps), &steps))
		for _, st := range steps {
			made := one(`SELECT COUNT(*) FROM workspaces w WHERE w.name = $1 AND (SELECT COUNT(*) FROM servers WHERE workspace_id = w.id) = 1 AND (SELECT COUNT(*) FROM workspace_files WHERE workspace_id = w.id) = 1`, st.Name)
			there := one(`SELECT COUNT(*) FROM workspaces WHERE name = $1`, st.Name)
			if want := map[string]int64{"created": 1, "waiting": 0}[st.State]; made != want || there != want || i.state == "done" && st.State != "created" {
				h.t.Errorf("import %s (%s): step %s says %s, but %d workspaces are there and %d whole", i.id, i.state, st.Name, st.State, there, made)
			}
		}
	}
	if n := one(`SELECT COUNT(*) FROM workspaces w WHERE status = 'purged' AND (removed_at IS NULL OR name <> 'purged' OR EXISTS (SELECT 1 FROM servers WHERE workspace_id = w.id) OR EXISTS (SELECT 1 FROM workspace_files WHERE workspace_id = w.id))`); n != 0 {
		h.t.Errorf("%d workspaces are purged by half", n)
	}
	if n := one(`SELECT COUNT(*) FROM workspaces w WHERE name LIKE 'P%' AND status <> 'purged' AND (removed_at IS NOT NULL OR NOT EXISTS (SELECT 1 FROM servers WHERE workspace_id = w.id AND removed_at IS NULL))`); n != 0 {
		h.t.Errorf("%d workspaces that are not purged lost something", n)
	}
	if n := one(`SELECT COUNT(*) FROM workspaces WHERE is_default AND status NOT IN ('provisioning', 'online')`); n != 0 {
		h.t.Error("a restart left the default workspace in no status of its own")
	}
	h.t.Logf("%d imports looked at", len(imports))
}

// TestInspectorManages drives the tools with the official Inspector, over HTTP
// and over stdio.
func TestInspectorManages(t *testing.T) {
	inspector, node := testkit.NPM(t, "@modelcontextprotocol/inspector", "mcp-inspector"), testkit.Node(t)
	h := newHouse(t, "")
	h.start()
	key, operator := h.rootKeys()
	use := func(name string, target []string, arguments ...string) string {
		t.Helper()
		args := append([]string{inspector, "--cli", "-e", "HEADGATE_URL=http://" + h.addr, "-e", "HEADGATE_ORG_KEY=" + key, "-e", "HEADGATE_OPERATOR_KEY=" + operator}, target...)
		args = append(args, "--method", "tools/call", "--tool-name", name, "--format", "json")
		for _, a := range arguments {
			args = append(args, "--tool-arg", a)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, args...)
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError // the Inspector's way to tell of a tool's failure
		if err != nil && !errors.As(err, &failed) {
			t.Errorf("%s: %v", name, err)
		}
		return string(out)
	}
	overHTTP := []string{"http://" + h.addr + "/manage/mcp", "--transport", "http", "--header", "Authorization: Bearer " + key}
	overStdio := []string{testkit.Must(binary())(t), "mcp", "management"}
	if out := use("provision_workspace", overHTTP, "name=Inspected", "tier=3"); !strings.Contains(out, "Inspected") {
		t.Errorf("over HTTP: %s", out)
	}
	if out := use("get_workspace", overStdio, "workspace_id=inspected"); !strings.Contains(out, `max_concurrent_tasks`) || !strings.Contains(out, "128") {
		t.Errorf("over stdio: %s", out)
	}
	for _, step := range []struct {
		tool      string
		target    []string
		arguments []string
		want      string
	}{
		{"create_org_from_template", overStdio, []string{"dir=starter"}, `\"state\": \"done\"`},
		{"set_workspace_secret", overHTTP, []string{"workspace_id=research", "key=TOKEN", "value=hunter2"}, `saved`},
		{"list_workspace_secrets", overStdio, []string{"workspace_id=research"}, `TOKEN`},
		{"set_workspace_budget", overHTTP, []string{"workspace_id=research", `budget_limits={"daily":500}`}, `\"limit\": 500`},
		{"list_org_events", overStdio, []string{"workspace_id=research"}, `budget.set`},
		{"provision_workspace", overHTTP, []string{"name=X", "tier=9"}, `tier`},
	} {
		if out := use(step.tool, step.target, step.arguments...); !strings.Contains(out, step.want) || strings.Contains(out, "hunter2") {
			t.Errorf("%s: %s", step.tool, out)
		}
	}
	if out := use("list_orgs", overStdio); !strings.Contains(out, "home") {
		t.Errorf("over stdio: %s", out)
	}
}
