package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Reason says why a process ended.
type Reason string

// The reasons.
const (
	Exited  Reason = "exited"  // by itself
	Stopped Reason = "stopped" // by Stop or Close
	Memory  Reason = "memory"  // above Limits.Memory
	Disk    Reason = "disk"    // above Limits.Disk
	Line    Reason = "line"    // wrote a line longer than MaxLine
	Torn    Reason = "torn"    // did not read a message to its end
	Mute    Reason = "mute"    // closed its output, and stayed
	Deaf    Reason = "deaf"    // did not read its input for long, see StopFor
	Hung    Reason = "hung"    // read, and answered nothing for long, see StopFor
	Foreign Reason = "foreign" // wrote what it must not, see StopFor
	Killed  Reason = "killed"  // its init was killed from outside
)

// Exit says how a process ended.
type Exit struct {
	Reason Reason
	Code   int            // exit code, -1 after a signal or when unknown
	Signal syscall.Signal // the signal that ended it, or 0
	Detail string
	At     time.Time
}

// String says it in words.
func (e Exit) String() string {
	text := string(e.Reason)
	switch {
	case e.Signal != 0:
		text += fmt.Sprintf(" by signal %d (%s)", int(e.Signal), e.Signal)
	case e.Code >= 0:
		text += fmt.Sprintf(" with code %d", e.Code)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// How long Stop waits after each of its steps. Together with the kill they
// stay below five seconds.
const (
	closeGrace = 1500 * time.Millisecond
	termGrace  = 1500 * time.Millisecond
)

// muteGrace is how long a child that has closed its output may take to end.
const muteGrace = 2 * time.Second

// handle is what a Process needs of the system below it.
type handle interface {
	terminate()                                             // ask the program to end
	kill()                                                  // end everything at once
	wait() (code int, signal syscall.Signal, reason Reason) // until nothing is left
	watch(*Process)                                         // enforce what the kernel does not, until the end
	attest() Report
	pid() int
}

// Process is a running child. Its methods may be used from many goroutines,
// Receive from one.
type Process struct {
	name    string
	limits  Limits
	workDir string
	handle  handle
	stdin   *os.File
	stdout  *os.File
	stderr  *os.File
	writer  chan struct{} // a mutex that a context can give up on
	lines   *bufio.Reader
	logs    *ring
	now     func() time.Time
	took    time.Duration

	resident atomic.Int64 // bytes, when it was looked at last
	spent    atomic.Int64 // processor time, in nanoseconds, then

	mu    sync.Mutex
	cause *Exit // the first reason we ended it for
	exit  Exit
	done  chan struct{}
}

// newProcess takes over the parent's ends of the pipes.
func newProcess(spec Spec, h handle, ends *pipes, now func() time.Time) *Process {
	return &Process{
		name: spec.Name, limits: spec.Limits, workDir: spec.WorkDir, handle: h, stdin: ends.stdin, stdout: ends.stdout, stderr: ends.stderr,
		writer: make(chan struct{}, 1), lines: bufio.NewReaderSize(ends.stdout, readAhead),
		logs: &ring{now: now}, now: now, done: make(chan struct{}),
	}
}

// begin watches the process; ended is called once, when nothing of it is left.
func (p *Process) begin(ended func(*Process)) {
	var drained sync.WaitGroup
	drained.Go(func() {
		p.logs.drain(p.stderr)
		p.stderr.Close()
	})
	go p.handle.watch(p)
	go func() {
		code, signal, reason := p.handle.wait()
		drained.Wait()
		p.mu.Lock()
		p.exit = Exit{Reason: reason, Code: code, Signal: signal, At: p.now()}
		if p.cause != nil {
			p.exit.Reason, p.exit.Detail = p.cause.Reason, p.cause.Detail
		}
		p.mu.Unlock()
		p.stdin.Close()
		ended(p)
		close(p.done)
	}()
}

// Send writes one message as a line. A child that does not read makes it wait
// until the context ends; if part of the line was written by then, the channel
// is torn and the process is ended.
func (p *Process) Send(ctx context.Context, message []byte) error {
	if bytes.IndexByte(message, '\n') >= 0 {
		return ErrLine
	}
	select {
	case p.writer <- struct{}{}:
		defer func() { <-p.writer }()
	case <-p.done:
		return p.ended()
	case <-ctx.Done():
		return ErrTornWrite.Because(ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return ErrTornWrite.Because(err)
	}
	n, err := p.write(ctx, append(append(make([]byte, 0, len(message)+1), message...), '\n'))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if n > 0 {
			p.end(Torn, "a message was not read to its end")
		}
		return ErrTornWrite.Because(ctx.Err())
	default: // a closed pipe: the child went, or closed its input
		return ErrExited.Because(err)
	}
}

// Write writes whole lines for the only one who writes, and says how many bytes
// the child was given. It waits for a child that does not read, until Stop.
func (p *Process) Write(lines []byte) (n int, err error) {
	if n, err = p.stdin.Write(lines); err != nil {
		err = ErrExited.Because(err) // the child went, or closed its input
	}
	return n, err
}

// write writes until the context ends.
func (p *Process) write(ctx context.Context, line []byte) (int, error) {
	if ctx.Done() == nil {
		return p.stdin.Write(line)
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = p.stdin.SetWriteDeadline(time.Unix(1, 0)) // a closed file needs none
		close(fired)
	})
	n, err := p.stdin.Write(line)
	if !stop() {
		<-fired
		_ = p.stdin.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// Receive returns the next line the child wrote, in memory of its own. After
// the end it returns ErrExited; a line above MaxLine ends the process.
func (p *Process) Receive() ([]byte, error) {
	line, err := readLine(p.lines, MaxLine)
	switch {
	case err == nil:
		return line, nil
	case errors.Is(err, ErrTooLong):
		p.end(Line, "a line was longer than 16 MiB")
		_, _ = io.Copy(io.Discard, p.stdout) // until the kill is through
		p.stdout.Close()
		return nil, err
	}
	if !p.waits(context.Background(), muteGrace) {
		p.end(Mute, "it closed its output, so it could not answer any more")
		<-p.done
	}
	p.stdout.Close()
	return nil, p.ended()
}

func (p *Process) ended() error {
	return ErrExited.Saying("The server's program has ended (%s).", p.Exit())
}

// CloseInput tells the child that no more will come.
func (p *Process) CloseInput() { p.stdin.Close() }

// Done is closed when nothing of the process is left.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the process ended; it is meaningful after Done.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Logs returns the last lines of standard error, oldest first.
func (p *Process) Logs() []LogLine { return p.logs.list() }

// Took says how long the walls and the exec took.
func (p *Process) Took() time.Duration { return p.took }

// Resident says how much memory the child's processes take together, without
// pages they share with files: as of the last look, one a second.
func (p *Process) Resident() int64 { return p.resident.Load() }

// Spent says how much processor time its processes took, as of the last look.
func (p *Process) Spent() time.Duration { return time.Duration(p.spent.Load()) }

// PID is the process id of the child's init on the host.
func (p *Process) PID() int { return p.handle.pid() }

// Attest says which walls the kernel reports for the child that is running.
func (p *Process) Attest() Report { return p.handle.attest() }

// Stop ends the process: it closes the input, then asks, then kills. When it
// returns nothing is left. A context that ends early makes it kill at once.
func (p *Process) Stop(ctx context.Context) { p.StopFor(ctx, Stopped, "") }

// StopFor is Stop with another reason, for a fault that only who talks to the
// process can see.
func (p *Process) StopFor(ctx context.Context, why Reason, detail string) {
	p.note(why, detail)
	p.stdin.Close()
	defer p.stdout.Close()
	if p.waits(ctx, closeGrace) {
		return
	}
	p.handle.terminate()
	if p.waits(ctx, termGrace) {
		return
	}
	p.handle.kill()
	<-p.done
}

func (p *Process) waits(ctx context.Context, grace time.Duration) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// end kills the process for a reason.
func (p *Process) end(why Reason, detail string) {
	p.note(why, detail)
	p.handle.kill()
}

// note keeps the first reason: what follows is its consequence.
func (p *Process) note(why Reason, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = &Exit{Reason: why, Detail: detail}
	}
}
