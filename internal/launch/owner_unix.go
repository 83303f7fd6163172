//go:build unix

package launch

import (
	"io/fs"
	"os"
	"syscall"
)

// give makes a new file belong to whoever the directory it lies in belongs
// to: a child with a uid of its own, once it has run.
func give(root *os.Root, name string, dir fs.FileInfo) error {
	stat, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	return root.Lchown(name, int(stat.Uid), int(stat.Gid))
}
