//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/sandbox"
)

// hostileArg makes the test binary one of the hostile children.
const hostileArg = "hostile"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case sandbox.HelperArg:
			os.Exit(sandbox.HelperMain(os.Args[2:]))
		case hostileArg:
			hostile[os.Args[2]](os.Args[3:])
			os.Exit(0)
		}
	}
	if err := sandbox.Harden(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// self is the test binary, also where there is no /proc to ask.
func self() string {
	if filepath.IsAbs(os.Args[0]) {
		return os.Args[0]
	}
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

func newLauncher(dial func(context.Context, string, string) (net.Conn, error)) *sandbox.Launcher {
	l, err := sandbox.NewLauncher(sandbox.Config{Executable: self(), Dial: dial, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		panic(err)
	}
	return l
}

// shared is attested once for all tests that do not look at attestation.
var shared = sync.OnceValue(func() *sandbox.Launcher { return newLauncher(nil) })

// walls skips where this machine refuses namespaces, unless CI is set. A wall
// that is down on a machine that has them is a failure. The promise that Start
// refuses without walls is tested by itself.
func walls(t testing.TB) *sandbox.Launcher {
	t.Helper()
	report, err := shared().Attest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Check(sandbox.Full); err != nil {
		start := report.Walls[0]
		if refused := strings.Contains(start.Detail, "The host forbids") || strings.Contains(start.Detail, "is needed"); refused && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return shared()
}

// child describes a hostile child with a fresh work directory.
func child(t testing.TB, mode string, args ...string) sandbox.Spec {
	return sandbox.Spec{
		Name: mode, Argv: append([]string{self(), hostileArg, mode}, args...),
		WorkDir: filepath.Join(t.TempDir(), "work"), ReadOnly: []string{self()},
	}
}

func shell(t testing.TB, script string) sandbox.Spec {
	return sandbox.Spec{Name: "shell", Argv: []string{"/bin/sh", "-c", script}, WorkDir: filepath.Join(t.TempDir(), "work")}
}

func start(t testing.TB, l *sandbox.Launcher, spec sandbox.Spec) *sandbox.Process {
	t.Helper()
	p, err := l.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // at once
		p.Stop(ended)
	})
	return p
}

// output reads until the child's end.
func output(t testing.TB, p *sandbox.Process) []string {
	t.Helper()
	var lines []string
	for {
		line, err := p.Receive()
		if err != nil {
			break
		}
		lines = append(lines, string(line))
	}
	complain(t, p)
	return lines
}

// complain logs the beginning of what the child wrote to standard error.
func complain(t testing.TB, p *sandbox.Process) {
	logs := p.Logs()
	for _, l := range logs[:min(3, len(logs))] {
		t.Logf("stderr: %s", l.Text)
	}
}

func receive(t testing.TB, p *sandbox.Process) string {
	t.Helper()
	line, err := p.Receive()
	if err != nil {
		complain(t, p)
		t.Fatal(err)
	}
	return string(line)
}

// ended waits for the child's end and says how it came.
func ended(t testing.TB, p *sandbox.Process) sandbox.Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	return p.Exit()
}

// eventually polls for what another process does.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// marked returns the processes of this machine that have
// the marker among their arguments.
func marked(marker string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		if strings.Contains(string(cmdline), marker) && filepath.Base(dir) != fmt.Sprint(os.Getpid()) {
			found = append(found, filepath.Base(dir))
		}
	}
	return found
}
