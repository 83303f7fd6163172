//go:build linux && (amd64 || arm64)

package stage_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/stage"
)

// run executes the program and returns what it wrote and its exit code.
func run(t *testing.T, p *stage.Program) (string, int) {
	t.Helper()
	f, err := p.Memory("test")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = []string{}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	_ = cmd.Run() // the exit code is the result
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestProgram(t *testing.T) {
	t.Run("makes its calls in order", func(t *testing.T) {
		p := stage.New()
		p.Call("say", unix.SYS_WRITE, 1, "hello ", 6)
		p.Call("say", unix.SYS_WRITE, 1, "world", 5)
		p.Call("end", unix.SYS_EXIT_GROUP, 7)
		if out, code := run(t, p); out != "hello world" || code != 7 {
			t.Fatalf("got %q, exit %d", out, code)
		}
	})
	t.Run("hands a result to a later call", func(t *testing.T) {
		p := stage.New()
		dup := p.Call("copy stdout", unix.SYS_DUP, 1)
		say := p.Call("say", unix.SYS_WRITE, 0, "x", 1)
		dup.Into(say.Arg(0))
		p.Call("end", unix.SYS_EXIT_GROUP, 0)
		if out, _ := run(t, p); out != "x" {
			t.Fatalf("got %q", out)
		}
	})
	t.Run("branches on two results and on failure", func(t *testing.T) {
		p := stage.New()
		one, two, missing := p.Label(), p.Label(), p.Label()
		p.Call("three bytes", unix.SYS_WRITE, 1, "abc", 3).On(9, one).On(3, two)
		p.Mark(one)
		p.Call("wrong", unix.SYS_EXIT_GROUP, 1)
		p.Mark(two)
		p.Call("ignored", unix.SYS_CLOSE, 99).Maybe()
		p.Call("no such file", unix.SYS_OPENAT, unix.AT_FDCWD, "/no/such", 0, 0).Else(missing)
		p.Call("wrong", unix.SYS_EXIT_GROUP, 2)
		p.Mark(missing)
		p.Call("end", unix.SYS_EXIT_GROUP, 5)
		if out, code := run(t, p); out != "abc" || code != 5 {
			t.Fatalf("got %q, exit %d", out, code)
		}
	})
	t.Run("reports the call that failed and why", func(t *testing.T) {
		p := stage.New()
		failed := p.Label()
		p.OnFailure(failed, 'F')
		p.Call("fine", unix.SYS_GETPID)
		p.Call("open the door", unix.SYS_OPENAT, unix.AT_FDCWD, "/no/such", 0, 0)
		p.Call("wrong", unix.SYS_EXIT_GROUP, 0)
		p.Mark(failed)
		p.Call("report", unix.SYS_WRITE, 1, p.Failure(), 24)
		p.Call("end", unix.SYS_EXIT_GROUP, 127)
		out, code := run(t, p)
		if code != 127 || len(out) != 24 || out[0] != 'F' {
			t.Fatalf("got %q, exit %d", out, code)
		}
		name := p.StepName(binary.LittleEndian.Uint64([]byte(out[8:])))
		errno := syscall.Errno(binary.LittleEndian.Uint64([]byte(out[16:])))
		if name != "open the door" || errno != syscall.ENOENT {
			t.Fatalf("got %q, %v", name, errno)
		}
	})
	t.Run("execs with arguments and an environment of its own", func(t *testing.T) {
		p := stage.New()
		p.Call("exec", unix.SYS_EXECVE, "/bin/sh", p.Strings([]string{"sh", "-c", "echo $0 $A; exit 3", "arg"}), p.Strings([]string{"A=b"}))
		if out, code := run(t, p); out != "arg b\n" || code != 3 {
			t.Fatalf("got %q, exit %d", out, code)
		}
	})
	t.Run("stays below forty kilobytes", func(t *testing.T) {
		p := stage.New()
		p.Call("wait", unix.SYS_PPOLL, 0, 0, 0, 0, 0)
		f, err := p.Memory("test")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command("/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{f}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		statm, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/statm")
		if err != nil {
			t.Fatal(err)
		}
		pages, _ := strconv.Atoi(string(bytes.Fields(statm)[1]))
		if size := pages * os.Getpagesize(); size > 40<<10 {
			t.Fatalf("resident: %d bytes", size)
		} else {
			t.Logf("resident: %d bytes", size)
		}
	})
}
