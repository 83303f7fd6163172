//go:build linux && (amd64 || arm64)

package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

// api sends a request to the Platform API and decodes its data.
func (h *house) api(key, method, path string, body, data any) {
	h.t.Helper()
	status, text := h.send(key, method, "/v1"+path, body)
	if status >= 300 {
		h.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	if data != nil {
		testkit.Must0(h.t, json.Unmarshal(text, &struct{ Data any }{data}))
	}
}

func (h *house) send(key, method, path string, body any) (int, []byte) {
	h.t.Helper()
	var text string
	if body != nil {
		text = string(testkit.Must(json.Marshal(body))(h.t))
	}
	r := testkit.Must(http.NewRequestWithContext(h.t.Context(), method, "http://"+h.addr+path, strings.NewReader(text)))(h.t)
	r.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res := testkit.Must(http.DefaultClient.Do(r))(h.t)
	defer res.Body.Close()
	return res.StatusCode, testkit.Must(io.ReadAll(res.Body))(h.t)
}

// keys are those of the first start.
func (h *house) keys() (personal, operator string) {
	var first struct{ APIKey, OperatorKey string }
	testkit.Must0(h.t, json.Unmarshal(testkit.Must(os.ReadFile(filepath.Join(h.data, "first-run.json")))(h.t), &first))
	return first.APIKey, first.OperatorKey
}

// offer enables an entry and makes a server of it, which it names.
func (h *house) offer(entry, slug, workspace string) {
	h.t.Helper()
	personal, operator := h.keys()
	var data struct{ Entry struct{ ServiceID string } }
	h.api(operator, "POST", "/admin/catalog/"+entry+"/enable", map[string]any{}, &data)
	body := map[string]any{"slug": slug, "serviceId": data.Entry.ServiceID}
	if workspace != "" {
		body["workspaceId"] = workspace
	}
	h.api(personal, "POST", "/mcp/servers", body, nil)
}

// walls skips where this host refuses them, unless CI is set.
func (h *house) walls() {
	h.t.Helper()
	_, operator := h.keys()
	var data struct {
		Sandbox struct {
			Enabled bool
			Message string
			Walls   []struct{ Detail string }
		}
	}
	h.api(operator, "GET", "/admin/sandbox", nil, &data)
	if data.Sandbox.Enabled {
		return
	}
	if os.Getenv("CI") == "" && strings.Contains(data.Sandbox.Walls[0].Detail, "forbids") {
		h.t.Skip(data.Sandbox.Message)
	}
	h.t.Fatal(data.Sandbox.Message)
}

// connect opens a session of the official client with an endpoint, in a
// revision; "" is its newest.
func (h *house) connect(path, revision string, o *mcp.ClientOptions) *mcp.ClientSession {
	h.t.Helper()
	personal, _ := h.keys()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, o)
	s, err := c.Connect(h.t.Context(), &mcp.StreamableClientTransport{Endpoint: "http://" + h.addr + path, HTTPClient: &http.Client{Transport: bearer(personal)}}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	testkit.Must0(h.t, err)
	h.t.Cleanup(func() { _ = s.Close() })
	return s
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// say calls a tool and returns its text.
func say(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) string {
	t.Helper()
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	return textOf(r)
}

func textOf(r *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range r.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			b.WriteString(text.Text)
		}
	}
	return b.String()
}

// TestRealPrograms runs the reference servers from npm behind the Gateway.
func TestRealPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("installs from npm")
	}
	testkit.Node(t)
	h := newHouse(t, "")
	h.start()
	h.walls()
	h.second("second")
	for _, name := range []string{"everything", "filesystem", "memory", "sequential-thinking"} {
		h.offer(name, name, "")
	}
	for _, revision := range []string{"2025-11-25", "2026-07-28"} {
		t.Run("everything, to a client of "+revision, func(t *testing.T) { h.everything(t, revision) })
	}
	t.Run("filesystem writes and reads in its own directory, and nowhere else", func(t *testing.T) {
		s := h.connect("/mcp/filesystem", "", nil)
		say(t, s, "write_file", map[string]any{"path": "/private/files/note.txt", "content": "hello"})
		if got := say(t, s, "read_text_file", map[string]any{"path": "/private/files/note.txt"}); got != "hello" {
			t.Errorf("got %q", got)
		}
		if got := say(t, s, "read_text_file", map[string]any{"path": "/etc/passwd"}); !strings.Contains(got, "denied") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("memory remembers, also when it was killed", func(t *testing.T) {
		s := h.connect("/mcp/memory", "", nil)
		say(t, s, "create_entities", map[string]any{"entities": []any{map[string]any{"name": "Ada", "entityType": "person", "observations": []string{"counts"}}}})
		kill(t, h.cmd.Process.Pid, "server-memory")
		if got := say(t, s, "read_graph", map[string]any{}); !strings.Contains(got, "Ada") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("another workspace's memory is another", func(t *testing.T) {
		h.offer("memory", "memory", "second")
		s := h.connect("/mcp/w/second/memory", "", nil)
		if got := say(t, s, "read_graph", map[string]any{}); strings.Contains(got, "Ada") {
			t.Errorf("got %q", got)
		}
		if n := len(descendants(h.cmd.Process.Pid, "server-memory")); n != 2 {
			t.Errorf("%d processes", n)
		}
	})
	t.Run("sequential thinking thinks", func(t *testing.T) {
		s := h.connect("/mcp/sequential-thinking", "", nil)
		if got := say(t, s, "sequentialthinking", map[string]any{"thought": "one", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": false}); !strings.Contains(got, `"thoughtNumber": 1`) {
			t.Errorf("got %q", got)
		}
	})
	t.Run("all of them are one list at the merged endpoint", func(t *testing.T) {
		l := testkit.Must(h.connect("/mcp", "", nil).ListTools(t.Context(), nil))(t)
		seen := map[string]bool{}
		for _, tool := range l.Tools {
			server, _, _ := strings.Cut(tool.Name, "_")
			seen[server] = true
		}
		for _, name := range []string{"demo", "everything", "filesystem", "memory", "sequential-thinking"} {
			if !seen[name] {
				t.Errorf("%s is missing among %v", name, seen)
			}
		}
	})
	t.Run("kill -9 of Headgate leaves no process, and the next start goes on", func(t *testing.T) {
		left := descendants(h.cmd.Process.Pid, "server-")
		if len(left) < 4 {
			t.Fatalf("%d programs run", len(left))
		}
		h.stop(syscall.SIGKILL)
		gone(t, left)
		h.start()
		s := h.connect("/mcp/memory", "", nil)
		if got := say(t, s, "read_graph", map[string]any{}); !strings.Contains(got, "Ada") {
			t.Errorf("got %q", got)
		}
		left = descendants(h.cmd.Process.Pid, "server-")
		h.stop(syscall.SIGTERM)
		gone(t, left)
	})
}

// everything uses what the reference server has.
func (h *house) everything(t *testing.T, revision string) {
	progress := make(chan string, 100)
	s := h.connect("/mcp/everything", revision, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ada", "check": true}}, nil
		},
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			return &mcp.CreateMessageResult{Model: "m", Role: "assistant", Content: &mcp.TextContent{Text: "forty-two"}}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			progress <- fmt.Sprint(r.Params.ProgressToken)
		},
	})
	if got := say(t, s, "echo", map[string]any{"message": "hello"}); got != "Echo: hello" {
		t.Errorf("got %q", got)
	}
	if got := say(t, s, "trigger-elicitation-request", map[string]any{}); !strings.Contains(got, "Ada") {
		t.Errorf("elicitation: %q", got)
	}
	if got := say(t, s, "trigger-sampling-request", map[string]any{"prompt": "what?"}); !strings.Contains(got, "forty-two") {
		t.Errorf("sampling: %q", got)
	}
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "trigger-long-running-operation", Arguments: map[string]any{"duration": 1, "steps": 4}, Meta: mcp.Meta{"progressToken": "mine"}})
	testkit.Must0(t, err)
	if !strings.Contains(textOf(r), "completed") {
		t.Errorf("got %q", textOf(r))
	}
	for range 4 {
		select {
		case token := <-progress:
			if token != "mine" {
				t.Errorf("progress of %s", token)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("a step without progress")
		}
	}
	prompts := testkit.Must(s.ListPrompts(t.Context(), nil))(t)
	resources := testkit.Must(s.ListResources(t.Context(), nil))(t)
	if len(prompts.Prompts) == 0 || len(resources.Resources) == 0 {
		t.Errorf("%d prompts, %d resources", len(prompts.Prompts), len(resources.Resources))
	}
	if read := testkit.Must(s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: resources.Resources[0].URI}))(t); len(read.Contents) == 0 {
		t.Error("an empty resource")
	}
}

// second makes a workspace beside the default, while the server rests.
func (h *house) second(slug string) {
	h.t.Helper()
	h.stop(syscall.SIGTERM)
	store := testkit.Must(db.Open(h.t.Context(), filepath.Join(h.data, "headgate.db"), db.Options{}))(h.t)
	testkit.Must(db.Exec(h.t.Context(), store, `INSERT INTO workspaces (id, organization_id, slug, name, is_default, status, runtime, tier, created_at, updated_at)
		SELECT $1, organization_id, $2, $2, FALSE, status, runtime, tier, created_at, updated_at FROM workspaces WHERE is_default`, id.New("ws"), slug))(h.t)
	testkit.Must0(h.t, store.Close())
	h.start()
}

// descendants lists the processes below one whose command line has a word.
func descendants(root int, word string) (pids []int) {
	children := map[int][]int{}
	lines := map[int]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		stat, _ := os.ReadFile(dir + "/stat")
		_, rest, ok := strings.Cut(string(stat), ") ")
		if !ok {
			continue
		}
		parent, _ := strconv.Atoi(strings.Fields(rest)[1])
		children[parent] = append(children[parent], pid)
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		lines[pid] = string(cmdline)
	}
	queue := []int{root}
	for i := 0; i < len(queue); i++ {
		queue = append(queue, children[queue[i]]...)
		if i > 0 && strings.Contains(lines[queue[i]], word) {
			pids = append(pids, queue[i])
		}
	}
	return pids
}

func kill(t *testing.T, root int, word string) {
	t.Helper()
	pids := descendants(root, word)
	if len(pids) == 0 {
		t.Fatalf("no process of %s", word)
	}
	for _, pid := range pids {
		testkit.Must0(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	gone(t, pids)
}

// gone waits until nothing is left, five seconds at most.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var left []int
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after five seconds %v are left", left)
		}
	}
}

// TestHostilePrograms lets a stranger's program do its worst behind the whole
// stack, while another tenant's program works.
func TestHostilePrograms(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hostile-program")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/hostile").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h := newHouse(t, "")
	l := testkit.Must(net.Listen("tcp", "127.0.0.2:0"))(t) // where no connection of a client takes the port
	internal := l.Addr().String()
	testkit.Must0(t, l.Close())
	h.flags = []string{"--internal-listen", internal}
	h.start()
	h.walls()
	h.second("other")
	_, operator := h.keys()
	for _, name := range []string{"hostile", "peaceful"} {
		h.api(operator, "POST", "/admin/catalog", map[string]any{"entry": "name: " + name + "\nprogram: " + program + "\nlimits: {memoryMiB: 200, dataMiB: 4096, diskMiB: 30, processes: 40}\n"}, nil)
	}
	h.offer("hostile", "hostile", "")
	h.offer("peaceful", "peaceful", "other")
	s, other := h.connect("/mcp/hostile", "", nil), h.connect("/mcp/w/other/peaceful", "", nil)
	attack := func(tool string, list ...string) (string, error) {
		r, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"list": list}})
		if err != nil {
			return "", err
		}
		return textOf(r), nil
	}
	must := func(tool string, list ...string) string { return testkit.Must(attack(tool, list...))(t) }
	t.Run("sees no other process, no environment of ours", func(t *testing.T) {
		if got := must("environ"); strings.Contains(got, "HEADGATE") || strings.Contains(got, "PATH") && strings.Contains(got, "/root") {
			t.Errorf("%s", got)
		}
		if got := must("environment"); got != "HOME=/private\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=/tmp" {
			t.Errorf("%s", got)
		}
	})
	t.Run("reads no file of ours, nor another tenant's", func(t *testing.T) {
		var paths []string
		testkit.Must0(t, filepath.WalkDir(h.data, func(name string, _ os.DirEntry, _ error) error {
			if !strings.Contains(name, "/hostile") && len(paths) < 60 {
				paths = append(paths, name)
			}
			return nil
		}))
		paths = append(paths, h.data, filepath.Dir(h.data), "/etc/shadow", "/root", "/proc/1/root", "/proc/1/mem", "/proc/1/cwd", "/sys/fs", "/var", "/home", "/run")
		if got := must("files", paths...); got != "" {
			t.Errorf("%s", got)
		}
	})
	t.Run("reaches no socket, no loopback, no metadata address", func(t *testing.T) {
		dir := t.TempDir()
		l := testkit.Must(net.Listen("unix", filepath.Join(dir, "s")))(t)
		defer l.Close()
		a := testkit.Must(net.Listen("unix", "@headgate-hostile"))(t)
		defer a.Close()
		if got := must("connect", "tcp:"+h.addr, "tcp:169.254.169.254:80", "tcp:[::1]:22", "unix:"+l.Addr().String(), "abstract:headgate-hostile", "unix:/var/run/docker.sock", "tcp:127.0.0.1:5432"); got != "" {
			t.Errorf("%s", got)
		}
	})
	t.Run("starts a bounded number of processes", func(t *testing.T) {
		n := testkit.Must(strconv.Atoi(must("processes")))(t)
		if n > 40 {
			t.Errorf("%d", n)
		}
	})
	t.Run("floods standard error and stays answerable, its log bounded", func(t *testing.T) {
		if got := must("stderr"); got != "flooded" {
			t.Errorf("%s", got)
		}
	})
	for _, tool := range []string{"disk", "memory", "gigabyte"} {
		t.Run(tool+": is ended at its bound; others' calls go on, and so does its next", func(t *testing.T) {
			stop := make(chan struct{})
			idle := stillness(t, h.data)
			var neighbour sync.WaitGroup
			neighbour.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					answered := make(chan error, 1)
					go func() {
						r, err := other.CallTool(t.Context(), &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"list": []string{"x"}}})
						if err == nil && textOf(r) != "x" {
							err = fmt.Errorf("it got %q", textOf(r))
						}
						answered <- err
					}()
					var err error
					select {
					case err = <-answered:
					case <-time.After(10 * time.Second):
						t.Logf("the neighbour waits:\n%s", h.state(internal)) // while the cause is there to be seen
						err = <-answered
					}
					if waited, still := time.Since(began), idle(); err != nil || waited > 3*time.Second+still {
						t.Errorf("the neighbour waited %s, in which the machine or its disk stood still for %s at most: %v", waited, still, err)
						return
					}
				}
			})
			got, err := attack(tool)
			close(stop)
			neighbour.Wait()
			if err == nil && (got == "FILLED" || strings.HasPrefix(got, "TOOK") || got == "WROTE") {
				t.Errorf("%s: %s", tool, got)
			}
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if got, err := attack("echo", "again"); err == nil && got == "again" {
					break
				} else if time.Now().After(end) {
					t.Fatalf("it does not come back: %s %v", got, err)
				}
			}
			if tool == "disk" { // what it filled is its own affair: an operator's disable takes it away
				testkit.Must0(t, emptyWork(h.data, "hostile"))
			}
		})
	}
	t.Run("descendants that left their session end with it", func(t *testing.T) {
		must("linger")
		left := descendants(h.cmd.Process.Pid, "hostile-program")
		if len(left) < 4 {
			t.Fatalf("%d processes", len(left))
		}
		h.stop(syscall.SIGKILL)
		gone(t, left)
	})
}

// stillness watches whether the machine stands still, or its disk; idle says for
// how long at most since it was asked last. A busy machine is no fault of ours.
func stillness(t *testing.T, dir string) (idle func() time.Duration) {
	var most atomic.Int64
	note := func(since time.Time) {
		for d := int64(time.Since(since)); ; {
			old := most.Load()
			if d <= old || most.CompareAndSwap(old, d) {
				return
			}
		}
	}
	file := testkit.Must(os.Create(filepath.Join(dir, "stillness")))(t)
	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	t.Cleanup(func() { cancel(); watch.Wait(); file.Close() })
	watch.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			time.Sleep(20 * time.Millisecond)
			note(began)
		}
	})
	watch.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			_, _ = file.WriteAt([]byte("x"), 0) // how long it takes is all that counts
			_ = file.Sync()
			note(began)
			time.Sleep(100 * time.Millisecond)
		}
	})
	return func() time.Duration { return time.Duration(most.Swap(0)) }
}

// state says what the server and its programs are doing.
func (h *house) state(internal string) string {
	var b strings.Builder
	if res, err := http.Get("http://" + internal + "/debug/pprof/goroutine?debug=2"); err == nil {
		_, _ = io.Copy(&b, res.Body) // as much as there is
		res.Body.Close()
	}
	for _, pid := range descendants(h.cmd.Process.Pid, "") {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, task := range tasks {
			fmt.Fprintf(&b, "\n%s", task)
			for _, name := range []string{"comm", "wchan", "syscall", "stat"} {
				text, _ := os.ReadFile(filepath.Join(task, name)) // it may be gone
				fmt.Fprintf(&b, " %s=%s", name, bytes.TrimSpace(text))
			}
		}
	}
	return b.String()
}

// emptyWork takes away what a program has written.
func emptyWork(data, _ string) error {
	found, err := filepath.Glob(filepath.Join(data, "stdio", "*", "*", "*", "*", "part-*"))
	for _, f := range found {
		_ = os.Remove(f)
	}
	return err
}
