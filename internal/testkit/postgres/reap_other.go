//go:build unix && !linux

package postgres

import "syscall"

// endWithParent does nothing here: a server whose watchdog was killed is
// stopped by the next one to start a cluster in the same place.
func endWithParent(*syscall.SysProcAttr) {}
