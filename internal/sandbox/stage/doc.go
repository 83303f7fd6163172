// Package stage turns a list of system calls into a tiny program and runs it.
//
// Walls must be raised between fork and exec, where a Go program cannot run
// code, and the init of a namespace must stay as small as possible. So the
// sandbox writes down what is to be done as data (a Program: system calls with
// their arguments, names, and what to do next) and this package wraps that data
// and an interpreter of some thirty instructions into an ELF image of a few
// pages, held in memory. Starting it costs one exec; it has no heap, no
// threads, no environment, no secret, and uses a few kilobytes.
//
// The interpreter (interpreter_*.s) does one thing: load a record, make the
// call, keep the result, choose the next record. All policy is in the Go code
// that writes the Program. A call that fails and has no Else ends the program
// through OnFailure, which can report the record and the error number; StepName
// turns that record back into words.
//
// The package knows nothing of sandboxes, and exists on Linux (amd64, arm64).
package stage
