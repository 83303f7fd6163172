package main

import "syscall"

// endWithParent has the kernel kill a child whose parent thread died: nothing
// outlives a bench that was killed.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
