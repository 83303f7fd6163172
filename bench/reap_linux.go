package main

import "syscall"

// endWithParent has the kernel end a child whose parent thread died: nothing
// outlives a bench that was killed. nginx takes its workers along only when it
// is asked to end.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGTERM }
