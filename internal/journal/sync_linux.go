package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync waits for the data; the size does not change, so no metadata.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// allocate gives a file its size, with blocks behind it.
func allocate(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == size {
		return nil
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		if err := f.Truncate(size); err != nil {
			return err
		}
	}
	return f.Sync()
}
