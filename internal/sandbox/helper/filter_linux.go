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
	// clone3 hides its flags in memory; libraries fall back to clone.
	b.when(unix.BPF_JEQ, unix.SYS_CLONE3, func() { b.ret(refuse(unix.ENOSYS)) })
	b.when(unix.BPF_JEQ, unix.SYS_CLONE, func() {
		b.load(dataArgs)
		b.when(unix.BPF_JSET, newNamespaces, func() { b.ret(refuse(unix.EPERM)) })
		b.ret(unix.SECCOMP_RET_ALLOW)
	})
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

// sockets leaves ordinary sockets only: no packets, no raw IP, no MPTCP, which
// Landlock overlooks, and of netlink just the list of interfaces.
func (b *bpf) sockets() {
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
