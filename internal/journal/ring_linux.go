package journal

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring syncs without a thread that waits: the kernel's asynchronous I/O
// (io_submit(2)) does the work and tells an eventfd, for which Go's poller waits
// as for a socket. A thread in fdatasync keeps Go's scheduler busy with finding
// out whether it should start another (docs/decisions/0020).
type ring struct {
	context uintptr
	told    *os.File // the eventfd
	wait    syscall.RawConn
	command command
	result  result
	count   uint64
	errno   syscall.Errno
	ready   func(fd uintptr) bool // made once: a closure per frame would be an allocation
}

// command is struct iocb of linux/aio_abi.h. What has no name is of reads and
// writes, and 0.
type command struct {
	_              [2]uint64
	opcode         uint16
	_              int16
	fd             uint32
	_              [4]uint64
	flags, eventfd uint32
}

// result is struct io_event of linux/aio_abi.h; code is 0 or a negated errno.
type result struct {
	_, _ uint64
	code int64
	_    int64
}

const ( // linux/aio_abi.h
	commandDatasync = 3
	flagEventfd     = 1
)

// newRing returns nil where there is no asynchronous I/O (not every container
// allows it), and where the place in a file is more than one argument.
func newRing() *ring {
	r := &ring{}
	if unsafe.Sizeof(r.context) < 8 {
		return nil
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&r.context)), 0); e != 0 {
		return nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		r.told = os.NewFile(uintptr(fd), "journal")
		r.wait, err = r.told.SyscallConn()
	}
	if err != nil {
		_ = r.Close()
		return nil
	}
	r.command = command{opcode: commandDatasync, flags: flagEventfd, eventfd: uint32(fd)}
	r.ready = r.read
	return r
}

// errUnheard means that the kernel did not take a sync, or that its end was not
// heard of. The ring must not be used again: what it says next could be of that
// sync, and be taken for the end of another.
var errUnheard = errors.New("no asynchronous sync of this file")

// write writes b at a place and returns when it is on disk.
//
// The calls are raw ones: none waits for the disk. The write goes into memory;
// where that is full of what other programs have not written yet, the kernel
// makes the writer wait, for a fifth of a second at most.
func (r *ring) write(f *os.File, b []byte, at int64) error {
	fd := f.Fd()
	for len(b) > 0 {
		n, _, e := syscall.RawSyscall6(unix.SYS_PWRITE64, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(at), 0, 0)
		switch {
		case e == 0 && n == 0:
			return io.ErrShortWrite
		case e == 0:
			b, at = b[n:], at+int64(n)
		case e != syscall.EINTR:
			return os.NewSyscallError("write", e)
		}
	}
	r.command.fd = uint32(fd)
	command := &r.command
	if n, _, e := syscall.RawSyscall(unix.SYS_IO_SUBMIT, r.context, 1, uintptr(unsafe.Pointer(&command))); e != 0 || n != 1 {
		return errUnheard
	}
	if err := r.wait.Read(r.ready); err != nil || r.errno != 0 {
		return errUnheard
	}
	if n, _, e := syscall.RawSyscall6(unix.SYS_IO_GETEVENTS, r.context, 1, 1, uintptr(unsafe.Pointer(&r.result)), 0, 0); e != 0 || n != 1 {
		return errUnheard
	}
	if r.result.code < 0 {
		return os.NewSyscallError("fdatasync", syscall.Errno(-r.result.code))
	}
	return nil
}

// read takes what the eventfd has counted, and reports false when that is
// nothing yet.
func (r *ring) read(fd uintptr) bool {
	_, _, r.errno = syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&r.count)), unsafe.Sizeof(r.count))
	return r.errno != syscall.EAGAIN
}

// Close waits for what is under way.
func (r *ring) Close() error {
	_, _, _ = syscall.Syscall(unix.SYS_IO_DESTROY, r.context, 0, 0)
	if r.told == nil {
		return nil
	}
	return r.told.Close()
}
