//go:build linux && (amd64 || arm64)

package helper

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/stage"
)

// Descriptors of the helper have fixed numbers, so that the plan can name them.
const (
	controlFD = 3 // the socket to Headgate, above the child's own three
	signalFD  = 4 // of the init, once all others are closed
	// From here on above all that calls return by themselves.
	fsFD   = 256 + iota // a file system that is being made
	rootFD              // the root of the private view, later Landlock's rules
	sourceFD
	listenFD = sourceFD + maxSources
)

// Kinds of messages the helper sends. Each is three words: kind and two more.
const (
	saidInit    = 1 + iota // the init lives; the kernel adds its pid
	saidFault              // the record that failed, its error number
	saidStarted            // the child's program was executed
	saidExit               // the child's wait status
	saidListen             // with it come the listening sockets of the network
)

// What a child sees of itself.
const (
	InsideID = 1000 // its uid and gid
	ChildPID = 2    // its process id, the first after the init's
)

const (
	messageSize = 24
	allSignals  = ^uint64(0) // a signal mask
	maskSize    = 8          // bytes of a mask
)

// Plan is the program of a helper. See the package comment for its lives.
type Plan struct {
	*stage.Program
	child Child
	host  Host
	view  *view
	uid   int // host uid to become, or -1 to stay
}

// New writes the plan for a child. A path that cannot be shown is a PathError.
func New(c Child, h Host) (*Plan, error) {
	view, err := newView(c)
	if err != nil {
		return nil, err
	}
	p := &Plan{Program: stage.New(), child: c, host: h, view: view, uid: -1}
	if h.root {
		p.uid = h.uidFor(c.WorkDir)
	}
	inside, child, failed := p.Label(), p.Label(), p.Label()
	p.OnFailure(failed, saidFault)
	p.outside(inside)
	p.Mark(inside)
	p.init(child)
	p.Mark(child)
	p.become()
	p.Mark(failed)
	p.send("report a failure", p.Failure())
	p.exit(127)
	return p, nil
}

// UID is the host uid the child will have, when it is not ours.
func (p *Plan) UID() (uid int, ok bool) { return p.uid, p.uid >= 0 }

func (p *Plan) exit(code int) { p.Call("exit", unix.SYS_EXIT_GROUP, code) }

// send sends a message. Headgate may be gone; then nobody has to be told.
func (p *Plan) send(name string, message stage.Ref) {
	p.Call(name, unix.SYS_SENDTO, controlFD, message, messageSize, unix.MSG_NOSIGNAL, 0, 0).Maybe()
}

// fixed moves the descriptor that a call returns to a number of our choice.
func (p *Plan) fixed(open *stage.Op, fd int) {
	dup := p.Call("place a descriptor", unix.SYS_DUP3, 0, fd, unix.O_CLOEXEC)
	open.Into(dup.Arg(0))
}

// put writes text to a file. What it opens is closed with all the rest.
func (p *Plan) put(name, path, text string, flags int) (open, write *stage.Op) {
	open = p.Call(name, unix.SYS_OPENAT, unix.AT_FDCWD, path, unix.O_WRONLY|unix.O_CLOEXEC|flags, 0o644)
	write = p.Call(name, unix.SYS_WRITE, 0, text, len(text))
	open.Into(write.Arg(0))
	return open, write
}

// outside is the helper's first life.
func (p *Plan) outside(inside *stage.Label) {
	p.Call("close inherited descriptors", unix.SYS_CLOSE_RANGE, controlFD+1, math.MaxUint32, 0)
	p.Call("keep the control socket from the child", unix.SYS_FCNTL, controlFD, unix.F_SETFD, unix.FD_CLOEXEC)
	p.Call("make a session", unix.SYS_SETSID).Maybe()
	p.Call("lower the priority", unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 10).Maybe()
	open, write := p.put("be the first to go when memory is short", "/proc/self/oom_score_adj", "500", 0)
	open.Maybe()
	write.Maybe()
	uid, gid := os.Geteuid(), os.Getegid()
	if p.uid >= 0 {
		p.view.cloneSources(p) // while we may still walk the way to them
		uid, gid = p.uid, p.uid
		p.Call("drop groups", unix.SYS_SETGROUPS, 0, 0)
		p.Call("drop the group id", unix.SYS_SETRESGID, gid, gid, gid)
		p.Call("drop the user id", unix.SYS_SETRESUID, uid, uid, uid)
		// Changing ids gave our /proc files to root; the id map is one of them.
		p.Call("own /proc/self again", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	p.Call("make a user namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	p.put("deny setgroups", "/proc/self/setgroups", "deny", 0)
	p.put("map the user id", "/proc/self/uid_map", fmt.Sprintf("%d %d 1", InsideID, uid), 0)
	p.put("map the group id", "/proc/self/gid_map", fmt.Sprintf("%d %d 1", InsideID, gid), 0)
	p.Call("make the other namespaces", unix.SYS_UNSHARE, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|
		unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP)
	// The init becomes Headgate's own child, so that Headgate reaps it and this
	// process can go.
	p.Call("start the init", unix.SYS_CLONE, unix.CLONE_PARENT|int(unix.SIGCHLD), 0, 0, 0, 0).On(0, inside)
	p.exit(0)
}

// init is the helper's second life: pid 1 of the new namespace.
func (p *Plan) init(child *stage.Label) {
	p.send("say that the init lives", p.Words(saidInit, 0, 0))
	p.view.build(p)
	p.Call("name the host", unix.SYS_SETHOSTNAME, "sandbox", len("sandbox"))
	p.network()
	p.Call("close what was opened", unix.SYS_CLOSE_RANGE, controlFD+1, math.MaxUint32, 0)
	p.Call("hold signals back", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, p.Words(allSignals), 0, maskSize)
	p.Call("watch for ended children", unix.SYS_SIGNALFD4, -1, p.Words(1<<(unix.SIGCHLD-1)), maskSize,
		unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) // this is signalFD, the lowest that is free
	// CLONE_VFORK: we go on when the child has executed its program, or is gone.
	p.Call("start the child", unix.SYS_CLONE, unix.CLONE_VFORK|int(unix.SIGCHLD), 0, 0, 0, 0).On(0, child)
	for fd := range controlFD {
		p.Call("leave the streams to the child", unix.SYS_CLOSE, fd)
	}
	p.Call("name the init", unix.SYS_PRCTL, unix.PR_SET_NAME, "headgate-init", 0, 0, 0)
	p.Call("shut the init's memory", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	p.dropCapabilities()
	p.send("say that it runs", p.Words(saidStarted, 0, 0))
	p.watch()
}

// watch reaps, passes signals on, and ends with the child or with Headgate.
func (p *Plan) watch() {
	loop, reap, control, pass, report, quit := p.Label(), p.Label(), p.Label(), p.Label(), p.Label(), p.Label()
	const readable = unix.POLLIN << 32 // the upper half of a pollfd
	info := p.Bytes(make([]byte, 128)) // a signalfd_siginfo
	status := p.Words(saidExit, 0, 0)

	p.Mark(loop)
	p.Call("wait", unix.SYS_PPOLL, p.Words(controlFD|readable, signalFD|readable), 2, 0, 0, maskSize).Else(loop)
	p.Call("take the signal", unix.SYS_READ, signalFD, info, 128).Maybe()
	p.Mark(reap)
	p.Call("reap", unix.SYS_WAIT4, -1, status+8, unix.WNOHANG|unix.WALL, 0).
		On(ChildPID, report).On(0, control).Else(control).Then(reap)
	p.Mark(control)
	receive := p.Call("listen to Headgate", unix.SYS_RECVFROM, controlFD, 0, 1, unix.MSG_DONTWAIT, 0, 0).
		On(0, quit).Else(loop).Then(pass)
	p.Mark(pass)
	kill := p.Call("pass a signal on", unix.SYS_KILL, ChildPID, 0).Maybe().Then(loop)
	receive.Set(1, kill.Arg(1)) // the byte received is the signal's number
	p.Mark(report)
	p.send("report the end", status)
	p.Mark(quit)
	p.exit(0)
}

// become is the helper's third life: it becomes the child.
func (p *Plan) become() {
	p.Call("let signals in", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, p.Words(0), 0, maskSize)
	p.Call("make the child's session", unix.SYS_SETSID)
	p.Call("keep new files private", unix.SYS_UMASK, 0o077)
	p.Call("enter the work directory", unix.SYS_CHDIR, PrivateDir)
	p.dropCapabilities()
	p.Call("forbid new privileges", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if p.host.Landlock > 0 {
		p.landlock()
	}
	p.limits() // after Landlock, whose descriptors lie above the limit
	argv, environ := p.Strings(p.child.Argv), p.Strings(p.child.Env)
	if p.host.Seccomp {
		p.seccomp()
	}
	p.Call("execute the program", unix.SYS_EXECVE, p.child.Argv[0], argv, environ)
}
