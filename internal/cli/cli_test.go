package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"headgate/internal/app"
	"headgate/internal/cli"
	"headgate/internal/demo"
	"headgate/internal/sandbox"
	"headgate/internal/settings"
)

// TestMain makes this binary the headgate command for the scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == sandbox.HelperArg { // the server of the tests tries its walls with this binary
		os.Exit(sandbox.HelperMain(os.Args[2:]))
	}
	if err := sandbox.Harden(); err != nil { // as serve does: one of the walls
		panic(err)
	}
	testscript.Main(m, map[string]func(){"headgate": func() { os.Exit(headgate()) }})
}

func headgate() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &cli.Program{
		Version: "v1.2.3",
		Serve:   func(ctx context.Context, s *settings.Settings) error { return app.Serve(ctx, s, "v1.2.3", os.Stdout) },
		Migrate: app.Migrate,
	}
	return p.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)
}

// TestScripts runs testdata/*.txtar, each against a server of its own that has
// just made its first start in the script's directory.
func TestScripts(t *testing.T) {
	p := scripts
	p.Dir = "testdata"
	testscript.Run(t, p)
}

// scripts is what every script runs with: commands of the tests' own, and a
// server that has just made its first start in the script's directory.
var scripts = testscript.Params{
	RequireExplicitExec: true,
	RequireUniqueNames:  true,
	Cmds:                map[string]func(*testscript.TestScript, bool, []string){"code": code, "broken": broken, "mode": mode, "keep": keep, "waitfor": waitFor, "until": until},
	Setup: func(e *testscript.Env) error {
		e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
		e.Setenv("XDG_CONFIG_HOME", "")
		e.Setenv("TZ", "UTC")
		free, err := freeAddress()
		if err != nil {
			return err
		}
		e.Setenv("FREE", free)              // an address to listen on
		e.Setenv("DEAD", "127.0.0.1:20001") // an address nobody listens on: systems give away higher ports
		upstream := httptest.NewServer(demo.Handler("v9", time.Now))
		e.Defer(upstream.Close)
		e.Setenv("UPSTREAM", upstream.URL)
		locked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
		}))
		e.Defer(locked.Close)
		e.Setenv("LOCKED", locked.URL) // wants a sign-in
		partly := httptest.NewServer(partlyBroken(demo.Handler("v9", time.Now)))
		e.Defer(partly.Close)
		e.Setenv("PARTLY", partly.URL) // loses its prompts and a tool once it is broken
		return startServer(e)
	},
}

// partlyBroken has a server fail at listing its prompts, and forget its tool
// add, from the first request for /break on.
func partlyBroken(h http.Handler) http.Handler {
	var broken atomic.Bool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/break" {
			broken.Store(true)
			return
		}
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case err != nil || !broken.Load():
			h.ServeHTTP(w, r)
		case bytes.Contains(body, []byte(`"prompts/list"`)):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			h.ServeHTTP(renaming{w}, r)
		}
	})
}

// renaming has an answer speak of another tool.
type renaming struct{ http.ResponseWriter }

func (w renaming) Write(b []byte) (int, error) {
	_, err := w.ResponseWriter.Write(bytes.ReplaceAll(b, []byte(`"name":"add"`), []byte(`"name":"sum"`)))
	return len(b), err
}

func (w renaming) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code runs a command that must end with the exit code: code 3 headgate whoami.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// broken breaks the server PARTLY: broken $PARTLY.
func broken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: broken URL")
	}
	resp, err := http.Get(args[0] + "/break")
	ts.Check(err)
	ts.Check(resp.Body.Close())
}

// mode checks a file's permissions: mode 600 file. The name may be a pattern.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode NNN file")
	}
	found, err := filepath.Glob(ts.MkAbs(args[1]))
	if err != nil || len(found) != 1 {
		ts.Fatalf("%s: %d files, %v", args[1], len(found), err)
	}
	info, err := os.Stat(found[0])
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode %s, want %s", got, args[0])
	}
}

// keep puts what a pattern's group finds in the last stdout into a variable:
// keep NAME '(key_[a-z0-9]+)'.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME pattern")
	}
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("no match for %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// until repeats a command until its output matches: until 'pattern' headgate
// logs. Rows of the database follow what was answered by a moment.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until pattern command...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	for range 50 {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("the output never matched %s", args[0])
}

// waitFor waits until a URL answers 200.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor URL")
	}
	ts.Check(waitReady(args[0]))
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// startServer runs a whole Headgate in this process.
func startServer(e *testscript.Env) error {
	url, err := serve(e.WorkDir, slog.New(slog.DiscardHandler), e.Defer)
	e.Setenv("HEADGATE_URL", url)
	return err
}

// serve runs a whole Headgate over the store in a directory, until the deferred
// function is called.
func serve(dir string, log *slog.Logger, later func(func())) (url string, err error) {
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	s, err := settings.Load("", func(string) string { return "" }, map[string]string{
		"listen": address, "data": filepath.Join(dir, "data"), "drain": "1s"})
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	a, err := app.Open(ctx, s, "v1.2.3", log)
	if err != nil {
		stop()
		return "", err
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	later(func() {
		stop()
		<-done
		_ = a.Close()
	})
	return "http://" + address, waitReady("http://" + address + "/readyz")
}

func waitReady(url string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not become ready: %v", url, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
