//go:build !unix

package db

import (
	"errors"
	"fmt"
	"os"
)

// ErrInUse means that another process has the SQLite file open.
var ErrInUse = errors.New("the data directory is in use by another headgate process; stop that one first, or choose another --data")

// lockFile opens the lock file without locking: SQLite's own locks still keep
// two writers apart there, one at a time.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	return f, nil
}
