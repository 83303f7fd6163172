//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox"
)

func init() {
	if len(os.Args) > 2 && os.Args[2] == "leaderless" {
		runtime.LockOSThread() // main begins in the first thread, and keeps it only from here
	}
	hostile["hoard"] = hoard
	hostile["unlinked"] = unlinked
	hostile["meddle"] = meddle
	hostile["leaderless"] = leaderless
	hostile["sockets"] = sockets
	hostile["mute"] = func([]string) { // cannot answer any more, but stays
		fmt.Println("ready")
		os.Stdout.Close()
		wait()
	}
}

// hoard tries every way to hold memory that no process of its own shows, and
// prints those that work.
func hoard([]string) {
	const size = 64 << 20
	block := make([]byte, 1<<20)
	fill := func(fd int) (held int) {
		for held < size {
			n, err := unix.Write(fd, block)
			if err != nil {
				break
			}
			held += n
		}
		return held
	}
	if fd, err := unix.MemfdCreate("hoard", 0); err == nil {
		fmt.Println("memfd holds", fill(fd))
	}
	if fd, err := unix.Open("/dev/shm", unix.O_TMPFILE|unix.O_RDWR, 0o600); err == nil {
		if n := fill(fd); n > 64<<20 {
			fmt.Println("a nameless file in memory holds", n)
		}
		unix.Close(fd)
	}
	if id, _, errno := unix.RawSyscall(unix.SYS_SHMGET, 0, size, 0o1600); errno == 0 {
		fmt.Println("a segment of System V is there:", id)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_MSGGET, 0, 0o1600, 0); errno == 0 {
		fmt.Println("a message queue of System V is there")
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SEMGET, 0, 32000, 0o1600); errno == 0 {
		fmt.Println("semaphores of System V are there")
	}
	// Shared memory outlives the part of its mapping that was touched.
	if m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS); err == nil {
		for i := 0; i < size; i += 4096 {
			m[i] = 1
		}
		_, _, _ = unix.RawSyscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(&m[4096])), size-4096, 0)
		fmt.Println("shared memory was hidden; resident:", sharedMemory())
	}
	if fd, err := unix.Open("/dev/zero", unix.O_RDWR, 0); err == nil {
		if m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			m[0] = 1
			fmt.Println("/dev/zero was shared")
		}
	}
}

func sharedMemory() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "\nRssShmem:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// unlinked fills the disk with files that have no name any more: held open, or
// mapped only.
func unlinked(args []string) {
	block := make([]byte, 1<<20)
	for i := range atoi(args[1]) {
		path := filepath.Join("/private", strconv.Itoa(i))
		f, err := os.Create(path)
		if err != nil {
			fmt.Println(err)
			break
		}
		_ = os.Remove(path)
		for range atoi(args[2]) {
			if _, err := f.Write(block); err != nil {
				fmt.Println(err)
				return
			}
		}
		if args[0] == "mapped" {
			if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED); err != nil {
				fmt.Println(err)
				return
			}
			f.Close()
		}
	}
	fmt.Println("written")
	for { // busy, as one that writes is
		_ = os.WriteFile("/private/small", nil, 0o600)
		time.Sleep(10 * time.Millisecond)
	}
}

// meddle prints whatever it can change that is not its own.
func meddle(args []string) {
	did := func(what string, err error) {
		if err == nil {
			fmt.Println("could", what)
		}
	}
	server := atoi(args[0])
	for _, pid := range []int{1, server} {
		if pid == os.Getpid() {
			continue
		}
		did(fmt.Sprint("stop process ", pid), kills(pid))
		did(fmt.Sprint("limit process ", pid), unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil))
		if pid == server {
			did(fmt.Sprint("bind process ", pid), unix.SchedSetaffinity(pid, &unix.CPUSet{1}))
		}
		for _, name := range []string{"oom_score_adj", "mem", "comm", "clear_refs", "coredump_filter", "timerslack_ns", "attr/current", "uid_map"} {
			f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, name), os.O_WRONLY, 0)
			if err == nil {
				f.Close()
			}
			did(fmt.Sprintf("open %s of process %d", name, pid), err)
		}
		for _, name := range []string{"fd", "fdinfo", "map_files", "task/1/fd", "ns"} {
			if list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, name)); err == nil && len(list) > 0 {
				if _, err := os.Readlink(fmt.Sprintf("/proc/%d/%s/%s", pid, name, list[0].Name())); err == nil {
					fmt.Printf("could read %s of process %d\n", name, pid)
				}
			}
		}
	}
	for _, path := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/shmall", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/drop_caches",
		"/proc/sysrq-trigger", "/proc/self/oom_score_adj", "/proc/self/autogroup", "/proc/self/timerslack_ns", "/dev/kmsg", "/dev/tty", "/dev/ptmx", "/dev/pts/0", "/dev/fuse", "/dev/net/tun",
		"/etc/passwd", "/etc/resolv.conf", "/usr/bin/env", os.Args[0],
	} {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		did("open "+path+" to write", err)
	}
	for _, path := range []string{"/usr/bin/env", "/etc/passwd", "/dev/null", os.Args[0]} {
		did("link "+path, os.Link(path, "/private/link"))
		did("link "+path+" in memory", os.Link(path, "/tmp/link"))
		did("chmod "+path, os.Chmod(path, 0o777))
		did("mark "+path, unix.Setxattr(path, "user.x", []byte("x"), 0))
	}
	for _, path := range []string{"/etc/ssl/private", "/etc/pki/tls/private", "/usr/local/share/secret"} {
		_, err := os.Stat(path)
		did("see "+path, err)
	}
	did("make a device", unix.Mknod("/private/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))))
	did("make a device in memory", unix.Mknod("/tmp/disk", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))))
	did("raise its priority", unix.Setpriority(unix.PRIO_PROCESS, 0, 0))
	did("run in real time", realTime())
	did("raise its priority at the disk", ioprio())
	for name, resource := range map[string]int{"core files": unix.RLIMIT_CORE, "real time": unix.RLIMIT_RTPRIO, "priority": unix.RLIMIT_NICE} {
		var l unix.Rlimit
		if unix.Getrlimit(resource, &l) == nil && l.Max > 1 {
			fmt.Println("has a limit for", name, "of", l.Max)
		}
	}
	// A limit of 0 would call the host's handler of crashes; 1 keeps it away.
	did("have the host handle its crash", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
	did("have the host handle its crash, the other way", unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{}, nil))
	_ = os.WriteFile("/private/suid", []byte("#!/bin/sh\n"), 0o755)
	did("become another by a file of its own", become("/private/suid"))
	for _, nonsense := range []uintptr{0x7f000000, unix.SYS_MEMFD_SECRET} {
		if _, _, errno := unix.RawSyscall6(nonsense, 0, 0, 0, 0, 0, 0); errno == 0 {
			fmt.Println("could call", nonsense)
		}
	}
}

func kills(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); pid != 1 && err == nil {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil || pid == 1 {
		return errors.New("nothing happens to an init") // whether it does, the test sees
	}
	return nil
}

func realTime() error {
	priority := int32(1)
	if _, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, uintptr(unsafe.Pointer(&priority))); errno != 0 {
		return errno
	}
	return nil
}

func ioprio() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_IOPRIO_SET, 1, 0, 1<<13); errno != 0 {
		return errno
	}
	return nil
}

// become changes owners and modes of a file to what would give rights.
func become(path string) error {
	if err := os.Chown(path, 0, 0); err == nil {
		return nil
	}
	return unix.Setxattr(path, "security.capability", []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
}

// leaderless ends its first thread, with which a process shows its memory and
// its descriptors, and goes on in the others.
func leaderless(args []string) {
	go func() {
		if args[0] == "memory" {
			hostile["memory"]([]string{args[1]})
		}
		unlinked([]string{"open", args[1], "1"})
	}()
	if os.Getpid() != unix.Gettid() {
		panic("this is not the first thread")
	}
	_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// sockets opens as many as it can, in processes of its own.
func sockets(args []string) {
	if args[0] != "0" {
		cmd := exec.Command(os.Args[0], hostileArg, "sockets", strconv.Itoa(atoi(args[0])-1))
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	}
	for {
		if _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			break
		}
	}
	for { // busy, as one that fills them is
		_, _ = os.ReadDir("/proc")
		time.Sleep(10 * time.Millisecond)
	}
}

func TestHostileChildHoardsNothing(t *testing.T) {
	l := walls(t)
	for _, line := range output(t, start(t, l, child(t, "hoard"))) {
		t.Error(line)
	}
	for _, how := range []string{"open", "mapped"} {
		t.Run("files without a name, "+how+", count as well", func(t *testing.T) {
			t.Parallel()
			spec := child(t, "unlinked", how, "40", "1")
			spec.Limits.Disk, spec.Limits.Temp = 16<<20, 1<<20
			if e := ended(t, start(t, l, spec)); e.Reason != sandbox.Disk {
				t.Fatalf("got %+v", e)
			}
		})
	}
}

func TestHostileChildHidesNothing(t *testing.T) {
	l := walls(t)
	for name, c := range map[string]struct {
		spec   sandbox.Spec
		reason sandbox.Reason
	}{
		"memory behind a thread that ended": {child(t, "leaderless", "memory", "200"), sandbox.Memory},
		"files behind a thread that ended":  {child(t, "leaderless", "files", "100"), sandbox.Disk},
		"buffers of sockets":                {child(t, "sockets", "5"), sandbox.Memory},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Limits = sandbox.Limits{Memory: 96 << 20, Disk: 16 << 20, Temp: 1 << 20}
			p := start(t, l, c.spec)
			if e := ended(t, p); e.Reason != c.reason {
				t.Fatalf("got %+v %v", e, p.Logs())
			}
		})
	}
}

func TestHostileChildMeddlesWithNothing(t *testing.T) {
	l := walls(t)
	for _, line := range output(t, start(t, l, child(t, "meddle", strconv.Itoa(os.Getpid())))) {
		t.Error(line)
	}
}

func TestMuteChildIsEnded(t *testing.T) {
	l := walls(t)
	p := start(t, l, child(t, "mute"))
	receive(t, p)
	if _, err := p.Receive(); err == nil {
		t.Fatal("it said something")
	}
	if e := ended(t, p); e.Reason != sandbox.Mute {
		t.Fatalf("got %+v", e)
	}
}
