//go:build unix && !linux

package rawio

import "syscall"

// Peek looks at what a socket holds without waiting and without taking it: how
// many bytes fit into p, none at the end, EAGAIN when a read would wait.
func Peek(fd uintptr, p []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return max(n, 0), err
}
