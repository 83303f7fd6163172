package rawio

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// most is the largest piece for one call: copying it takes the kernel some
// tens of microseconds, during which this thread's processor serves nobody.
const most = 256 << 10

// Conn is a TCP connection with raw reads and writes. Its errors are as
// net.TCPConn's: io.EOF, or a *net.OpError. Reads may go on beside writes; two
// of a kind wait for each other.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn
	in  op
	out op
}

// op is one direction. Its function is made once, since a closure per call
// would be an allocation.
type op struct {
	mu   sync.Mutex
	p    []byte
	done int
	err  syscall.Errno
	run  func(fd uintptr) bool // reports that there is nothing to wait for
}

// TCP returns c with raw reads and writes when it is a TCP connection of
// net's, and c itself otherwise. Under the race detector it is always c: that
// learns from the usual calls that what was written before a message was sent
// comes before what reads it.
func TCP(c net.Conn) net.Conn {
	if raced {
		return c
	}
	return wrap(c)
}

func wrap(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	r := &Conn{TCPConn: tcp, raw: raw}
	r.in.run, r.out.run = r.in.read, r.out.write
	return r
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o := &c.in
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.do(c.raw.Read, p)
	if err != nil {
		return 0, c.failed("read", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.do(c.raw.Write, p)
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// do calls until it has not to wait, or waiting fails.
func (o *op) do(wait func(func(uintptr) bool) error, p []byte) (int, error) {
	o.p, o.done, o.err = p, 0, 0
	err := wait(o.run)
	o.p = nil
	if err == nil && o.err != 0 {
		err = o.err
	}
	return o.done, err
}

// read reads once.
func (o *op) read(fd uintptr) bool {
	n, err := call(syscall.SYS_READ, fd, o.p)
	if err == syscall.EAGAIN {
		return false
	}
	o.done, o.err = n, err
	return true
}

// write writes what is left.
func (o *op) write(fd uintptr) bool {
	for o.done < len(o.p) && o.err == 0 {
		n, err := call(syscall.SYS_WRITE, fd, o.p[o.done:])
		if err == syscall.EAGAIN {
			return false
		}
		o.done, o.err = o.done+n, err
	}
	return true
}

// call is a read or a write, again when a signal came between; p is not empty.
func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(min(len(p), most)))
		switch err {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}

// failed makes net's error of one of ours. What RawConn returns is one already
// and says "raw-read" where people expect "read".
func (c *Conn) failed(name string, err error) error {
	switch e := err.(type) { //nolint:errorlint // neither is ever wrapped
	case *net.OpError:
		err = e.Err
	case syscall.Errno:
		err = os.NewSyscallError(name, e)
	}
	return &net.OpError{Op: name, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Peek looks at what a socket holds without waiting and without taking it: how
// many bytes fit into p, none at the end, EAGAIN when a read would wait.
func Peek(fd uintptr, p []byte) (int, error) {
	n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}
