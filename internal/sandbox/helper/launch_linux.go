//go:build linux && (amd64 || arm64)

package helper

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// LaunchTimeout bounds the raising of walls, which takes milliseconds.
const LaunchTimeout = 10 * time.Second

// Init is the running init of a child, itself a child of this process.
type Init struct {
	// Listeners are sockets inside: the proxy's, then one per port of the rules.
	Listeners []*os.File

	process *os.Process
	control *control
}

// Launch runs the plan with the child's three streams, until the child's
// program is executed. A failed step is a StepError, and leaves nothing.
func (p *Plan) Launch(ctx context.Context, streams [3]*os.File) (*Init, error) {
	image, err := p.Memory("headgate-init")
	if err != nil {
		return nil, err
	}
	defer image.Close()
	control, theirs, err := newControl()
	if err != nil {
		return nil, err
	}
	// The image is the descriptor after the control socket; the helper closes it.
	helper, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(controlFD+1), []string{"headgate-init"}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{streams[0], streams[1], streams[2], theirs, image},
	})
	theirs.Close()
	if err != nil {
		control.close()
		return nil, err
	}
	i := &Init{control: control}
	ctx, cancel := context.WithTimeout(ctx, LaunchTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = helper.Kill() // it may be gone already
		control.close()
	})
	_, err = helper.Wait() // it goes as soon as the init is there
	if err == nil {
		err = p.follow(i)
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		i.Kill()
		i.reap()
		return nil, err
	}
	return i, nil
}

// follow reads what the helper says until the child runs or a step failed.
func (p *Plan) follow(i *Init) error {
	var failure error
	for {
		m, err := i.control.read()
		switch {
		case err != nil && failure != nil:
			return failure
		case err != nil:
			return fmt.Errorf("the helper went silent: %w", err)
		}
		switch m.kind {
		case saidInit:
			if i.process, err = os.FindProcess(m.sender); err != nil {
				return err
			}
		case saidListen:
			i.Listeners = m.files
		case saidFault:
			failure = &StepError{p.StepName(m.a), syscall.Errno(m.b)}
		case saidStarted:
			return failure // the child's own may have come first
		}
	}
}

// PID is the init's process id.
func (i *Init) PID() int { return i.process.Pid }

// Child finds the child by its number inside, while it runs.
func (i *Init) Child() (pid int, ok bool) {
	init := strconv.Itoa(i.process.Pid)
	children, _ := os.ReadFile("/proc/" + init + "/task/" + init + "/children") // gone: no children
	for field := range strings.FieldsSeq(string(children)) {
		status, _ := os.ReadFile("/proc/" + field + "/status")
		_, rest, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ := strings.Cut(rest, "\n")
		if inside := strings.Fields(line); len(inside) > 0 && inside[len(inside)-1] == strconv.Itoa(ChildPID) {
			pid, err := strconv.Atoi(field)
			return pid, err == nil
		}
	}
	return 0, false
}

// Terminate asks the init to pass SIGTERM on. If it is gone, so is the child.
func (i *Init) Terminate() { i.control.signal(unix.SIGTERM) }

// Kill ends the init, and with it the kernel ends everything inside.
func (i *Init) Kill() {
	i.control.close()
	if i.process != nil {
		_ = i.process.Kill() // it may be gone already
	}
}

// Wait returns when the init is reaped, which the kernel allows only when
// every other process inside is gone. It returns the child's wait status; told
// is false when the init ended without one. Call it once.
func (i *Init) Wait() (status syscall.WaitStatus, told bool) {
	for {
		m, err := i.control.read()
		if err != nil {
			break
		}
		if m.kind == saidExit {
			status, told = syscall.WaitStatus(m.a), true
		}
	}
	i.reap()
	i.control.close()
	return status, told
}

func (i *Init) reap() {
	if i.process != nil {
		_, _ = i.process.Wait() // nobody else waits for it
	}
}
