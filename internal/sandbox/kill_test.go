//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox"
)

// hosted is a small Headgate in a process of its own, with one child that has
// left stubborn descendants behind.
type hosted struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	init   int
	marker string
}

var markers = 914100

func host(t *testing.T) *hosted {
	t.Helper()
	markers++
	h := &hosted{marker: fmt.Sprint(markers)}
	h.cmd = exec.Command(self(), hostileArg, "server", filepath.Join(t.TempDir(), "work"), h.marker)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill(); _ = h.cmd.Wait() })
	h.out = bufio.NewReader(out)
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal("the server did not start")
	}
	h.init = atoi(strings.TrimSpace(line))
	eventually(t, 5*time.Second, "all descendants", func() bool { return len(h.left()) >= 5 })
	return h
}

// left are the processes of the child: those with the marker, besides the
// server itself, and the init with every zombie below it.
func (h *hosted) left() []string {
	var left []string
	for _, pid := range marked(h.marker) {
		if pid != strconv.Itoa(h.cmd.Process.Pid) {
			left = append(left, pid)
		}
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(h.init)); err == nil {
		left = append(left, strconv.Itoa(h.init))
	}
	return left
}

// program is the child's own program: the init's first child.
func (h *hosted) program(t *testing.T) int {
	init := strconv.Itoa(h.init)
	children, err := os.ReadFile("/proc/" + init + "/task/" + init + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return atoi(strings.Fields(string(children))[0])
}

func TestNothingOutlives(t *testing.T) {
	walls(t)
	// Orphans come to this process, so that their zombies are ours to see.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	kill := func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
	server := func(t *testing.T, h *hosted) { kill(h.cmd.Process.Pid) }
	init := func(t *testing.T, h *hosted) { kill(h.init) }
	program := func(t *testing.T, h *hosted) { kill(h.program(t)) }
	for name, order := range map[string][]func(*testing.T, *hosted){
		"kill -9 of the server":                    {server},
		"kill -9 of the init":                      {init},
		"kill -9 of the program":                   {program},
		"kill -9 of the server, then of the init":  {server, init},
		"kill -9 of the init, then of the server":  {init, server},
		"kill -9 of the program, then the server":  {program, server},
		"kill -9 of a stopped init's server":       {func(_ *testing.T, h *hosted) { _ = syscall.Kill(h.program(t), syscall.SIGSTOP) }, server},
		"kill -9 of program and server, then init": {program, server, init},
	} {
		t.Run(name, func(t *testing.T) {
			h := host(t)
			for _, step := range order {
				step(t, h)
			}
			eventually(t, 5*time.Second, "nothing left", func() bool {
				// A dead server's init is ours now; its parent must reap it, as
				// the host's own init would.
				_, _ = unix.Wait4(h.init, nil, unix.WNOHANG, nil)
				return len(h.left()) == 0
			})
		})
	}
	t.Run("the server sees why, and has no zombie", func(t *testing.T) {
		h := host(t)
		kill(h.init)
		reason, err := h.out.ReadString('\n')
		if err != nil || strings.TrimSpace(reason) != string(sandbox.Killed) {
			t.Fatalf("got %q, %v", reason, err)
		}
		server := strconv.Itoa(h.cmd.Process.Pid)
		children, err := os.ReadFile("/proc/" + server + "/task/" + server + "/children")
		if err != nil || strings.TrimSpace(string(children)) != "" {
			t.Fatalf("children left: %s", children)
		}
	})
	t.Run("the program's end is the end of its descendants", func(t *testing.T) {
		p := start(t, shared(), shell(t, "setsid sleep 914003 & setsid sh -c 'sleep 914003' & echo ready; read x"))
		receive(t, p)
		p.CloseInput()
		ended(t, p)
		if left := marked("914003"); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	})
}

func TestInitReapsOrphans(t *testing.T) {
	l := walls(t)
	// A thousand orphans, far more than its processes may be at once.
	p := start(t, l, shell(t, "i=0; while [ $i -lt 1000 ]; do sh -c 'true & true &' ; i=$((i+1)); done; echo done; read x"))
	if receive(t, p) != "done" {
		t.Fatal("the loop failed")
	}
	init := strconv.Itoa(p.PID())
	eventually(t, 2*time.Second, "only the program below the init", func() bool {
		children, _ := os.ReadFile("/proc/" + init + "/task/" + init + "/children")
		return len(strings.Fields(string(children))) == 1
	})
}
