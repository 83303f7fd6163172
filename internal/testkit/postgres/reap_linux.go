package postgres

import "syscall"

// endWithParent has the kernel stop the server when its watchdog dies. It must
// be called on the thread that starts the server, and that thread must stay:
// the watchdog runs during init, on the main thread.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGINT }
