// Package launch owns the operator's catalog of programs: what a stdio server
// may be, and how it is started.
//
// An Entry names a program (an npm package by exact version and hash, or a
// program of the host), its fixed arguments and variables, and typed
// parameters. Some entries are shipped (the top-level catalog directory); the
// operator adds others from an npm name, a server.json or by hand. Enabling an
// entry installs its package and offers it as a service; the parameters become
// the service's config schema. Then tenants make servers of it like of any
// other service, and fill the schema in.
//
// Promises: no value of a tenant becomes a program, an option that was not
// foreseen, or a variable that makes a runtime load code; values are checked
// when they are stored (the schema) and again when they are used. A package is
// installed by the operator's command alone, without its install scripts, every
// file of it held to the lock file's hashes; a program whose installation does
// not match its entry is not started. Metadata of packages is data: what it
// says about how to run them is dropped, with a warning.
//
// It owns the rows of installation named catalog:…, and the directories
// catalog and stdio of the data directory. It leaves the walls to sandbox and
// the running programs to upstream/stdio.
package launch
