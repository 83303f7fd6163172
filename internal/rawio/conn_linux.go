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
	ask asking
}

// op is one direction. Its function is made once, since a closure per call
// would be an allocation.
type op struct {
	mu   sync.Mutex
	p    []byte
	more [][]byte // to write after p
	vec  [2]syscall.Iovec
	done int
	err  syscall.Errno
	run  func(fd uintptr) bool // reports that there is nothing to wait for
}

// asking is how far an Ask has come.
type asking struct {
	looked bool
	stale  bool
	one    [1]byte
	run    func(fd uintptr) bool
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
	r.in.run, r.out.run, r.ask.run = r.in.read, r.out.write, r.lookAndWrite
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
	o.begin(p, nil)
	n, err := o.end(c.raw.Read(o.run))
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
	o.begin(p, nil)
	n, err := o.end(c.raw.Write(o.run))
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// WriteBuffers writes parts one after the other, with as few calls as it can, and
// uses them up. (net.Buffers finds net's own way, past Write.)
func (c *Conn) WriteBuffers(parts *net.Buffers) (int64, error) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(nil, *parts)
	*parts = nil
	n, err := o.end(c.raw.Write(o.run))
	if err != nil {
		return int64(n), c.failed("write", err)
	}
	return int64(n), nil
}

// Ask writes p and what follows it to a connection on which nothing is under
// way, and waits until there is something to read. Where there is before, the
// end included, it writes nothing and returns ErrStale. What ends the wait is
// the next Read's to say. Nobody may read or write beside it.
//
// A Read after a Write comes back empty and waits, as the answer takes its time.
// This is that empty read, made before the write, where it tells that the
// connection lives. No wake-up is lost by it: as in every Read, the poller is
// armed, then nothing is found, and all that comes from then on, during the
// write too, ends the wait.
func (c *Conn) Ask(p []byte, more ...[]byte) (int, error) {
	o, a := &c.out, &c.ask
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begin(p, more)
	a.looked, a.stale = false, false
	err := c.raw.Read(a.run)
	switch {
	case a.stale:
		o.end(nil)
		return 0, ErrStale
	case !a.looked: // closed, or past a deadline
	case len(o.p) > 0 && o.err == 0:
		err = c.raw.Write(o.run)
	default:
		err = nil
	}
	n, err := o.end(err)
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// lookAndWrite does so, and once it was woken nothing. It reports true when the
// answer is not yet, or no more, to be waited for.
func (c *Conn) lookAndWrite(fd uintptr) bool {
	o, a := &c.out, &c.ask
	if a.looked {
		return true
	}
	a.looked = true
	if _, err := Peek(fd, a.one[:]); err != syscall.EAGAIN {
		a.stale = true
		return true
	}
	return !o.write(fd) || o.err != 0
}

func (o *op) begin(p []byte, more [][]byte) { o.p, o.more, o.done, o.err = p, more, 0, 0 }

// end says how it went; err is why waiting failed.
func (o *op) end(err error) (int, error) {
	o.p, o.more = nil, nil
	if err == nil && o.err != 0 {
		err = o.err
	}
	return o.done, err
}

// read reads once.
func (o *op) read(fd uintptr) bool {
	n, err := call(syscall.SYS_READ, fd, unsafe.Pointer(unsafe.SliceData(o.p)), min(len(o.p), most))
	if err == syscall.EAGAIN {
		return false
	}
	o.done, o.err = n, err
	return true
}

// write writes what is left.
func (o *op) write(fd uintptr) bool {
	for o.pass(0); len(o.p) > 0 && o.err == 0; {
		n, err := o.once(fd)
		if err == syscall.EAGAIN {
			return false
		}
		o.err = err
		o.pass(n)
	}
	return true
}

// once writes p, and what follows it in the same call when that has room.
func (o *op) once(fd uintptr) (n int, err syscall.Errno) {
	first := min(len(o.p), most)
	if len(o.more) == 0 || first == most {
		return call(syscall.SYS_WRITE, fd, unsafe.Pointer(unsafe.SliceData(o.p)), first)
	}
	next := o.more[0]
	o.vec[0].Base, o.vec[1].Base = unsafe.SliceData(o.p), unsafe.SliceData(next)
	o.vec[0].SetLen(first)
	o.vec[1].SetLen(min(len(next), most-first))
	n, err = call(syscall.SYS_WRITEV, fd, unsafe.Pointer(&o.vec), len(o.vec))
	o.vec[0].Base, o.vec[1].Base = nil, nil
	return n, err
}

// pass goes past n bytes that were written, and past empty parts.
func (o *op) pass(n int) {
	o.done += n
	for n >= len(o.p) && len(o.more) > 0 {
		n -= len(o.p)
		o.p, o.more = o.more[0], o.more[1:]
	}
	o.p = o.p[n:]
}

// call is a read or a write of n bytes or parts, again when a signal came
// between.
func call(number, fd uintptr, p unsafe.Pointer, n int) (int, syscall.Errno) {
	for {
		done, _, err := syscall.RawSyscall(number, fd, uintptr(p), uintptr(n))
		switch err {
		case 0:
			return int(done), 0
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
