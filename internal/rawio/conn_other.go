//go:build !linux

package rawio

import "net"

// TCP returns c: no raw calls are known here.
func TCP(c net.Conn) net.Conn { return c }
