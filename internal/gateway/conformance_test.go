package gateway_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/gateway"
	"headgate/internal/testkit"
)

// TestConformance runs the official suite (HEADGATE_CONFORMANCE=1) through the
// Gateway in front of the Go SDK's everything-server, in every pair of eras,
// and compares each check with the direct run. The suite sends no credential,
// so a principal is put in by the test; no flag of the program does that.
func TestConformance(t *testing.T) {
	if os.Getenv("HEADGATE_CONFORMANCE") == "" {
		t.Skip("set HEADGATE_CONFORMANCE=1, or run make conformance")
	}
	program := built(t, "everything-server")
	legacy, modern := fixture(t, program, "-stateless=false"), fixture(t, program, "-stateless")
	h := newHouse(t, fixedPrincipal)
	conformanceKey = h.key
	h.serve("legacy", legacy)
	h.serve("modern", modern)
	for _, c := range []struct {
		name, revision, direct, through string
		crossed                         bool
	}{
		{"legacy client, legacy server", "2025-11-25", legacy, "/mcp/legacy", false},
		{"modern client, modern server", "2026-07-28", modern, "/mcp/modern", false},
		{"legacy client, modern server", "2025-11-25", legacy, "/mcp/modern", true},
		{"modern client, legacy server", "2026-07-28", modern, "/mcp/legacy", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := suite(t, c.revision, h.url+c.through)
			if err != nil && !c.crossed {
				t.Errorf("not every scored scenario passes: %v", err)
			}
			compare(t, directly(t, c.revision, c.direct), got, expected(t, c.name))
		})
	}
}

var conformanceKey string

// TestConformanceClient runs the suite's scenarios for clients through the
// Gateway: the SDK's everything-client in front of it, the suite's own servers
// behind it. What they see is our client.
func TestConformanceClient(t *testing.T) {
	if os.Getenv("HEADGATE_CONFORMANCE") == "" {
		t.Skip("set HEADGATE_CONFORMANCE=1, or run make conformance")
	}
	program := built(t, "everything-client")
	command := os.Args[0] + " -test.run=^TestClientProgram$"
	for _, c := range []struct{ revision, scenario string }{
		{"2025-11-25", "initialize"}, {"2025-11-25", "tools_call"}, {"2025-11-25", "elicitation-sep1034-client-defaults"}, {"2025-11-25", "sse-retry"},
		{"2025-11-25", "json-schema-2020-12-preservation"},
		{"2026-07-28", "tools_call"}, {"2026-07-28", "request-metadata"}, {"2026-07-28", "sep-2322-client-request-state"}, {"2026-07-28", "http-standard-headers"},
		{"2026-07-28", "http-custom-headers"}, {"2026-07-28", "http-invalid-tool-headers"}, {"2026-07-28", "json-schema-ref-no-deref"},
		{"2026-07-28", "json-schema-2020-12-preservation"},
	} {
		t.Run(c.revision+" "+c.scenario, func(t *testing.T) {
			h := newHouse(t, fixedPrincipal)
			conformanceKey = h.key
			// The suite starts TestClientProgram below with a URL, which asks here
			// for the Gateway's in front of it, and says when it is done.
			control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("url") == "" {
					h.hub.Close(r.Context()) // the suite's server waits for our streams to end
					return
				}
				h.serve("suite", r.FormValue("url"))
				_, _ = fmt.Fprint(w, h.url+"/mcp/suite")
			}))
			defer control.Close()
			t.Setenv("HEADGATE_CONTROL", control.URL)
			t.Setenv("HEADGATE_CLIENT", program)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, testkit.Node(t), testkit.NPM(t, "@modelcontextprotocol/conformance", "conformance"), "client",
				"--command", command, "--scenario", c.scenario, "--spec-version", c.revision, "-o", t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, tail(string(out), 4000))
			}
		})
	}
}

// TestClientProgram is the program that the suite starts, no test.
func TestClientProgram(t *testing.T) {
	if os.Getenv("HEADGATE_CONTROL") == "" {
		t.Skip("the conformance suite starts this")
	}
	ask := func(v url.Values) string {
		resp := testkit.Must(http.PostForm(os.Getenv("HEADGATE_CONTROL"), v))(t)
		defer resp.Body.Close()
		return string(testkit.Must(io.ReadAll(resp.Body))(t))
	}
	cmd := exec.Command(os.Getenv("HEADGATE_CLIENT"), ask(url.Values{"url": {flag.Arg(0)}}))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	ask(nil)
	testkit.Must0(t, err)
}

// fixedPrincipal puts a key into each request, and looks at the Host as the
// server in front of every door does.
func fixedPrincipal(o *houseOptions) {
	o.credits = 1_000_000_000
	o.gateway = func(o *gateway.Options) {
		authenticate := o.Authenticate
		o.Authenticate = func(r *http.Request) (*access.Principal, error) {
			if !strings.HasPrefix(r.Host, "127.0.0.1:") && !strings.HasPrefix(r.Host, "localhost:") {
				return nil, access.ErrDenied
			}
			r.Header.Set("Authorization", "Bearer "+conformanceKey)
			return authenticate(r)
		}
	}
}

// built builds one of the SDK's programs for the suite.
func built(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", program, "github.com/modelcontextprotocol/go-sdk/conformance/"+name)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return program
}

// fixture starts the SDK's server and returns its endpoint.
func fixture(t *testing.T, program, mode string) string {
	t.Helper()
	for range 3 { // the port may be somebody else's by the time it is used
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		address := l.Addr().String()
		testkit.Must0(t, l.Close())
		cmd := exec.Command(program, "-http", address, mode)
		testkit.Must0(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if listens(address, ended) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-ended
			})
			return "http://" + address
		}
		_ = cmd.Process.Kill()
	}
	t.Fatal("the fixture does not listen")
	return ""
}

// listens waits until somebody listens at an address; false when the program
// that should has ended.
func listens(address string, ended <-chan error) bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return false
}

// when is what the suite puts behind a scenario's name.
var when = regexp.MustCompile(`-\d{4}-\d\d-\d\dT.*$`)

// checks is the outcome of a run: scenario and check → status.
type checks map[string]string

// suite runs the scenarios of a revision against a URL. The error says that not
// all of the scored ones passed.
func suite(t *testing.T, revision, url string) (checks, error) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.Node(t), testkit.NPM(t, "@modelcontextprotocol/conformance", "conformance"), "server", "--url", url, "--requirements", revision, "-o", dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s against %s: %v\n%s", revision, url, err, tail(string(out), 3000))
	got := checks{}
	files := testkit.Must(filepath.Glob(filepath.Join(dir, "*", "checks.json")))(t)
	for _, file := range files {
		var list []struct{ ID, Status, ErrorMessage string }
		testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(file))(t), &list))
		scenario := when.ReplaceAllString(strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "server-"), "")
		for _, c := range list {
			key := scenario + " " + c.ID
			if old := got[key]; old == "" || old == "SUCCESS" {
				got[key] = c.Status
			}
			if c.Status == "FAILURE" {
				t.Logf("%s: %s", key, c.ErrorMessage)
			}
		}
	}
	if len(got) == 0 {
		t.Fatal("the suite has checked nothing")
	}
	return got, err
}

// directly runs the scenarios of a revision against the fixture itself, once.
func directly(t *testing.T, revision, url string) checks {
	t.Helper()
	direct.Lock()
	defer direct.Unlock()
	if direct.runs[revision] == nil {
		got, err := suite(t, revision, url)
		if err != nil {
			t.Fatalf("the fixture itself does not pass: %v", err)
		}
		direct.runs[revision] = got
	}
	return direct.runs[revision]
}

var direct = struct {
	sync.Mutex
	runs map[string]checks
}{runs: map[string]checks{}}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// expected reads the checks that may fail, or not be made at all, in a pair of
// eras, with why.
func expected(t *testing.T, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "conformance", strings.NewReplacer(" ", "-", ",", "").Replace(name)+".txt"))
	if os.IsNotExist(err) {
		return nil
	}
	testkit.Must0(t, err)
	list := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			list[line] = true
		}
	}
	return list
}

// compare fails for a check that fails through the Gateway alone, or is not even
// made there, and is not expected to, and for one that is expected to and passes.
func compare(t *testing.T, direct, got checks, baseline map[string]bool) {
	t.Helper()
	var failed []string
	for key, status := range got {
		if status == "FAILURE" && direct[key] != "FAILURE" && !baseline[key] {
			failed = append(failed, fmt.Sprintf("%s (directly: %s)", key, direct[key]))
		}
	}
	for key, status := range direct {
		if got[key] == "" && status == "SUCCESS" && !baseline[key] {
			failed = append(failed, key+" (never made; directly: SUCCESS)")
		}
	}
	slices.Sort(failed)
	for _, key := range failed {
		t.Errorf("fails: %s", key)
	}
	for key := range baseline {
		if status := got[key]; status != "" && status != "FAILURE" {
			t.Errorf("passes now, take it off the baseline: %s", key)
		}
	}
	passed, all := 0, 0
	for _, status := range got {
		if status == "SUCCESS" {
			passed++
		}
		all++
	}
	t.Logf("%d of %d checks pass, %d directly", passed, all, len(direct))
}
