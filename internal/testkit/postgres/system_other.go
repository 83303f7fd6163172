//go:build unix && !linux

package postgres

import (
	"os"
	"syscall"
)

// endWithParent does nothing here: a server whose watchdog was killed is
// stopped by the next one to start a cluster in the same place.
func endWithParent(*syscall.SysProcAttr) {}

// scratch is where a cluster that need not last lives.
func scratch() string { return os.TempDir() }
