//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"headgate/internal/sandbox/egress"
)

// startTimeout bounds the raising of walls, which takes milliseconds.
const startTimeout = 10 * time.Second

// walled is a child behind walls. Its init is a child of this process.
type walled struct {
	init    *os.Process
	host    host
	limits  Limits
	control *control
	exited  chan struct{} // closed when wait has reaped the init

	listeners []*os.File   // inside, for the gate
	gate      *egress.Gate // nil without a network
}

func (l *Launcher) startWalled(ctx context.Context, spec Spec) (*Process, error) {
	rules, err := egress.Parse(spec.Network.AllowHosts)
	if err != nil {
		return nil, ErrSpec.Saying("%s", err)
	}
	plan, err := newPlan(spec, l.host, rules)
	if err != nil {
		return nil, err
	}
	if plan.uid >= 0 {
		if err := giveTo(spec.WorkDir, plan.uid); err != nil {
			return nil, ErrStart.Saying("The work directory could not be given to the child.").Because(err)
		}
	}
	ends, err := newPipes()
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	w, err := plan.launch(ctx, ends)
	ends.closeChild()
	if err != nil {
		ends.close()
		return nil, err
	}
	if !rules.Empty() {
		w.gate = egress.New(rules, l.config.Dial, l.config.Log.With("server", spec.Name))
		if err := w.open(); err != nil {
			w.kill()
			w.wait()
			ends.close()
			return nil, ErrStart.Saying("The way out of the sandbox could not be opened.").Because(err)
		}
	}
	return newProcess(spec, w, ends, l.config.Now), nil
}

// giveTo makes the child's uid own the directory and all in it, when it does
// not yet: a new directory, or one restored from elsewhere.
func giveTo(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == uid {
		return nil
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		return err
	}
	return os.Lchown(dir, uid, uid) // last: it says that all was done
}

// launch runs the plan until the child's program is executed.
func (p *plan) launch(ctx context.Context, ends *pipes) (*walled, error) {
	image, err := p.Memory("headgate-init")
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	defer image.Close()
	control, theirs, err := newControl()
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	helper, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(int(image.Fd())), []string{"headgate-init"}, &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{ends.child[0], ends.child[1], ends.child[2], theirs},
	})
	theirs.Close()
	if err != nil {
		control.close()
		return nil, ErrStart.Because(err)
	}
	w := &walled{host: p.host, limits: p.spec.Limits, control: control, exited: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = helper.Kill() // it may be gone already
		control.close()
	})
	_, err = helper.Wait() // it goes as soon as the init runs
	if err == nil {
		err = p.follow(w)
	}
	if !stop() {
		err = ErrStart.Saying("The server's program did not start in time.").Because(ctx.Err())
	}
	if err == nil {
		return w, nil
	}
	w.kill()
	if w.init != nil {
		_, _ = w.init.Wait()
	}
	if errors.Is(err, ErrStart) {
		return nil, err
	}
	return nil, ErrStart.Because(err)
}

// follow reads what the helper says until the child runs or a step failed.
func (p *plan) follow(w *walled) error {
	var failure error
	for {
		m, err := w.control.read()
		switch {
		case err != nil && failure != nil:
			return failure
		case err != nil:
			return fmt.Errorf("the helper went silent: %w", err)
		}
		switch m.kind {
		case saidInit:
			if w.init, err = os.FindProcess(m.sender); err != nil {
				return err
			}
		case saidListen:
			w.listeners = m.files
		case saidFault:
			step, errno := p.StepName(m.a), syscall.Errno(m.b)
			failure = ErrStart.Saying("The server's program could not be started: %s: %s.", step, errno).With("step", step).Because(errno)
		case saidStarted:
			return failure // the child's own may have come first
		}
	}
}

// open gives the child's listening sockets to its gate.
func (w *walled) open() error {
	for i, f := range w.listeners {
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return err
		}
		if i == 0 {
			w.gate.Proxy(l)
		} else {
			w.gate.Direct(l)
		}
	}
	return nil
}

// terminate asks the init to pass SIGTERM on. If it is gone, so is the child.
func (w *walled) terminate() { w.control.signal(unix.SIGTERM) }

// kill ends the init, and with it the kernel ends the whole namespace.
func (w *walled) kill() {
	w.control.close()
	if w.init != nil {
		_ = w.init.Kill() // it may be gone already
	}
}

func (w *walled) pid() int { return w.init.Pid }

// wait returns when the init is reaped, which the kernel allows only when
// every other process of its namespace is gone.
func (w *walled) wait() (code int, signal syscall.Signal, reason Reason) {
	code, reason = -1, Killed
	for {
		m, err := w.control.read()
		if err != nil {
			break
		}
		if m.kind == saidExit {
			status := syscall.WaitStatus(m.a)
			code, signal, reason = status.ExitStatus(), 0, Exited
			if status.Signaled() {
				signal = status.Signal()
			}
		}
	}
	_, _ = w.init.Wait()
	close(w.exited)
	w.control.close()
	if w.gate != nil {
		w.gate.Close()
	}
	return code, signal, reason
}
