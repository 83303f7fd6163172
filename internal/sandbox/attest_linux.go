//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"headgate/internal/fault"
	"headgate/internal/sandbox/helper"
)

// Harden makes the memory and environment of this process unreadable to other
// processes of its user, and forbids core files: to children as well, which
// need the limit of 1 for it, see the helper. main calls it first.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Max: min(limit.Max, 1)})
}

// hardened says whether Harden is in force.
func hardened() Wall {
	w := Wall{Name: WallMemory, Detail: "this process can be read by others of its user"}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err == nil && dumpable == 0 {
		w.Up, w.Detail = true, "this process is not dumpable"
	}
	return w
}

// attest starts a child of our own behind the walls, lets it try them, and
// looks at it from outside at the same time. A wall is up when both say so.
func (l *Launcher) attest(ctx context.Context) (Report, error) {
	dir, err := os.MkdirTemp("", "headgate-probe-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(dir)
	bait, err := newBait(dir)
	if err != nil {
		return Report{}, err
	}
	defer bait.close()
	limited, cancel := context.WithTimeout(ctx, helper.LaunchTimeout)
	defer cancel()
	inside, outside, err := l.probe(limited, dir, bait)
	if err != nil {
		if ctx.Err() != nil {
			return Report{}, err
		}
		if limited.Err() != nil {
			return reportOf([]Wall{{Name: WallStart, Detail: fmt.Sprintf("the child that tries the walls did not report within %s", helper.LaunchTimeout)}}), nil
		}
		return reportOf([]Wall{{Name: WallStart, Detail: fault.Of(err).Message + hint(err)}}), nil
	}
	walls := []Wall{{Name: WallStart, Up: true, Detail: "a child runs behind walls"}}
	for _, in := range inside {
		for _, out := range outside {
			if out.Name == in.Name {
				in = both(in, out)
			}
		}
		if in.Name == WallNetwork && bait.taken() {
			in.Up, in.Detail = false, "a connection from inside arrived on the host"
		}
		walls = append(walls, in)
	}
	return reportOf(walls), nil
}

// hint says what to change on a host that refuses to raise walls.
func hint(err error) string {
	var step *helper.StepError
	switch {
	case errors.As(err, &step) && (strings.HasPrefix(step.Step, "raise ") || strings.HasPrefix(step.Step, "limit ")):
		return "" // a wall of the child itself
	case errors.Is(err, unix.ENOSYS):
		return " Linux 5.12 or later is needed."
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC):
		return " The host forbids unprivileged user namespaces: see the settings kernel.unprivileged_userns_clone," +
			" kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces, and a container's seccomp profile."
	}
	return ""
}

func both(in, out Wall) Wall {
	switch {
	case !in.Up:
		return in
	case !out.Up:
		return out
	}
	in.Detail += "; " + out.Detail
	return in
}

// probe runs the probe and returns what it and the kernel say.
func (l *Launcher) probe(ctx context.Context, dir string, bait *bait) (inside, outside []Wall, err error) {
	spec := Spec{Name: "probe", WorkDir: filepath.Join(dir, "work"), ReadOnly: []string{l.config.Executable}}
	spec.Limits = spec.Limits.withDefaults()
	request, err := json.Marshal(probe{
		ServerPID: os.Getpid(), Loopback: bait.tcp.Addr().String(), Abstract: bait.abstract.Addr().String(),
		Socket: bait.path.Addr().String(), Secret: bait.secret, Data: uint64(spec.Limits.Data),
	})
	if err != nil {
		return nil, nil, err
	}
	spec.Argv = []string{l.config.Executable, HelperArg, "probe", string(request)}
	p, err := l.start(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	defer p.Stop(ctx)
	defer context.AfterFunc(ctx, p.handle.kill)()
	for {
		line, err := p.Receive()
		if err != nil {
			return nil, nil, fmt.Errorf("the probe ended early (%s) after %d walls: %s", p.Exit(), len(inside), lastLine(p.Logs()))
		}
		var w Wall
		if err := json.Unmarshal(line, &w); err != nil {
			return nil, nil, err
		}
		inside = append(inside, w)
		if w.Name == WallSeccomp { // the last it tries
			return inside, p.Attest().Walls, nil
		}
	}
}

func lastLine(logs []LogLine) string {
	if len(logs) == 0 {
		return "it wrote nothing"
	}
	return logs[len(logs)-1].Text
}

// bait is what the probe tries to reach.
type bait struct {
	tcp, abstract, path net.Listener
	secret              string
	hits                chan struct{}
}

func newBait(dir string) (*bait, error) {
	b := &bait{secret: filepath.Join(dir, "secret"), hits: make(chan struct{}, 1)}
	err := os.WriteFile(b.secret, []byte("secret"), 0o644)
	listen := func(network, addr string) (l net.Listener) {
		if err == nil {
			if l, err = net.Listen(network, addr); err == nil {
				go b.accept(l)
			}
		}
		return l
	}
	b.tcp = listen("tcp", "127.0.0.1:0")
	b.abstract = listen("unix", "@headgate-probe-"+rand.Text())
	b.path = listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		b.close()
		return nil, err
	}
	return b, os.Chmod(filepath.Join(dir, "socket"), 0o777)
}

func (b *bait) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
		select {
		case b.hits <- struct{}{}:
		default:
		}
	}
}

func (b *bait) taken() bool { return len(b.hits) > 0 }

func (b *bait) close() {
	for _, l := range []net.Listener{b.tcp, b.abstract, b.path} {
		if l != nil {
			l.Close()
		}
	}
}

// attest reads what the kernel says of the child that is running.
func (w *walled) attest() Report {
	pid, _ := w.Child()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return reportOf([]Wall{{Name: WallStart, Detail: "it has ended"}})
	}
	walls := []Wall{{Name: WallStart, Up: true, Detail: "running since its walls were up"}}
	for _, ns := range [][2]string{
		{WallUser, "user"}, {WallProcesses, "pid"}, {WallFiles, "mnt"}, {WallNetwork, "net"}, {WallIPC, "ipc"}, {WallUTS, "uts"},
	} {
		walls = append(walls, ownNamespace(pid, ns[0], ns[1]))
	}
	if uid := statusField(status, "Uid"); len(uid) == 0 || uid[0] == "0" {
		walls[1] = Wall{Name: WallUser, Detail: "it has uid 0, and there is no other to give it"}
	}
	walls = append(walls, privileges(status), dataLimit(pid, w.limits.Data),
		Wall{WallLandlock, w.host.Landlock > 0, fmt.Sprintf("ABI %d, raised at start", w.host.Landlock)},
		Wall{WallSeccomp, slices.Equal(statusField(status, "Seccomp"), []string{"2"}), "mode " + strings.Join(statusField(status, "Seccomp"), " ")})
	return reportOf(append(walls, hardened()))
}

func privileges(status []byte) Wall {
	if !slices.Equal(statusField(status, "NoNewPrivs"), []string{"1"}) {
		return Wall{Name: WallPrivileges, Detail: "no_new_privs is not set"}
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"} {
		if got := statusField(status, set); len(got) != 1 || strings.Trim(got[0], "0") != "" {
			return Wall{Name: WallPrivileges, Detail: set + " is not empty"}
		}
	}
	return Wall{WallPrivileges, true, "no_new_privs, no capabilities"}
}

func statusField(status []byte, name string) []string {
	_, rest, _ := bytes.Cut(status, []byte("\n"+name+":"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Fields(string(line))
}

func ownNamespace(pid int, wall, kind string) Wall {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return Wall{Name: wall, Detail: "its namespaces cannot be read"}
	}
	ours, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil || ours == theirs {
		return Wall{Name: wall, Detail: "it shares ours"}
	}
	return Wall{Name: wall, Up: true, Detail: theirs}
}

// dataLimit reads the file: prlimit would need a right over the child's uid.
func dataLimit(pid int, want int64) Wall {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return Wall{Name: WallLimits, Detail: "its limits cannot be read"}
	}
	_, rest, _ := bytes.Cut(limits, []byte("\nMax data size"))
	fields := strings.Fields(string(rest))
	up := len(fields) > 2 && fields[1] == strconv.FormatInt(want, 10)
	return Wall{WallLimits, up, fmt.Sprintf("data %d MiB", want/mib)}
}
