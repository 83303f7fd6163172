//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { hostile["syscalls"] = forbiddenCalls }

// forbiddenCalls prints every call that is not refused as it should be.
func forbiddenCalls([]string) {
	eperm := map[string]uintptr{
		"mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2, "pivot_root": unix.SYS_PIVOT_ROOT, "chroot": unix.SYS_CHROOT,
		"open_tree": unix.SYS_OPEN_TREE, "move_mount": unix.SYS_MOVE_MOUNT, "fsopen": unix.SYS_FSOPEN, "fsmount": unix.SYS_FSMOUNT,
		"mount_setattr": unix.SYS_MOUNT_SETATTR, "unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "ptrace": unix.SYS_PTRACE,
		"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV, "kcmp": unix.SYS_KCMP,
		"pidfd_getfd": unix.SYS_PIDFD_GETFD, "keyctl": unix.SYS_KEYCTL, "add_key": unix.SYS_ADD_KEY, "request_key": unix.SYS_REQUEST_KEY,
		"bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN, "userfaultfd": unix.SYS_USERFAULTFD,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_enter": unix.SYS_IO_URING_ENTER, "init_module": unix.SYS_INIT_MODULE,
		"finit_module": unix.SYS_FINIT_MODULE, "kexec_load": unix.SYS_KEXEC_LOAD, "reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON,
		"syslog": unix.SYS_SYSLOG, "settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME,
		"sethostname": unix.SYS_SETHOSTNAME, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "acct": unix.SYS_ACCT,
	}
	for name, number := range eperm {
		if _, _, errno := unix.RawSyscall6(number, 0, 0, 0, 0, 0, 0); errno != unix.EPERM {
			fmt.Println(name, "answers", errno)
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
		fmt.Println("clone3 answers", errno)
	}
	for name, flag := range map[string]uintptr{"user": unix.CLONE_NEWUSER, "net": unix.CLONE_NEWNET, "mount": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID} {
		if _, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); errno != unix.EPERM {
			fmt.Println("clone of a", name, "namespace answers", errno)
		}
	}
	for _, s := range [][3]int{
		{unix.AF_PACKET, unix.SOCK_RAW, 0}, {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, {unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, {unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER},
		{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP}, {unix.AF_TIPC, unix.SOCK_STREAM, 0},
	} {
		if _, err := unix.Socket(s[0], s[1], s[2]); err != unix.EPERM {
			fmt.Println("socket", s, "answers", err)
		}
	}
	for name, err := range map[string]error{
		"setuid":      unix.Setuid(0),
		"personality": personality(0x0040000), // ADDR_NO_RANDOMIZE
		"tiocsti":     tiocsti(),
	} {
		if err == nil {
			fmt.Println(name, "is allowed")
		}
	}
	// What ordinary programs need still works.
	for _, s := range [][3]int{{unix.AF_UNIX, unix.SOCK_STREAM, 0}, {unix.AF_INET, unix.SOCK_STREAM, 0}, {unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP}} {
		if _, err := unix.Socket(s[0], s[1], s[2]); err != nil {
			fmt.Println("socket", s, "is refused:", err)
		}
	}
}

func personality(p uintptr) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, p, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func tiocsti() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0); errno != unix.EPERM {
		return nil
	}
	return unix.EPERM
}
