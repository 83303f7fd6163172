//go:build !linux

package journal

import "os"

// disk writes frames.
type disk struct{}

func newDisk() disk { return disk{} }

// write writes b at a place and returns when it is on disk.
func (*disk) write(f *os.File, b []byte, at int64) error {
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return f.Sync()
}

func (*disk) Close() error { return nil }

func allocate(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == size {
		return nil
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}
