package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program we started, in a process group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	log  string
}

// spawn starts a program whose standard error goes to a file in dir.
func spawn(name, dir string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, log: filepath.Join(dir, name+".log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	if cmd.Stdout == nil {
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		p.out = bufio.NewReader(out)
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop ends the process and all it has started: first politely.
func (p *process) stop() {
	if p == nil || p.cmd.ProcessState != nil {
		return
	}
	group := -p.cmd.Process.Pid
	_ = p.in.Close()
	_ = syscall.Kill(group, syscall.SIGTERM)
	hard := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer hard.Stop()
	_ = p.cmd.Wait() // how it ended is of no interest
	_ = syscall.Kill(group, syscall.SIGKILL)
}

// failed adds the end of the process's log to an error.
func (p *process) failed(err error) error {
	text, _ := os.ReadFile(p.log)
	if len(text) > 1500 {
		text = text[len(text)-1500:]
	}
	return fmt.Errorf("%s: %w\n%s", p.name, err, text)
}

// self starts this program once more as one of its parts, which says its
// address in its first line.
func self(dir, part string, args ...string) (*process, string, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := spawn(part, dir, exec.Command(path, append([]string{part}, args...)...))
	if err != nil {
		return nil, "", err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, "", p.failed(err)
	}
	return p, strings.TrimSpace(line), nil
}

// pids returns the process and its children: nginx works in those.
func (p *process) pids() []int {
	own := p.cmd.Process.Pid
	list := []int{own}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", own, own))
	for child := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(child); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// cpu returns the processor time used so far, by the process and its children.
func (p *process) cpu() (total time.Duration) {
	for _, pid := range p.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, ok := strings.Cut(string(text), ") ") // the name may hold spaces
		fields := strings.Fields(rest)
		if err != nil || !ok || len(fields) < 13 {
			continue
		}
		for _, f := range fields[11:13] { // utime, stime
			ticks, _ := strconv.Atoi(f)
			total += time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
		}
	}
	return total
}

// ownCPU is the processor time this process itself has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss returns the resident memory in MiB.
func (p *process) rss() (total float64) {
	for _, pid := range p.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib, _ := strconv.Atoi(fields[0])
			total += float64(kib) / 1024
		}
	}
	return total
}

// until asks again until ready says yes, the time is up, or the process ended.
func until(ctx context.Context, wait time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
