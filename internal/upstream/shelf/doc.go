// Package shelf keeps what servers have listed last in the store, so that the
// first list after a start waits for no server that was ever heard.
//
// It owns the table server_lists. A row is written when a list has changed, and
// read once by a process for each server and set of credentials.
//
// Promises: a list is found under the organization, the server, its version
// and the credentials that it was asked with, and no others; what was not asked
// for in two weeks goes.
//
// It leaves to others: what a list is, and how old it may be (upstream).
package shelf
