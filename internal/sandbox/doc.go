// Package sandbox runs the programs of stdio servers behind walls that can be
// shown. It needs no root, no container engine and no cgo.
//
// A Launcher starts a Process from a Spec. Between them stands a tiny helper
// (package helper, some 60 KiB) that has no environment and no secret of ours:
// it makes the namespaces and a private view of files, and stays as their init. It reaps
// orphans, passes signals on, and ends when its control socket closes, and the
// kernel then ends everything inside. So nothing outlives Headgate, however
// Headgate dies. The child gets rlimits, no capabilities, no_new_privs,
// Landlock, a seccomp filter, the declared environment, descriptors 0, 1, 2,
// a private directory at /private, and no network but the hosts its Spec
// allows, through package egress. It is never uid 0 on the host.
//
// Attest tries the walls from inside and says which are up; Start refuses when
// the host cannot give the level a Spec requires. There is no silent downgrade.
// Where walls do not exist (macOS, Windows, other processors) only the explicit
// level None works, for a developer's own machine.
//
// The package moves lines and knows no MCP. Which command may run, with what
// arguments, is decided above (the catalog); so are queues, restarts and idling.
package sandbox
