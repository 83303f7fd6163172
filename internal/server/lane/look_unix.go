//go:build unix

package lane

import (
	"syscall"

	"headgate/internal/rawio"
)

// Supported says that this system lets us look for hang-ups without reading.
const Supported = true

// look asks the kernel about a socket, without waiting and without taking
// bytes from it. Its function is made once per connection, since a closure per
// look would be an allocation.
type look struct {
	one  [1]byte
	n    int
	err  error
	peek func(fd uintptr)
}

// hungUp reports that the client has closed its side, or reset the
// connection, and sent nothing before it that was not read yet.
func (l *look) hungUp(raw syscall.RawConn) bool {
	if raw == nil {
		return false
	}
	if l.peek == nil {
		l.peek = func(fd uintptr) {
			l.n, l.err = rawio.Peek(fd, l.one[:])
		}
	}
	// Control and not Read: the handler may be waiting for the body, and a
	// second reader would wait for it.
	if raw.Control(l.peek) != nil {
		return true
	}
	switch l.err {
	case nil:
		return l.n == 0
	case syscall.EAGAIN, syscall.EINTR:
		return false
	}
	return true
}
