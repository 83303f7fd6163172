package app

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// trim takes the program's own code and constants out of this process's
// resident set: most of what was touched so far only the start needs. Nothing
// is lost, since the pages are those of the file, never written to, and stay
// in the page cache; what is used again is mapped again.
func trim() {
	exe, err := os.Executable()
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// 00400000-01a3f000 r-xp 00000000 fe:00 1234  /usr/bin/headgate
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 || fields[5] != exe || fields[1] != "r-xp" && fields[1] != "r--p" {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && end > start {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(start), uintptr(end-start), syscall.MADV_DONTNEED)
		}
	}
}
