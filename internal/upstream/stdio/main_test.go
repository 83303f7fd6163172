//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

// childArg makes the test binary one of the children.
const childArg = "stdio-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case sandbox.HelperArg:
			os.Exit(sandbox.HelperMain(os.Args[2:]))
		case childArg:
			children[os.Args[2]](os.Args[3:])
			os.Exit(0)
		}
	}
	if err := sandbox.Harden(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func self() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

// shared is attested once for all tests.
var shared = sync.OnceValue(func() *sandbox.Launcher {
	l, err := sandbox.NewLauncher(sandbox.Config{Executable: self(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		panic(err)
	}
	return l
})

// launcher skips where this machine refuses namespaces, unless CI is set.
func launcher(t testing.TB) *sandbox.Launcher {
	t.Helper()
	report := testkit.Must(shared().Attest(t.Context()))(t)
	if err := report.Check(sandbox.Full); err != nil {
		if refused := strings.Contains(report.Walls[0].Detail, "The host forbids") || strings.Contains(report.Walls[0].Detail, "is needed"); refused && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return shared()
}

// house is a hub with a host of stdio servers.
type house struct {
	t    testing.TB
	hub  *upstream.Hub
	host *stdio.Host
	dir  string
}

// binder gives principals the credentials of their Account, so that tests
// choose who shares a child.
type binder struct{}

func (binder) Bind(_ context.Context, _ *catalog.Server, by *access.Principal) (*catalog.Binding, error) {
	b := &catalog.Binding{Identity: "shared"}
	if by != nil && by.Account != "" {
		b.Identity, b.User = by.Account, by.User
	}
	return b, nil
}

func newHouse(t testing.TB, change ...func(*stdio.Options)) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	o := stdio.Options{Launcher: launcher(t), Level: sandbox.Full, Version: "test", Spec: h.spec}
	for _, c := range change {
		c(&o)
	}
	h.host = stdio.NewHost(o)
	h.hub = upstream.NewHub(upstream.Options{Binder: binder{}, Channels: map[catalog.Transport]upstream.Channel{catalog.Stdio: h.host}, Resume: 10 * time.Millisecond, Now: o.Now})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.hub.Close(ctx)
		h.host.Close(ctx)
	})
	return h
}

// spec runs the mode of the test binary that the server's URL names.
func (h *house) spec(_ context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
	mode := s.URL
	if mode == "" {
		mode = "legacy"
	}
	return sandbox.Spec{Argv: append([]string{self(), childArg}, strings.Fields(mode)...), ReadOnly: []string{self()},
		WorkDir: filepath.Join(h.dir, s.Key(), b.Identity)}, nil
}

var serials atomic.Int64

func server(mode string) *catalog.Server {
	return &catalog.Server{ID: fmt.Sprintf("srv_%d", serials.Add(1)), Slug: mode, Transport: catalog.Stdio, URL: mode, Era: catalog.Auto,
		Timeout: 20 * time.Second, Enabled: true, Version: 1}
}

var ann = &access.Principal{ID: "ann", User: "ann"}

// client is what a caller that can be asked declares.
var client = upstream.Client{Capabilities: []byte(`{"elicitation":{},"sampling":{}}`)}

// request is a tools/call in a revision.
func request(s *catalog.Server, revision mcp.Revision, id, tool, args string) *upstream.Request {
	meta := ""
	if revision.Era() == mcp.Modern {
		meta = fmt.Sprintf(`,"_meta":{"%s":"%s","%s":{}}`, mcp.MetaProtocolVersion, revision, mcp.MetaClientCapabilities)
	}
	return &upstream.Request{Server: s, By: ann, Revision: revision, Method: mcp.MethodToolsCall, Name: tool, ID: []byte(id),
		Body: fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`, id, tool, args, meta)}
}

// say calls a legacy server's tool and returns the text of the answer.
func (h *house) say(s *catalog.Server, tool, args string) string {
	h.t.Helper()
	return h.text(request(s, mcp.LatestLegacy, "1", tool, args))
}

func (h *house) text(r *upstream.Request) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := h.hub.Exchange(ctx, r, nil)
	if err != nil {
		h.t.Fatal(err, h.logs(r.Server))
	}
	defer a.Release()
	return textOf(h.t, a)
}

// eventually calls a tool until it is answered: after a loss there may be a rest.
func (h *house) eventually(s *catalog.Server, tool, args string) (text string) {
	h.t.Helper()
	eventually(h.t, "an answer", func() bool {
		a, err := h.hub.Exchange(context.Background(), request(s, mcp.LatestLegacy, "1", tool, args), nil)
		if err == nil {
			text = textOf(h.t, a)
			a.Release()
		}
		return err == nil
	})
	return text
}

func textOf(t testing.TB, a *upstream.Answer) string {
	t.Helper()
	var m struct {
		ID     json.RawMessage
		Result struct{ Content []struct{ Text string } }
		Error  any
	}
	testkit.Must0(t, json.Unmarshal(a.Body, &m))
	if m.Error != nil || len(m.Result.Content) == 0 {
		return string(a.Body)
	}
	return m.Result.Content[0].Text
}

func (h *house) logs(s *catalog.Server) []string {
	var lines []string
	for _, l := range h.host.Logs(s.Key(), "ann") {
		lines = append(lines, l.Text)
	}
	return lines
}

// logged waits for a line on the child's standard error.
func (h *house) logged(s *catalog.Server, line string) {
	h.t.Helper()
	eventually(h.t, line, func() bool { return slices.Contains(h.logs(s), line) })
}

func (h *house) loggedTimes(s *catalog.Server, line string, n int) {
	h.t.Helper()
	eventually(h.t, line, func() bool { return strings.Count(strings.Join(h.logs(s), "\n"), line) == n })
}

func (h *house) status(s *catalog.Server) stdio.Status {
	h.t.Helper()
	list := h.host.Status(s.Key())
	if len(list) != 1 {
		h.t.Fatalf("%d programs", len(list))
	}
	return list[0]
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// sink collects what comes before an answer.
type sink struct {
	mu     sync.Mutex
	events []string
	onAsk  func(message []byte)
}

func (s *sink) Event(message []byte, e *mcp.Envelope) error {
	s.mu.Lock()
	s.events = append(s.events, string(message))
	s.mu.Unlock()
	if e.Kind == mcp.Request && s.onAsk != nil {
		s.onAsk(bytes.Clone(message))
	}
	return nil
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// leakFree checks that a test leaves no goroutine and no descriptor behind.
func leakFree(t *testing.T, test func()) {
	t.Helper()
	descriptors := func() int {
		open, _ := os.ReadDir("/proc/self/fd")
		return len(open)
	}
	goroutines, before := runtime.NumGoroutine(), descriptors()
	test()
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "as many descriptors as before", func() bool { return descriptors() <= before })
}
