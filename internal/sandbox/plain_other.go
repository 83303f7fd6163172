//go:build !unix

package sandbox

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// There is no polite signal here; closing the input was the request.
func terminateGroup(p *os.Process) { _ = p.Kill() }
func killGroup(p *os.Process)      { _ = p.Kill() }

func signalOf(*os.ProcessState) syscall.Signal { return 0 }
