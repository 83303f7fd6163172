//go:build linux && (amd64 || arm64)

package helper

import (
	"time"

	"headgate/internal/sandbox/egress"
)

// Places inside.
const (
	PrivateDir = "/private" // the work directory
	TempDir    = "/tmp"     // in memory, also seen as /dev/shm
)

// Child describes what to start. The caller has checked it.
type Child struct {
	Argv      []string
	Env       []string
	WorkDir   string
	ReadOnly  []string
	ReadWrite []string
	Rules     *egress.Rules // what the way out leads to; empty: there is none

	Data, FileSize, Temp, Files, Processes int64
	CPU                                    time.Duration
}

// PathError says why a path cannot be shown to a child.
type PathError struct {
	Text string // for people
	Err  error
}

func (e *PathError) Error() string { return e.Text }

// Unwrap returns the cause, or nil.
func (e *PathError) Unwrap() error { return e.Err }

// StepError says which step of a plan failed.
type StepError struct {
	Step string
	Err  error // the kernel's answer
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap returns the kernel's answer.
func (e *StepError) Unwrap() error { return e.Err }
