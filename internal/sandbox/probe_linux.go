//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/helper"
)

// probe is what a hostile child would like to know, handed to it on purpose.
type probe struct {
	ServerPID int    `json:"serverPid"`
	Loopback  string `json:"loopback"` // where something listens on the host
	Abstract  string `json:"abstract"`
	Socket    string `json:"socket"`
	Secret    string `json:"secret"` // a file next to the work directory
	Data      uint64 `json:"data"`   // the limit expected
}

// HelperMain is the entry of our own program when started with HelperArg; it
// gets the arguments after it and returns the exit code. It tries each wall
// from inside, prints what happened, and stays until its input ends.
func HelperMain(args []string) int {
	var p probe
	if len(args) != 2 || args[0] != "probe" || json.Unmarshal([]byte(args[1]), &p) != nil {
		fmt.Fprintln(os.Stderr, "This command is started by Headgate itself.")
		return 2
	}
	out := json.NewEncoder(os.Stdout)
	for _, attempt := range []struct {
		wall string
		try  func(*probe) (string, error)
	}{
		{WallDescriptors, (*probe).descriptors}, // first, while we have opened nothing
		{WallUser, (*probe).user},
		{WallProcesses, (*probe).processes},
		{WallMemory, (*probe).memory},
		{WallFiles, (*probe).files},
		{WallNetwork, (*probe).network},
		{WallIPC, (*probe).ipc},
		{WallUTS, (*probe).uts},
		{WallPrivileges, (*probe).privileges},
		{WallLimits, (*probe).limits},
		{WallLandlock, (*probe).landlock},
		{WallSeccomp, (*probe).seccomp},
	} {
		detail, err := attempt.try(&p)
		w := Wall{Name: attempt.wall, Up: err == nil, Detail: detail}
		if err != nil {
			w.Detail = err.Error()
		}
		if out.Encode(w) != nil {
			return 1
		}
	}
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // Headgate looks at us meanwhile
	return 0
}

func (p *probe) descriptors() (string, error) {
	for fd := 3; fd < 1024; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue
		}
		// Go's own poller is ours; it is no way out.
		if link, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); strings.HasPrefix(link, "anon_inode:[event") {
			continue
		}
		return "", fmt.Errorf("descriptor %d is open", fd)
	}
	return "only 0, 1 and 2 are open", nil
}

func (p *probe) user() (string, error) {
	if os.Getuid() != helper.InsideID || os.Geteuid() != helper.InsideID || os.Getgid() != helper.InsideID {
		return "", fmt.Errorf("uid is %d", os.Getuid())
	}
	uidMap, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return "uid 1000 inside", nil
	}
	fields := strings.Fields(string(uidMap))
	if len(fields) != 3 || fields[2] != "1" {
		return "", errors.New("more than one uid is mapped")
	}
	return "one uid is mapped", nil
}

func (p *probe) processes() (string, error) {
	if err := syscall.Kill(p.ServerPID, 0); !errors.Is(err, syscall.ESRCH) && os.Getpid() != helper.ChildPID {
		return "", fmt.Errorf("the server's process can be signalled (%v)", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil || len(entries) == 0 {
		return "no /proc; the server's process is not there", nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > helper.ChildPID {
			return "", fmt.Errorf("process %d can be seen", pid)
		}
	}
	return "sees itself and its init only", nil
}

func (p *probe) memory() (string, error) {
	for _, pid := range []int{p.ServerPID, 1} {
		if pid == os.Getpid() {
			continue // the server's number happens to be ours in here
		}
		for _, name := range []string{"environ", "mem", "maps", "root"} {
			path := fmt.Sprintf("/proc/%d/%s", pid, name)
			if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
				return "", fmt.Errorf("%s can be read", path)
			}
		}
		if err := syscall.PtraceAttach(pid); err == nil {
			return "", fmt.Errorf("process %d can be traced", pid)
		}
	}
	return "environ, mem and ptrace refused", nil
}

func (p *probe) files() (string, error) {
	for _, path := range []string{p.Secret, "/etc/shadow", "/root/.", "/home/.", "/var/.", "/run/.", "/sys/.", "/proc/1/root/."} {
		if _, err := os.Stat(path); err == nil {
			return "", fmt.Errorf("%s can be seen", path)
		}
	}
	for _, dir := range []string{"/", "/usr", "/etc", "/dev", "/proc"} {
		if err := os.WriteFile(filepath.Join(dir, "headgate-probe"), nil, 0o600); err == nil {
			return "", fmt.Errorf("%s can be written", dir)
		}
	}
	for _, dir := range []string{helper.PrivateDir, helper.TempDir, "/dev/shm"} {
		if err := os.WriteFile(filepath.Join(dir, ".headgate-probe"), nil, 0o600); err != nil {
			return "", err
		}
		_ = os.Remove(filepath.Join(dir, ".headgate-probe")) // gone with the sandbox at the latest
	}
	return "the host's files are not there; the runtime is read-only", nil
}

func (p *probe) network() (string, error) {
	for _, try := range [][2]string{
		{"tcp", p.Loopback}, {"tcp", "169.254.169.254:80"}, {"tcp", "[fd00:ec2::254]:80"}, {"udp", "192.0.2.1:53"},
		{"unix", p.Abstract}, {"unix", p.Socket}, {"unix", "/run/docker.sock"}, {"unix", "/var/run/docker.sock"},
	} {
		if conn, err := net.DialTimeout(try[0], try[1], time.Second); err == nil {
			conn.Close()
			return "", fmt.Errorf("%s %s can be reached", try[0], try[1])
		}
	}
	links, err := net.Interfaces()
	if err == nil && slices.ContainsFunc(links, func(l net.Interface) bool { return l.Flags&net.FlagLoopback == 0 && l.Flags&net.FlagUp != 0 }) {
		return "", errors.New("there is an interface besides the loopback")
	}
	return "loopback, metadata address, abstract and path sockets refused", nil
}

func (p *probe) ipc() (string, error) {
	if text, err := os.ReadFile("/proc/sysvipc/shm"); err == nil && strings.Count(string(text), "\n") > 1 {
		return "", errors.New("shared memory of others can be seen")
	}
	return "no shared memory of others", nil
}

func (p *probe) uts() (string, error) {
	if name, err := os.Hostname(); err != nil || name != "sandbox" {
		return "", errors.New("the host's name can be seen")
	}
	return "own host name", nil
}

func (p *probe) privileges() (string, error) {
	if nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || nnp != 1 {
		return "", errors.New("no_new_privs is not set")
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || data != [2]unix.CapUserData{} {
		return "", errors.New("there are capabilities left")
	}
	for c := 0; ; c++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break
		}
		if held != 0 {
			return "", fmt.Errorf("capability %d is in the bounding set", c)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETUID, 0, 0, 0); errno == 0 {
		return "", errors.New("it can become uid 0")
	}
	return "cannot become uid 0", nil
}

func (p *probe) limits() (string, error) {
	var data, core unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_DATA, &data) != nil || data.Max != p.Data {
		return "", fmt.Errorf("the data limit is %d", data.Max)
	}
	if unix.Getrlimit(unix.RLIMIT_CORE, &core) != nil || core.Max > 1 {
		return "", errors.New("core files can be written")
	}
	if unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: data.Cur, Max: data.Max + 1}) == nil {
		return "", errors.New("a limit can be raised")
	}
	return fmt.Sprintf("data %d MiB; hard limits cannot be raised", data.Max/mib), nil
}

// landlock tries what the mounts would allow and only Landlock refuses.
func (p *probe) landlock() (string, error) {
	if _, err := os.ReadDir("/"); !errors.Is(err, syscall.EACCES) {
		return "", fmt.Errorf("the root can be listed (%v)", err)
	}
	return "refuses what the mounts would allow", nil
}

func (p *probe) seccomp() (string, error) {
	attempts := map[string]uintptr{
		"mount": unix.SYS_MOUNT, "unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "ptrace": unix.SYS_PTRACE, "bpf": unix.SYS_BPF,
		"keyctl": unix.SYS_KEYCTL, "io_uring_setup": unix.SYS_IO_URING_SETUP, "userfaultfd": unix.SYS_USERFAULTFD,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "process_vm_readv": unix.SYS_PROCESS_VM_READV, "kexec_load": unix.SYS_KEXEC_LOAD,
	}
	for name, number := range attempts {
		if _, _, errno := unix.RawSyscall6(number, 0, 0, 0, 0, 0, 0); errno != unix.EPERM {
			return "", fmt.Errorf("%s answers %v", name, errno)
		}
	}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP); err != unix.EPERM {
		unix.Close(fd)
		return "", fmt.Errorf("an MPTCP socket answers %v", err)
	}
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || mode != unix.SECCOMP_MODE_FILTER {
		return "", errors.New("no filter is in force")
	}
	return fmt.Sprintf("a filter is in force, %d kinds of calls tried and refused", len(attempts)+1), nil
}
