//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"headgate/internal/sandbox"
)

// A child that belongs to a stranger tries to read, reach and exhaust things.
func TestHostileChildReadsNothing(t *testing.T) {
	l := walls(t)
	server := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(server, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("SECRET"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pid := os.Getpid()
	targets := []string{
		write("keys.json"), write("headgate.db"), server, filepath.Dir(server), write("work/other/note"),
		fmt.Sprintf("/proc/%d/environ", pid), fmt.Sprintf("/proc/%d/mem", pid), fmt.Sprintf("/proc/%d/cmdline", pid),
		"/proc/1/environ", "/proc/1/mem", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd", "/proc/1/maps",
		"/etc/shadow", "/root", "/home", "/var", "/run", "/sys", "/boot", "/", "/dev/vda", "/dev/mem", "/proc/kcore",
	}
	if home, err := os.UserHomeDir(); err == nil {
		targets = append(targets, home)
	}
	// A link in its own directory leads nowhere either.
	spec := child(t, "read", append(targets, "/private/link", "/private/link/keys.json")...)
	if err := os.MkdirAll(spec.WorkDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(server, filepath.Join(spec.WorkDir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, line := range output(t, start(t, l, spec)) {
		t.Error(line)
	}
	t.Run("and without walls it would, so this test can fail", func(t *testing.T) {
		spec.Level = sandbox.None
		if got := strings.Join(output(t, start(t, l, spec)), "\n"); !strings.Contains(got, "keys.json: \"SECRET\"") || !strings.Contains(got, "listed /:") {
			t.Fatalf("got %s", got)
		}
	})
}

func TestHostileChildReachesNothing(t *testing.T) {
	l := walls(t)
	dir := t.TempDir()
	var args []string
	for _, target := range [][2]string{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"unix", "@headgate-" + filepath.Base(dir)}, {"unix", filepath.Join(dir, "socket")},
	} {
		listener, err := net.Listen(target[0], target[1])
		if err != nil {
			continue // no IPv6 here
		}
		t.Cleanup(func() { listener.Close() })
		args = append(args, target[0], listener.Addr().String())
	}
	args = append(args, "tcp", "169.254.169.254:80", "tcp", "[fd00:ec2::254]:80", "udp", "192.0.2.1:53",
		"unix", "/run/docker.sock", "unix", "/run/systemd/private", "ip4:icmp", "127.0.0.1")
	spec := child(t, "connect", args...)
	for _, line := range output(t, start(t, l, spec)) {
		t.Error(line)
	}
	t.Run("and without walls it would, so this test can fail", func(t *testing.T) {
		spec.Level = sandbox.None
		if got := output(t, start(t, l, spec)); len(got) < 3 {
			t.Fatalf("got %q", got)
		}
	})
}

func TestHostileChildCallsNothing(t *testing.T) {
	l := walls(t)
	for _, line := range output(t, start(t, l, child(t, "syscalls"))) {
		t.Error(line)
	}
}

func TestHostileChildExhaustsNothing(t *testing.T) {
	t.Parallel()
	l := walls(t)
	t.Run("forks stop at its limit, and other tenants start as before", func(t *testing.T) {
		spec := child(t, "forkbomb")
		bomb := start(t, l, spec)
		if n := atoi(receive(t, bomb)); n < 10 || n >= 64 {
			t.Fatalf("%d forks", n)
		}
		other := start(t, l, child(t, "forkbomb"))
		if n := atoi(receive(t, other)); n < 10 {
			t.Fatalf("the other tenant got %d", n)
		}
	})
	t.Run("open files stop at the limit", func(t *testing.T) {
		if n := atoi(output(t, start(t, l, child(t, "descriptors")))[0]); n > 256 || n < 200 {
			t.Fatalf("opened %d", n)
		}
	})
	t.Run("one file stops at its limit", func(t *testing.T) {
		spec := child(t, "files", "8", "1", "/private")
		spec.Limits.FileSize = 4 << 20
		p := start(t, l, spec)
		if line := receive(t, p); !strings.Contains(line, "file too large") {
			t.Fatalf("got %s", line)
		}
	})
	t.Run("temporary files stop at their limit", func(t *testing.T) {
		spec := child(t, "files", "4", "8", "/tmp")
		spec.Limits.Temp = 8 << 20
		if line := receive(t, start(t, l, spec)); !strings.Contains(line, "no space left") {
			t.Fatalf("got %s", line)
		}
	})
	t.Run("a full work directory ends the process", func(t *testing.T) {
		t.Parallel()
		spec := child(t, "files", "2", "8", "/private")
		spec.Limits.Disk = 4 << 20
		p := start(t, l, spec)
		if e := ended(t, p); e.Reason != sandbox.Disk {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("memory of one process stops at its limit", func(t *testing.T) {
		spec := child(t, "memory", "1000")
		p := start(t, l, spec)
		if n := len(output(t, p)); n > 512 || n < 32 {
			t.Fatalf("held %d MiB", n)
		}
		if e := ended(t, p); e.Reason != sandbox.Exited || e.Code == 0 {
			t.Fatalf("got %+v", e)
		}
	})
	t.Run("memory of many processes together ends them", func(t *testing.T) {
		t.Parallel()
		spec := child(t, "memories", "3", "48")
		spec.Limits.Memory = 96 << 20
		p := start(t, l, spec)
		if e := ended(t, p); e.Reason != sandbox.Memory {
			t.Fatalf("got %+v %v", e, p.Logs())
		}
	})
	t.Run("processor time stops at its limit", func(t *testing.T) {
		t.Parallel()
		spec := shell(t, "while :; do :; done")
		spec.Limits.CPU = time.Second
		p := start(t, l, spec)
		if e := ended(t, p); e.Signal == 0 {
			t.Fatalf("got %+v", e)
		}
	})
}

func TestChildIsNobody(t *testing.T) {
	l := walls(t)
	p := start(t, l, shell(t, "echo marker; sleep 914002"))
	receive(t, p)
	pids := marked("914002")
	if len(pids) == 0 {
		t.Fatal("not found")
	}
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nUid:")
		uid := strings.Fields(rest)[0]
		if uid == "0" || (os.Getuid() == 0 && atoi(uid) < 1<<16) {
			t.Errorf("uid %s on the host", uid)
		}
		if !strings.Contains(string(status), "\nCapBnd:\t0000000000000000\n") {
			t.Error("there are capabilities")
		}
	}
	t.Run("two work directories are two uids when Headgate is root", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can give uids")
		}
		uid := func(p *sandbox.Process) string {
			status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
			_, rest, _ := strings.Cut(string(status), "\nUid:")
			return strings.Fields(rest)[0]
		}
		if other := start(t, l, child(t, "echo")); uid(p) == uid(other) {
			t.Fatal("they share " + uid(p))
		}
	})
}

// The host's mounts are gone, and those it makes later do not appear inside.
func TestMountsArePartedFromTheHost(t *testing.T) {
	l := walls(t)
	roots := 0
	for _, line := range output(t, start(t, l, shell(t, "cat /proc/self/mountinfo"))) {
		place := strings.Fields(line)[4]
		if place == "/" {
			roots++
		}
		if strings.Contains(line, " shared:") || strings.Contains(line, " master:") || strings.HasPrefix(place, "/sys") {
			t.Error(line)
		}
	}
	if roots != 1 {
		t.Fatalf("%d mounts at the root", roots)
	}
}

func TestNodeRuns(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here")
	}
	l := walls(t)
	script := `
const rl = require('readline').createInterface({input: process.stdin});
const fs = require('fs'), os = require('os');
const tried = p => { try { fs.readFileSync(p); return 'read' } catch (e) { return e.code } };
console.log(JSON.stringify({cpus: os.cpus().length > 0, uid: process.getuid(), shadow: tried('/etc/shadow'), home: os.homedir(),
  write: (() => { fs.writeFileSync('x', 'y'); return fs.readFileSync('x', 'utf8') })()}));
rl.on('line', l => console.log(l.toUpperCase()));
`
	p := start(t, l, sandbox.Spec{Argv: []string{node, "-e", script}, WorkDir: filepath.Join(t.TempDir(), "work")})
	if got, want := receive(t, p), `{"cpus":true,"uid":1000,"shadow":"ENOENT","home":"/private","write":"y"}`; got != want {
		t.Fatalf("got %s", got)
	}
	if err := p.Send(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, p); got != "HELLO" {
		t.Fatalf("got %s", got)
	}
	t.Logf("started behind walls in %s", p.Took())
}
