//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/helper"
)

const (
	maxSockets  = 1024 // of all processes of a child
	maxInFlight = 32   // descriptors on their way through sockets, held by no process
	maxMapped   = 8    // files without a name that are only mapped: their size is not shown
)

// held is what processes keep that has no name in any directory.
type held struct {
	bytes   int64 // of files
	sockets int
	hidden  bool // there is more than can be counted
}

type inode struct{ device, number uint64 }

// heldBy looks at the descriptors and mappings of processes. A file that was
// removed while open takes as much of the disk as any other.
func heldBy(pids []int) held {
	var h held
	seen := map[inode]bool{}
	mapped := map[uint64]bool{}
	inFlight := 0
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		table := tableOf(dir)
		files, _ := os.ReadDir(table) // gone, or the init: nothing is held
		for _, file := range files {
			path := table + "/" + file.Name()
			target, _ := os.Readlink(path)
			switch {
			case strings.HasPrefix(target, "socket:"):
				h.sockets++
				inFlight += onTheWay(table + "info/" + file.Name())
			case strings.HasSuffix(target, " (deleted)"):
				var stat unix.Stat_t
				if unix.Stat(path, &stat) != nil || stat.Nlink > 0 || stat.Mode&unix.S_IFMT != unix.S_IFREG {
					continue
				}
				if at := (inode{uint64(stat.Dev), stat.Ino}); !seen[at] {
					seen[at] = true
					h.bytes += stat.Blocks * 512
				}
			}
		}
		removed(dir+"/maps", privateDevice(dir), mapped)
	}
	for at := range seen {
		delete(mapped, at.number)
	}
	h.hidden = inFlight > maxInFlight || len(mapped) > maxMapped
	return h
}

// tableOf is where the descriptors of a process are shown: with its first
// thread, or, where that has ended, with any other.
func tableOf(dir string) string {
	tasks, _ := os.ReadDir(dir + "/task")
	for _, task := range tasks {
		table := dir + "/task/" + task.Name() + "/fd"
		if _, err := os.Readlink(dir + "/task/" + task.Name() + "/cwd"); err == nil { // it has not ended
			return table
		}
	}
	return dir + "/fd"
}

// onTheWay is how many descriptors wait in a socket.
func onTheWay(path string) int {
	info, _ := os.ReadFile(path) // gone: none
	_, rest, found := bytes.Cut(info, []byte("scm_fds:"))
	if fields := bytes.Fields(rest); found && len(fields) > 0 {
		n, _ := strconv.Atoi(string(fields[0]))
		return n
	}
	return 0
}

// privateDevice is the device of the private directory, as mappings name it.
func privateDevice(dir string) string {
	mounts, _ := os.ReadFile(dir + "/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == helper.PrivateDir {
			return fields[2]
		}
	}
	return ""
}

// removed collects the numbers of files of a device that are mapped and have
// no name.
func removed(path, device string, into map[uint64]bool) {
	maps, _ := os.ReadFile(path)
	for line := range bytes.Lines(maps) {
		if !bytes.HasSuffix(bytes.TrimRight(line, "\n"), []byte(" (deleted)")) {
			continue
		}
		fields := bytes.Fields(line)
		if len(fields) < 6 || !sameDevice(string(fields[3]), device) {
			continue
		}
		if n, err := strconv.ParseUint(string(fields[4]), 10, 64); err == nil {
			into[n] = true
		}
	}
}

// sameDevice compares the hexadecimal form of maps with the decimal one of
// mountinfo.
func sameDevice(hex, decimal string) bool {
	number := func(text string, base int) (major, minor uint64, ok bool) {
		a, b, found := strings.Cut(text, ":")
		major, err1 := strconv.ParseUint(a, base, 32)
		minor, err2 := strconv.ParseUint(b, base, 32)
		return major, minor, found && err1 == nil && err2 == nil
	}
	a, b, ok1 := number(hex, 16)
	c, d, ok2 := number(decimal, 10)
	return ok1 && ok2 && a == c && b == d
}
