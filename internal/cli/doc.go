// Package cli is the headgate command: serve, which is the program itself,
// and everything else, which are clients of its Platform API.
//
// Each noun has a file, each command an options struct with a Run method that
// makes one request (seldom more) through package client and prints a table,
// or with --json what the server said. Only serve and migrate open the store;
// they are handed in by cmd/headgate, so that this package knows no domain.
//
// Promises: nothing is printed on success when there is nothing to say; every
// error says what to do next, on stderr; the exit code tells programs what
// happened (see exit.go); a key goes only to the server it belongs to; text
// that comes from servers cannot drive the terminal. Run takes everything it
// touches as an argument, the user's files aside.
package cli
