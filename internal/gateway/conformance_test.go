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
	"headgate/internal/mcp"
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

// TestConformanceClient runs what each revision requires of clients through the
// Gateway: the SDK's everything-client in front of it, the suite's own servers
// behind it. What they see is our client. Where they want a sign-in (auth/*),
// oauth.Client signs in as headgate server authorize does, and its tokens reach
// the server with the calls of the person.
func TestConformanceClient(t *testing.T) {
	if os.Getenv("HEADGATE_CONFORMANCE") == "" {
		t.Skip("set HEADGATE_CONFORMANCE=1, or run make conformance")
	}
	t.Setenv("HEADGATE_CLIENT", built(t, "everything-client"))
	for _, c := range []struct{ revision, arguments string }{
		{"2025-03-26", "--suite backcompat --spec-version 2025-03-26"},
		{"2025-11-25", "--requirements 2025-11-25"},
		{"2026-07-28", "--requirements 2026-07-28"},
	} {
		t.Run(c.revision, func(t *testing.T) {
			control := httptest.NewServer(&scenarios{t: t, revision: mcp.Revision(c.revision)})
			defer control.Close()
			t.Setenv("HEADGATE_CONTROL", control.URL)
			got, err := conformance(t, append([]string{"client", "--command", os.Args[0] + " -test.run=^TestClientProgram$"}, strings.Fields(c.arguments)...)...)
			if err != nil {
				t.Errorf("not every scored scenario passes: %v", err)
			}
			compare(t, nil, got, expected(t, "client"))
		})
	}
}

// TestClientProgram is the program that the suite starts, no test.
func TestClientProgram(t *testing.T) {
	if os.Getenv("HEADGATE_CONTROL") == "" {
		t.Skip("the conformance suite starts this")
	}
	ask := func(what string) string {
		resp := testkit.Must(http.PostForm(os.Getenv("HEADGATE_CONTROL")+what, url.Values{"url": {flag.Arg(0)}, "scenario": {os.Getenv("MCP_CONFORMANCE_SCENARIO")}, "context": {os.Getenv("MCP_CONFORMANCE_CONTEXT")}}))(t)
		defer resp.Body.Close()
		text := string(testkit.Must(io.ReadAll(resp.Body))(t))
		if resp.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
		return text
	}
	if strings.HasPrefix(os.Getenv("MCP_CONFORMANCE_SCENARIO"), "auth/") {
		ask("/sign-in")
		return
	}
	cmd := exec.Command(os.Getenv("HEADGATE_CLIENT"), ask("/begin"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	ask("/end")
	testkit.Must0(t, err)
}

// scenarios puts a Gateway of its own in front of the suite's server in each
// scenario.
type scenarios struct {
	t        *testing.T
	revision mcp.Revision
	houses   sync.Map // by the URL of the suite's server
}

func (s *scenarios) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.FormValue("url")
	switch r.URL.Path {
	case "/begin":
		var key string
		h := newHouse(s.t, everybody(&key))
		key = h.key
		s.houses.Store(at, h)
		h.serve("suite", at)
		_, _ = fmt.Fprint(w, h.url+"/mcp/suite")
	case "/end":
		h, _ := s.houses.Load(at)
		h.(*house).hub.Close(r.Context()) // the suite's server waits for our streams to end
	case "/sign-in":
		if err := signIn(s.t, s.revision, r.FormValue("scenario"), at, r.FormValue("context")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}
}

var conformanceKey string

// fixedPrincipal is everybody's with conformanceKey.
func fixedPrincipal(o *houseOptions) { everybody(&conformanceKey)(o) }

// everybody puts a key into each request, and looks at the Host as the server
// in front of every door does.
func everybody(key *string) houseOption {
	return func(o *houseOptions) {
		o.credits = 1_000_000_000
		o.gateway = func(o *gateway.Options) {
			authenticate := o.Authenticate
			o.Authenticate = func(r *http.Request) (*access.Principal, error) {
				if !strings.HasPrefix(r.Host, "127.0.0.1:") && !strings.HasPrefix(r.Host, "localhost:") {
					return nil, access.ErrDenied
				}
				r.Header.Set("Authorization", "Bearer "+*key)
				return authenticate(r)
			}
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
	return conformance(t, "server", "--url", url, "--requirements", revision)
}

// conformance runs the suite, which fails when a scored scenario does.
func conformance(t *testing.T, arguments ...string) (checks, error) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.Node(t), slices.Concat([]string{testkit.NPM(t, "@modelcontextprotocol/conformance", "conformance")}, arguments, []string{"-o", dir})...)
	out, err := cmd.CombinedOutput()
	t.Logf("%q: %v\n%s", arguments, err, tail(string(out), 3000))
	got := checks{}
	files := testkit.Must(filepath.Glob(filepath.Join(dir, "*", "checks.json")))(t)
	files = append(files, testkit.Must(filepath.Glob(filepath.Join(dir, "auth", "*", "checks.json")))(t)...)
	for _, file := range files {
		var list []struct{ ID, Status, ErrorMessage, Description string }
		testkit.Must0(t, json.Unmarshal(testkit.Must(os.ReadFile(file))(t), &list))
		place := testkit.Must(filepath.Rel(dir, filepath.Dir(file)))(t)
		scenario := when.ReplaceAllString(strings.TrimPrefix(filepath.ToSlash(place), "server-"), "")
		for _, c := range list {
			key := scenario + " " + c.ID
			if old := got[key]; old == "" || old == "SUCCESS" {
				got[key] = c.Status
			}
			if c.Status == "FAILURE" || c.Status == "WARNING" {
				t.Logf("%s: %s %s", key, c.ErrorMessage, c.Description)
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

func bad(key, status string) bool {
	return status == "FAILURE" || status == "WARNING" && strings.HasPrefix(key, "auth/")
}

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
// What the suite warns of in a sign-in fails too; elsewhere it warns of lateness.
func compare(t *testing.T, direct, got checks, baseline map[string]bool) {
	t.Helper()
	var failed []string
	for key, status := range got {
		if bad(key, status) && direct[key] != "FAILURE" && !baseline[key] {
			if direct != nil {
				key += " (directly: " + direct[key] + ")"
			}
			failed = append(failed, key)
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
		if status := got[key]; status != "" && !bad(key, status) {
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
	t.Logf("%d of %d checks pass; directly %d are made", passed, all, len(direct))
}
