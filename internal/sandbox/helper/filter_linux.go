//go:build linux && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// denied are calls no server needs, each a way to the kernel's depths, to
// other processes or out of the namespaces. They fail with EPERM.
var denied = append([]uint32{
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_PROCESS_MADVISE,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT, unix.SYS_LOOKUP_DCOOKIE,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_ACCT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_MOVE_PAGES, unix.SYS_MIGRATE_PAGES,
}, deniedHere...)

// absent are calls that hold memory no process shows: nobody could bound it.
// They fail as on a kernel without them, so that libraries take files in
// /dev/shm instead, which are bounded.
var absent = []uint32{
	unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET,
	unix.SYS_CLONE3, // hides its flags in memory; libraries fall back to clone
}

// newNamespaces are the flags of clone that make one.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
	unix.CLONE_NEWUSER | unix.CLONE_NEWCGROUP

// Offsets in struct seccomp_data; the low half of an argument comes first.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
)

// bpf is a filter program. Its methods append instructions.
type bpf []unix.SockFilter

func (b *bpf) op(code uint16, k uint32) { *b = append(*b, unix.SockFilter{Code: code, K: k}) }

func (b *bpf) load(offset uint32) { b.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }

func (b *bpf) ret(action uint32) { b.op(unix.BPF_RET|unix.BPF_K, action) }

// when runs body only if the comparison holds.
func (b *bpf) when(compare uint16, k uint32, body func()) {
	b.op(unix.BPF_JMP|compare|unix.BPF_K, k)
	at := len(*b)
	body()
	(*b)[at-1].Jf = uint8(len(*b) - at)
}

// unless runs body only if the comparison does not hold.
func (b *bpf) unless(compare uint16, k uint32, body func()) {
	b.op(unix.BPF_JMP|compare|unix.BPF_K, k)
	at := len(*b)
	body()
	(*b)[at-1].Jt = uint8(len(*b) - at)
}

func refuse(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }

// filter is the child's system call filter.
func filter() bpf {
	var b bpf
	b.load(dataArch)
	b.unless(unix.BPF_JEQ, auditArch, func() { b.ret(unix.SECCOMP_RET_KILL_PROCESS) })
	b.load(dataNumber)
	if foreignBit != 0 { // x32 calls would pass by the numbers below
		b.when(unix.BPF_JGE, foreignBit, func() { b.ret(refuse(unix.ENOSYS)) })
	}
	for _, number := range denied {
		b.when(unix.BPF_JEQ, number, func() { b.ret(refuse(unix.EPERM)) })
	}
	for _, number := range absent {
		b.when(unix.BPF_JEQ, number, func() { b.ret(refuse(unix.ENOSYS)) })
	}
	b.when(unix.BPF_JEQ, unix.SYS_CLONE, func() {
		b.load(dataArgs)
		b.when(unix.BPF_JSET, newNamespaces, func() { b.ret(refuse(unix.EPERM)) })
		// A thread with descriptors of its own: /proc shows those of the first only.
		b.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, unix.CLONE_THREAD|unix.CLONE_FILES)
		b.when(unix.BPF_JEQ, unix.CLONE_THREAD, func() { b.ret(refuse(unix.EPERM)) })
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
	b.when(unix.BPF_JEQ, unix.SYS_MMAP, func() {
		// Shared memory without a file lives on when all but a page is unmapped.
		b.load(dataArgs + 3*8)
		b.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, unix.MAP_TYPE|unix.MAP_ANONYMOUS)
		b.when(unix.BPF_JEQ, unix.MAP_SHARED|unix.MAP_ANONYMOUS, func() { b.ret(refuse(unix.EPERM)) })
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
	b.limits()
	b.when(unix.BPF_JEQ, unix.SYS_PERSONALITY, func() {
		b.load(dataArgs)
		for _, harmless := range []uint32{0, 0xffffffff} {
			b.when(unix.BPF_JEQ, harmless, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
		}
		b.ret(refuse(unix.EPERM))
	})
	b.when(unix.BPF_JEQ, unix.SYS_IOCTL, func() {
		b.load(dataArgs + 8)
		for _, typing := range []uint32{unix.TIOCSTI, unix.TIOCLINUX} {
			b.when(unix.BPF_JEQ, typing, func() { b.ret(refuse(unix.EPERM)) })
		}
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
	b.sockets()
	b.ret(unix.SECCOMP_RET_ALLOW)
	return b
}

// limits keeps the limit of core files as it is, and all limits of the init.
func (b *bpf) limits() {
	b.when(unix.BPF_JEQ, unix.SYS_SETRLIMIT, func() {
		b.load(dataArgs)
		b.when(unix.BPF_JEQ, unix.RLIMIT_CORE, func() { b.ret(refuse(unix.EPERM)) })
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
	b.when(unix.BPF_JEQ, unix.SYS_PRLIMIT64, func() {
		b.load(dataArgs)
		b.when(unix.BPF_JEQ, 1, func() { b.ret(refuse(unix.EPERM)) })
		b.load(dataArgs + 8)
		b.unless(unix.BPF_JEQ, unix.RLIMIT_CORE, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
		for half := range uint32(2) { // of the address of a new limit; none is a question only
			b.load(dataArgs + 2*8 + half*4)
			b.unless(unix.BPF_JEQ, 0, func() { b.ret(refuse(unix.EPERM)) })
		}
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
}

// sockets leaves ordinary sockets only: no packets, no raw IP, no MPTCP, which
// Landlock overlooks, and of netlink just the list of interfaces.
// Their buffers stay as they are: those are memory that no process shows.
func (b *bpf) sockets() {
	b.when(unix.BPF_JEQ, unix.SYS_SETSOCKOPT, func() {
		b.load(dataArgs + 8)
		b.unless(unix.BPF_JEQ, unix.SOL_SOCKET, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
		b.load(dataArgs + 16)
		for _, buffer := range []uint32{unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
			b.when(unix.BPF_JEQ, buffer, func() { b.ret(refuse(unix.EPERM)) })
		}
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
	b.when(unix.BPF_JEQ, unix.SYS_SOCKET, func() {
		b.load(dataArgs)
		b.when(unix.BPF_JEQ, unix.AF_UNIX, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
		b.when(unix.BPF_JEQ, unix.AF_NETLINK, func() {
			b.load(dataArgs + 16)
			b.when(unix.BPF_JEQ, unix.NETLINK_ROUTE, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
			b.ret(refuse(unix.EPERM))
		})
		b.unless(unix.BPF_JEQ, unix.AF_INET, func() {
			b.unless(unix.BPF_JEQ, unix.AF_INET6, func() { b.ret(refuse(unix.EPERM)) })
		})
		b.load(dataArgs + 8)
		b.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0xf)
		b.unless(unix.BPF_JEQ, unix.SOCK_STREAM, func() {
			b.unless(unix.BPF_JEQ, unix.SOCK_DGRAM, func() { b.ret(refuse(unix.EPERM)) })
		})
		b.load(dataArgs + 16)
		for _, protocol := range []uint32{unix.IPPROTO_IP, unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			b.when(unix.BPF_JEQ, protocol, func() { b.ret(unix.SECCOMP_RET_ALLOW) })
		}
		b.ret(refuse(unix.EPERM))
	})
}

// seccomp raises the filter. After it only the exec follows.
func (p *Plan) seccomp() {
	var code []byte
	for instruction := range slices.Values(filter()) {
		code = binary.LittleEndian.AppendUint16(code, instruction.Code)
		code = append(code, instruction.Jt, instruction.Jf)
		code = binary.LittleEndian.AppendUint32(code, instruction.K)
	}
	program := p.Words(len(code)/unix.SizeofSockFilter, code) // a struct sock_fprog
	p.Call("raise the filter", unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, program, 0, 0)
}
