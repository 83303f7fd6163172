//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"headgate/internal/sandbox/egress"
	"headgate/internal/sandbox/helper"
)

type host = helper.Host

func lookAtHost() host { return helper.Look() }

// walled is a child behind walls.
type walled struct {
	*helper.Init
	host   host
	limits Limits
	gate   *egress.Gate  // nil without a network
	exited chan struct{} // closed when nothing is left
}

func (l *Launcher) startWalled(ctx context.Context, spec Spec) (*Process, error) {
	rules, err := egress.Parse(spec.Network.AllowHosts)
	if err != nil {
		return nil, ErrSpec.Saying("%s", err)
	}
	plan, err := helper.New(childOf(spec, rules), l.host)
	if path := (*helper.PathError)(nil); errors.As(err, &path) {
		return nil, ErrSpec.Saying("%s", path.Text).Because(err)
	}
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	if uid, ok := plan.UID(); ok {
		if err := giveTo(spec.WorkDir, uid); err != nil {
			return nil, ErrStart.Saying("The work directory could not be given to the child.").Because(err)
		}
	}
	ends, err := newPipes()
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	init, err := plan.Launch(ctx, ends.child)
	ends.closeChild()
	if err != nil {
		ends.close()
		return nil, startFault(err)
	}
	w := &walled{Init: init, host: l.host, limits: spec.Limits, exited: make(chan struct{})}
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

func childOf(spec Spec, rules *egress.Rules) helper.Child {
	env := map[string]string{"HOME": helper.PrivateDir, "TMPDIR": helper.TempDir, "PATH": "/usr/local/bin:/usr/bin:/bin"}
	if !rules.Empty() {
		egress.Env(env)
	}
	l := spec.Limits
	return helper.Child{
		Argv: spec.Argv, Env: spec.environ(env), WorkDir: spec.WorkDir, ReadOnly: spec.ReadOnly, ReadWrite: spec.ReadWrite, Rules: rules,
		Data: l.Data, FileSize: l.FileSize, Temp: l.Temp, Files: l.Files, Processes: l.Processes, CPU: l.CPU,
	}
}

func startFault(err error) error {
	var step *helper.StepError
	switch {
	case errors.As(err, &step):
		return ErrStart.Saying("The server's program could not be started: %s.", err).With("step", step.Step).Because(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ErrStart.Saying("The server's program did not start in time.").Because(err)
	}
	return ErrStart.Because(err)
}

// giveTo makes the child's uid own the directory and all in it, when it does
// not yet: a new directory, or one restored from elsewhere. It never leaves
// the directory, whatever links lie in it.
func giveTo(dir string, uid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == uid {
		return nil
	}
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		return root.Lchown(path, uid, uid)
	})
	if err != nil {
		return err
	}
	return root.Chown(".", uid, uid) // last: it says that all was done
}

// open gives the child's listening sockets to its gate.
func (w *walled) open() error {
	for i, f := range w.Listeners {
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

func (w *walled) terminate() { w.Terminate() }
func (w *walled) kill()      { w.Kill() }
func (w *walled) pid() int   { return w.PID() }

func (w *walled) wait() (code int, signal syscall.Signal, reason Reason) {
	status, told := w.Wait()
	close(w.exited)
	if w.gate != nil {
		w.gate.Close()
	}
	switch {
	case !told:
		return -1, 0, Killed
	case status.Signaled():
		return -1, status.Signal(), Exited
	}
	return status.ExitStatus(), 0, Exited
}
