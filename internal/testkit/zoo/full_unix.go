//go:build unix

package zoo

import (
	"net"
	"syscall"
	"time"
)

// listenFull opens a door whose queue is full: whoever connects waits.
func (z *Zoo) listenFull() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	z.doors[full], z.all = l.Addr().String(), append(z.all, l)
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var short error
	if err := raw.Control(func(fd uintptr) { short = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	if short != nil {
		return short
	}
	for range 16 { // until one has to wait
		c, err := net.DialTimeout("tcp", z.doors[full], 50*time.Millisecond)
		if err != nil {
			return nil
		}
		z.mu.Lock()
		z.open[c] = true
		z.mu.Unlock()
	}
	return nil
}
