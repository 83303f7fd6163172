package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// disk writes frames: through a ring where there is one.
type disk struct{ ring *ring }

func newDisk() disk { return disk{newRing()} }

// write writes b at a place and returns when it is on disk; the size of the
// file does not change, so no metadata.
func (d *disk) write(f *os.File, b []byte, at int64) error {
	if d.ring != nil {
		err := d.ring.write(f, b, at)
		if !errors.Is(err, errUnheard) {
			return err
		}
		_ = d.Close() // waits for what is under way
	}
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd())))
}

func (d *disk) Close() error {
	if d.ring == nil {
		return nil
	}
	err := d.ring.Close()
	d.ring = nil
	return err
}

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
