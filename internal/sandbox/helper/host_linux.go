//go:build linux && (amd64 || arm64)

package helper

import (
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Host is what this kernel and this user can give. Namespaces are not in it:
// every level but None needs them, and only trying tells.
type Host struct {
	Landlock int  // ABI, 0 without
	Seccomp  bool // filters work
	lastCap  int
	root     bool    // we are uid 0 and can give children another uid
	uids     idRange // where those uids lie
}

type idRange struct{ from, count uint64 }

// Uids of children when Headgate runs as root: above what distributions and
// systemd hand out, below 2^31, which some software cannot exceed.
var highUIDs = idRange{0x70000000, 1 << 20}

// Look asks the kernel what it can give.
func Look() Host {
	h := Host{lastCap: 63}
	if abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno == 0 {
		h.Landlock = int(abi)
	}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	h.Seccomp = errno == 0
	if text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			h.lastCap = n
		}
	}
	if os.Geteuid() == 0 {
		text, _ := os.ReadFile("/proc/self/uid_map") // unreadable: as if nothing else were mapped
		h.uids = usableUIDs(string(text))
		h.root = h.uids.count > 0
	}
	return h
}

// usableUIDs picks uids for children out of the map of our own namespace. A
// container's root may have few of them, or none but itself.
func usableUIDs(uidMap string) idRange {
	var best idRange
	for line := range strings.Lines(uidMap) {
		var n [3]uint64
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		for i, f := range fields {
			n[i], _ = strconv.ParseUint(f, 10, 64) // zero is refused below
		}
		from, end := n[0], n[0]+n[2]
		if from <= highUIDs.from && end >= highUIDs.from+highUIDs.count {
			return highUIDs
		}
		if from == 0 {
			from = 1 // never uid 0
		}
		if end > from && end-from > best.count {
			count := min((end-from+1)/2, highUIDs.count) // the upper half
			best = idRange{end - count, count}
		}
	}
	return best
}

// uidFor is the host uid of the child that owns the directory. It depends on
// nothing else, so files written yesterday still belong to the child.
func (h Host) uidFor(workDir string) int {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(workDir)) // a hash does not fail
	return int(h.uids.from + hash.Sum64()%h.uids.count)
}
