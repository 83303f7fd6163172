// Package helper writes and runs the program between Headgate and a child of
// the sandbox: a plan of system calls (package stage) with three lives.
//
//	outside  in Headgate's own namespaces: sheds descriptors, becomes nobody
//	         when Headgate is root, makes the namespaces, goes
//	init     pid 1 inside: builds the private view of files and the way out,
//	         then reaps orphans, passes signals on, and ends with its control
//	         socket or with the child
//	child    raises what binds only itself (capabilities, no_new_privs,
//	         Landlock, rlimits, seccomp) and executes the program
//
// Every step has a name; Launch says which one failed and why. A step that
// raises a wall is never skipped: either all that the Host offers is up, or
// nothing runs. The helper has no environment and no secret but the child's own.
//
// What a child may be, and whether the host is good enough, is decided in
// package sandbox. Linux (amd64, arm64) only.
package helper
