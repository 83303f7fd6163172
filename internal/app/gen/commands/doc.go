// Command commands prints the reference page of the headgate command. It is a
// program of its own because it needs the generated client to compile, and the
// generator must run when that does not.
package main
