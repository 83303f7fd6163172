//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/sandbox"
)

func TestProcess(t *testing.T) {
	l := walls(t)
	t.Run("moves lines both ways, large ones too", func(t *testing.T) {
		p := start(t, l, child(t, "echo"))
		for _, size := range []int{0, 1, 5000, 1 << 20} {
			message := bytes.Repeat([]byte("m"), size)
			sent := make(chan error, 1)
			go func() { sent <- p.Send(t.Context(), message) }()
			got, err := p.Receive()
			if err != nil || !bytes.Equal(got, message) {
				t.Fatalf("size %d: got %d bytes, %v", size, len(got), err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("refuses a message of two lines", func(t *testing.T) {
		p := start(t, l, child(t, "echo"))
		if err := p.Send(t.Context(), []byte("a\nb")); !errors.Is(err, sandbox.ErrLine) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("hands arguments over as they are, never to a shell", func(t *testing.T) {
		want := []string{";$(id)", "`id`", "a b", "*", "", "\t"}
		if got := output(t, start(t, l, child(t, "args", want...))); !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
	t.Run("gives the declared environment and nothing of ours", func(t *testing.T) {
		t.Setenv("HEADGATE_KEY", "secret")
		spec := child(t, "env")
		spec.Env = map[string]string{"TOKEN": "t", "PATH": "/usr/bin"}
		want := []string{"HOME=/private", "PATH=/usr/bin", "TMPDIR=/tmp", "TOKEN=t"}
		if got := output(t, start(t, l, spec)); !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	})
	t.Run("says how it ended", func(t *testing.T) {
		p := start(t, l, shell(t, "exit 3"))
		if e := ended(t, p); e.Reason != sandbox.Exited || e.Code != 3 {
			t.Fatalf("got %+v", e)
		}
		if err := p.Send(t.Context(), []byte("x")); !errors.Is(err, sandbox.ErrExited) {
			t.Fatalf("Send after the end: %v", err)
		}
		p = start(t, l, shell(t, "kill -9 $$"))
		if e := ended(t, p); e.Reason != sandbox.Exited || e.Signal != 9 {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("gives every line that was written before the end", func(t *testing.T) {
		p := start(t, l, shell(t, "seq 1 5000"))
		if got := output(t, p); len(got) != 5000 || got[4999] != "5000" {
			t.Fatalf("got %d lines", len(got))
		}
	})
	t.Run("keeps files of the work directory between two runs", func(t *testing.T) {
		spec := shell(t, "cat note 2>/dev/null; echo kept > note")
		ended(t, start(t, l, spec))
		if got := output(t, start(t, l, spec)); !cmp.Equal(got, []string{"kept"}) {
			t.Fatalf("got %q", got)
		}
	})
	// /bin is a link on many systems: a place for a file in it collided with it.
	t.Run("shows a path that begins with a link of the runtime", func(t *testing.T) {
		spec := shell(t, "/bin/cat /etc/hosts | head -n 1")
		spec.ReadOnly = []string{"/bin/cat"}
		if got := output(t, start(t, l, spec)); !cmp.Equal(got, []string{"127.0.0.1 localhost"}) {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("shows declared paths, writable only where declared", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"ro", "rw"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil { // past the umask, for the child's own uid
				t.Fatal(err)
			}
		}
		spec := shell(t, fmt.Sprintf("cd %s; touch ro/a; touch rw/a; ls ro rw", dir))
		spec.ReadOnly, spec.ReadWrite = []string{filepath.Join(dir, "ro")}, []string{filepath.Join(dir, "rw")}
		if got := output(t, start(t, l, spec)); !cmp.Equal(got, []string{"ro:", "", "rw:", "a"}) {
			t.Fatalf("got %q", got)
		}
	})
}

func TestStartRefuses(t *testing.T) {
	l := walls(t)
	t.Run("what cannot be executed, naming the step", func(t *testing.T) {
		spec := shell(t, "")
		spec.Argv[0] = "/usr/bin/no-such-program"
		_, err := l.Start(t.Context(), spec)
		if !errors.Is(err, sandbox.ErrStart) || !strings.Contains(err.Error(), "execute the program: no such file") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a program outside what the child sees", func(t *testing.T) {
		spec := child(t, "echo")
		spec.ReadOnly = nil
		if _, err := l.Start(t.Context(), spec); !errors.Is(err, sandbox.ErrStart) {
			t.Fatalf("got %v", err)
		}
	})
	for name, spoil := range map[string]func(*sandbox.Spec){
		"a relative program":     func(s *sandbox.Spec) { s.Argv[0] = "sh" },
		"no program":             func(s *sandbox.Spec) { s.Argv = nil },
		"a relative directory":   func(s *sandbox.Spec) { s.WorkDir = "work" },
		"the root as a path":     func(s *sandbox.Spec) { s.ReadOnly = []string{"/"} },
		"a path with dots":       func(s *sandbox.Spec) { s.ReadWrite = []string{"/usr/../root"} },
		"a path below /proc":     func(s *sandbox.Spec) { s.ReadOnly = []string{"/proc/self"} },
		"a missing path":         func(s *sandbox.Spec) { s.ReadOnly = []string{"/no/such"} },
		"a NUL in an argument":   func(s *sandbox.Spec) { s.Argv = append(s.Argv, "a\x00b") },
		"a bad variable name":    func(s *sandbox.Spec) { s.Env = map[string]string{"A=B": "c"} },
		"an address as a host":   func(s *sandbox.Spec) { s.Network.AllowHosts = []string{"127.0.0.1"} },
		"a negative limit":       func(s *sandbox.Spec) { s.Limits.Files = -1 },
		"an unknown level":       func(s *sandbox.Spec) { s.Level = 9 },
		"an environment too big": func(s *sandbox.Spec) { s.Env = map[string]string{"A": strings.Repeat("x", 1<<17)} },
	} {
		t.Run(name, func(t *testing.T) {
			spec := shell(t, "exit 0")
			spoil(&spec)
			if _, err := l.Start(t.Context(), spec); !errors.Is(err, sandbox.ErrSpec) {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("a context that has ended, leaving nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Start(ctx, shell(t, "sleep 914001")); !errors.Is(err, sandbox.ErrStart) {
			t.Fatalf("got %v", err)
		}
		eventually(t, 5*time.Second, "nothing left", func() bool { return len(marked("914001")) == 0 })
	})
	t.Run("after Close, which ends all", func(t *testing.T) {
		l := newLauncher(nil)
		p := start(t, l, child(t, "echo"))
		l.Close(t.Context())
		select {
		case <-p.Done():
		default:
			t.Fatal("Close returned and the child was there")
		}
		if len(l.Running()) != 0 {
			t.Fatal("it is still listed")
		}
		if _, err := l.Start(t.Context(), child(t, "echo")); !errors.Is(err, sandbox.ErrClosed) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	l := walls(t)
	stop := func(p *sandbox.Process) time.Duration {
		began := time.Now()
		p.Stop(context.Background())
		return time.Since(began)
	}
	t.Run("closes the input first", func(t *testing.T) {
		p := start(t, l, child(t, "echo"))
		stop(p)
		if e := p.Exit(); e.Reason != sandbox.Stopped || e.Code != 0 || e.Signal != 0 {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("then asks with SIGTERM", func(t *testing.T) {
		t.Parallel()
		p := start(t, l, child(t, "polite"))
		receive(t, p)
		stop(p)
		if e := p.Exit(); e.Reason != sandbox.Stopped || e.Code != 7 {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("then kills, within five seconds", func(t *testing.T) {
		t.Parallel()
		p := start(t, l, child(t, "stubborn"))
		receive(t, p)
		if took := stop(p); took > 5*time.Second {
			t.Fatalf("took %s", took)
		}
		if len(marked("stubborn")) != 0 {
			t.Fatal("it is still there")
		}
	})
	t.Run("kills at once when the context has ended", func(t *testing.T) {
		p := start(t, l, child(t, "stubborn"))
		receive(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		p.Stop(ctx)
		if took := time.Since(began); took > time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

func TestHostileStreams(t *testing.T) {
	l := walls(t)
	t.Run("a gigabyte without a newline ends the process and is not kept", func(t *testing.T) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p := start(t, l, child(t, "gigabyte"))
		if _, err := p.Receive(); !errors.Is(err, sandbox.ErrTooLong) {
			t.Fatalf("got %v", err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if e := ended(t, p); e.Reason != sandbox.Line {
			t.Fatalf("got %+v", e)
		}
		if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > sandbox.MaxLine {
			t.Fatalf("%d bytes are still held", grown)
		}
	})
	t.Run("a flood of stderr keeps the last 64 KiB and slows only the child", func(t *testing.T) {
		p := start(t, l, child(t, "stderr", "3000"))
		if receive(t, p) != "done" {
			t.Fatal("not done")
		}
		eventually(t, 3*time.Second, "the last line", func() bool {
			logs := p.Logs()
			return len(logs) > 0 && strings.HasPrefix(logs[len(logs)-1].Text, "line 2999 ")
		})
		size := 0
		for _, line := range p.Logs() {
			size += len(line.Text)
		}
		if size > 64<<10 || size < 32<<10 {
			t.Fatalf("kept %d bytes", size)
		}
	})
	t.Run("a child that does not read fails the call at its deadline and is ended", func(t *testing.T) {
		p := start(t, l, child(t, "deaf"))
		receive(t, p)
		message := make([]byte, 1<<20)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // time enough for a part of it to be written
		defer cancel()
		if err := p.Send(ctx, message); !errors.Is(err, sandbox.ErrTornWrite) {
			t.Fatalf("got %v", err)
		}
		if e := ended(t, p); e.Reason != sandbox.Torn {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("a call that gave up before its turn tears nothing", func(t *testing.T) {
		p := start(t, l, child(t, "echo"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Send(ctx, []byte("late")); !errors.Is(err, sandbox.ErrTornWrite) {
			t.Fatalf("got %v", err)
		}
		if err := p.Send(t.Context(), []byte("next")); err != nil || receive(t, p) != "next" {
			t.Fatal("the next call did not pass")
		}
	})
}
