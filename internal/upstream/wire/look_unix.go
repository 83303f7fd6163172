//go:build unix

package wire

import (
	"syscall"

	"headgate/internal/rawio"
)

// look asks the kernel about a socket without waiting. Its functions are made
// once per connection, since a closure per call would be an allocation.
type look struct {
	one  [1]byte
	into []byte
	n    int
	err  error
	peek func(fd uintptr) bool
	take func(fd uintptr) bool
}

func (l *look) prepare() {
	l.peek = func(fd uintptr) bool {
		l.n, l.err = rawio.Peek(fd, l.one[:])
		return true
	}
	l.take = func(fd uintptr) bool {
		l.n, l.err = syscall.Read(int(fd), l.into)
		return true
	}
}

// readable reports that a read would not wait: there are bytes, the end, or an error.
func (l *look) readable(raw syscall.RawConn) bool {
	if raw.Read(l.peek) != nil {
		return true
	}
	return l.err != syscall.EAGAIN && l.err != syscall.EWOULDBLOCK && l.err != syscall.EINTR
}

// read returns how many bytes it could read at once.
func (l *look) read(raw syscall.RawConn, p []byte) int {
	l.into, l.n = p, 0
	err := raw.Read(l.take)
	l.into = nil
	if err != nil || l.err != nil {
		return 0
	}
	return max(l.n, 0)
}
