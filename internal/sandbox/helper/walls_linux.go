//go:build linux && (amd64 || arm64)

package helper

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/egress"
	"headgate/internal/sandbox/stage"
)

// limits sets the child's rlimits, hard and soft. RLIMIT_AS is not among them:
// garbage-collected programs reserve far more address space than they use.
func (p *Plan) limits() {
	l := p.child
	set := func(name string, resource int, n uint64) *stage.Op {
		return p.Call("limit "+name, unix.SYS_PRLIMIT64, 0, resource, p.Words(n, n), 0)
	}
	// No core file is as small as a byte, and a limit of 1 is the one that keeps
	// the kernel from calling the host's handler of crashes, which 0 does not. Where 0 is all we have, it stays.
	set("core files", unix.RLIMIT_CORE, 1).Maybe()
	set("data", unix.RLIMIT_DATA, uint64(l.Data))
	set("file size", unix.RLIMIT_FSIZE, uint64(l.FileSize))
	set("open files", unix.RLIMIT_NOFILE, uint64(l.Files))
	set("processes", unix.RLIMIT_NPROC, uint64(l.Processes))
	set("message queues", unix.RLIMIT_MSGQUEUE, 0)
	set("locked memory", unix.RLIMIT_MEMLOCK, 64<<10)
	set("pending signals", unix.RLIMIT_SIGPENDING, 256)
	set("priority", unix.RLIMIT_NICE, 0)
	set("real time", unix.RLIMIT_RTPRIO, 0)
	if l.CPU > 0 {
		set("processor time", unix.RLIMIT_CPU, uint64((l.CPU+time.Second-1)/time.Second))
	}
}

// dropCapabilities empties all five sets.
func (p *Plan) dropCapabilities() {
	p.Call("drop ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for capability := range p.host.lastCap + 1 {
		p.Call("bound capabilities", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability, 0, 0, 0).Maybe()
	}
	header := p.Words(unix.LINUX_CAPABILITY_VERSION_3) // pid 0: the caller
	p.Call("drop capabilities", unix.SYS_CAPSET, header, p.Bytes(make([]byte, 24)))
}

// network brings up the loopback and makes the listening sockets of the way
// out, when there is one. Without, not even the loopback is up.
func (p *Plan) network() {
	if p.child.Rules.Empty() {
		return
	}
	request := make([]byte, 40) // a struct ifreq
	copy(request, "lo")
	binary.LittleEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	p.fixed(p.Call("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0), fsFD)
	p.Call("bring the loopback up", unix.SYS_IOCTL, fsFD, unix.SIOCSIFFLAGS, request)

	ports := listenPorts(p.child.Rules)
	control := binary.LittleEndian.AppendUint64(nil, uint64(unix.CmsgLen(4*len(ports))))
	control = binary.LittleEndian.AppendUint32(control, unix.SOL_SOCKET)
	control = binary.LittleEndian.AppendUint32(control, unix.SCM_RIGHTS)
	for i, port := range ports {
		fd := listenFD + i
		p.fixed(p.Call("open a socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0), fd)
		address := make([]byte, unix.SizeofSockaddrInet4) // any address
		binary.LittleEndian.PutUint16(address, unix.AF_INET)
		binary.BigEndian.PutUint16(address[2:], port)
		p.Call("name a socket", unix.SYS_BIND, fd, address, len(address))
		p.Call("listen", unix.SYS_LISTEN, fd, 64)
		control = binary.LittleEndian.AppendUint32(control, uint32(fd))
	}
	message := p.Words(saidListen, 0, 0)
	header := p.Words(0, 0, p.Words(message, messageSize), 1, control, len(control), 0) // a struct msghdr
	p.Call("hand the sockets out", unix.SYS_SENDMSG, controlFD, header, unix.MSG_NOSIGNAL)
}

// listenPorts are the ports of the way out; the proxy's is the first.
func listenPorts(rules *egress.Rules) []uint16 {
	return append([]uint16{egress.ProxyPort}, rules.Ports()...)
}

// Landlock's rights on files.
const (
	llRead   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	llDevice = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	llFile   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	llNever  = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	ruleNet  = 2 // LANDLOCK_RULE_NET_PORT
)

// landlockRights returns all rights on files this ABI knows.
func landlockRights(abi int) uint64 {
	switch {
	case abi >= 9:
		return 1<<17 - 1
	case abi >= 5:
		return 1<<16 - 1
	case abi >= 3:
		return 1<<15 - 1
	case abi == 2:
		return 1<<14 - 1
	}
	return 1<<13 - 1
}

// landlock is a second wall behind the private view: even if a mount were too
// wide, only these paths, no TCP but the way out, and no signals or abstract
// sockets beyond the child's own processes.
func (p *Plan) landlock() {
	abi, all := p.host.Landlock, landlockRights(p.host.Landlock)
	attr, size := p.Words(all, uint64(0), uint64(0)), 8
	if abi >= 4 {
		attr, size = p.Words(all, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(0)), 16
	}
	if abi >= 6 {
		attr = p.Words(all, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET|unix.LANDLOCK_SCOPE_SIGNAL)
		size = 24
	}
	p.fixed(p.Call("make Landlock's rules", unix.SYS_LANDLOCK_CREATE_RULESET, attr, size, 0), rootFD)
	allow := func(place string, rights uint64) {
		rule := p.Words(rights&all, 0)
		p.Call("open "+place, unix.SYS_OPENAT, unix.AT_FDCWD, place, unix.O_PATH|unix.O_CLOEXEC, 0).Into(rule + 8)
		p.Call("allow "+place, unix.SYS_LANDLOCK_ADD_RULE, rootFD, unix.LANDLOCK_RULE_PATH_BENEATH, rule, 0)
	}
	write := all &^ llNever
	for _, s := range p.view.sources {
		rights := uint64(llRead)
		switch s.attr {
		case readWrite:
			rights = write
		case deviceNode:
			continue // with /dev
		}
		if !s.dir {
			rights &= llFile
		}
		allow(s.to, rights)
	}
	allow("/dev", llDevice)
	allow("/dev/shm", write)
	allow(TempDir, write)
	allow("/etc", llRead)
	allow("/proc", llRead&^unix.LANDLOCK_ACCESS_FS_EXECUTE)
	if abi >= 4 && !p.child.Rules.Empty() {
		for _, port := range listenPorts(p.child.Rules) {
			p.Call("allow a port", unix.SYS_LANDLOCK_ADD_RULE, rootFD, ruleNet, p.Words(unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(port)), 0)
		}
	}
	p.Call("raise Landlock", unix.SYS_LANDLOCK_RESTRICT_SELF, rootFD, 0)
}
