//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	watchEvery = time.Second
	idleRounds = 10 // how many of them an idle child's disk is not looked at
	// What /proc counts processor time in, on every Linux.
	ticksPerSecond = 100

	watchedPIDs  = 1024   // more than any Limits.Processes that makes sense
	watchedFiles = 50_000 // a directory with more counts as too large
)

// watch bounds what the kernel bounds only per process or not at all: memory
// of all processes together, disk, and what a program can hide of either.
func (w *walled) watch(p *Process) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var spent int64
	for round := 1; ; round++ {
		select {
		case <-w.exited:
			return
		case <-tick.C:
		}
		used := usageOf(w.PID())
		p.resident.Store(used.memory)
		p.spent.Store(used.ticks * int64(time.Second/ticksPerSecond))
		if used.memory > p.limits.Memory {
			p.end(Memory, fmt.Sprintf("used %d of %d MiB", used.memory/mib, p.limits.Memory/mib))
			return
		}
		if used.ticks == spent && round%idleRounds != 1 {
			continue // it hardly ran, so it hardly wrote
		}
		spent = used.ticks
		held := heldBy(used.pids)
		if held.sockets > maxSockets {
			p.end(Memory, fmt.Sprintf("has more than %d sockets, whose buffers are memory", maxSockets))
			return
		}
		// Files of /tmp without a name are bounded by Temp, and counted here, too.
		if size := sizeOf(p.workDir, p.limits.Disk); size > p.limits.Disk || size+held.bytes > p.limits.Disk+p.limits.Temp || held.hidden {
			p.end(Disk, fmt.Sprintf("its work directory holds more than %d MiB, or more than can be counted", p.limits.Disk/mib))
			return
		}
	}
}

type usage struct {
	memory int64 // bytes, pages shared with files left out
	ticks  int64 // processor time
	pids   []int // of all processes
}

// usageOf adds up the processes below the init. The tree changes meanwhile;
// what is gone is not counted.
func usageOf(init int) usage {
	var sum usage
	queue := []int{init}
	for seen := 0; seen < len(queue) && seen < watchedPIDs; seen++ {
		dir := "/proc/" + strconv.Itoa(queue[seen])
		tasks, _ := os.ReadDir(dir + "/task") // gone: no children to find
		sum.memory += memoryOf(dir, tasks)
		sum.ticks += ticksOf(dir)
		for _, task := range tasks {
			children, _ := os.ReadFile(dir + "/task/" + task.Name() + "/children")
			for field := range strings.FieldsSeq(string(children)) {
				if pid, err := strconv.Atoi(field); err == nil {
					queue = append(queue, pid)
				}
			}
		}
	}
	sum.pids = queue
	return sum
}

// memoryOf reads a process's memory. One whose first thread has ended shows it
// with the others only.
func memoryOf(dir string, tasks []fs.DirEntry) int64 {
	status, err := os.ReadFile(dir + "/status")
	for i := 0; err == nil && i < len(tasks) && !bytes.Contains(status, []byte("\nRssAnon:")); i++ {
		if other, err := os.ReadFile(dir + "/task/" + tasks[i].Name() + "/status"); err == nil {
			status = other
		}
	}
	return kilobytes(status, "RssAnon:") + kilobytes(status, "RssShmem:")
}

func kilobytes(status []byte, name string) int64 {
	_, rest, found := bytes.Cut(status, []byte("\n"+name))
	if !found {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	return n << 10
}

// ticksOf reads user, system and reaped children's time.
func ticksOf(dir string) int64 {
	stat, _ := os.ReadFile(dir + "/stat")
	_, rest, found := bytes.Cut(stat, []byte(") ")) // the name before may hold anything, even ") "
	fields := bytes.Fields(rest)
	if !found || len(fields) < 15 {
		return 0
	}
	var sum int64
	for _, field := range fields[11:15] {
		n, _ := strconv.ParseInt(string(field), 10, 64)
		sum += n
	}
	return sum
}

// sizeOf adds up the files below a directory until the limit is passed.
func sizeOf(dir string, limit int64) int64 {
	var sum int64
	files := 0
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			sum = limit + 1 // hidden below a path too long or shut: not to be counted on
			return fs.SkipAll
		}
		if err != nil {
			return nil // it went away meanwhile
		}
		if files++; files > watchedFiles {
			sum = limit + 1
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += allocated(info)
		}
		if sum > limit {
			return fs.SkipAll
		}
		return nil
	})
	return sum
}

// allocated is what a file takes on disk: a sparse one less than its size.
func allocated(info fs.FileInfo) int64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512
	}
	return info.Size()
}
