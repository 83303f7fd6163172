//go:build !unix

package lane

import "syscall"

// Supported says that this system lets us look for hang-ups without reading.
const Supported = false

type look struct{}

func (l *look) hungUp(syscall.RawConn) bool { return false }
