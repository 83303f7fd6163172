package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// plain is a child without walls, in a process group of its own where the
// system has them.
type plain struct {
	cmd  *exec.Cmd
	ends *pipes
}

func (l *Launcher) startPlain(_ context.Context, spec Spec) (*Process, error) {
	ends, err := newPipes()
	if err != nil {
		return nil, ErrStart.Because(err)
	}
	cmd := exec.Command(spec.Argv[0], spec.Argv[1:]...)
	cmd.Dir = spec.WorkDir
	cmd.Env = spec.environ(map[string]string{"HOME": spec.WorkDir, "TMPDIR": os.TempDir(), "PATH": os.Getenv("PATH")})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = ends.child[0], ends.child[1], ends.child[2]
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		ends.close()
		return nil, ErrStart.Saying("The server's program could not be executed.").Because(err)
	}
	ends.closeChild()
	return newProcess(spec, &plain{cmd, ends}, ends, l.config.Now), nil
}

func (p *plain) terminate() { terminateGroup(p.cmd.Process) }
func (p *plain) kill()      { killGroup(p.cmd.Process) }
func (p *plain) pid() int   { return p.cmd.Process.Pid }

func (p *plain) wait() (int, syscall.Signal, Reason) {
	var failed *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &failed) {
		return -1, 0, Exited
	}
	killGroup(p.cmd.Process) // what the program left behind in its group
	// A descendant that left the group may hold the pipes for ever.
	end := time.Now().Add(time.Second)
	_ = p.ends.stdout.SetReadDeadline(end)
	_ = p.ends.stderr.SetReadDeadline(end)
	return p.cmd.ProcessState.ExitCode(), signalOf(p.cmd.ProcessState), Exited
}

func (p *plain) watch(*Process) {}

func (p *plain) attest() Report {
	return reportOf([]Wall{{Name: WallStart, Detail: "started without walls, as the level none asks"}})
}
