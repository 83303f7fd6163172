//go:build unix

package server

import "golang.org/x/sys/unix"

// defaultConnections leaves half of the descriptors to upstreams, files and
// children.
func defaultConnections() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return fallbackConnections
	}
	return int(min(uint64(lim.Cur)/2, 100_000)) //nolint:unconvert // Cur is signed on some systems
}

const fallbackConnections = 512
