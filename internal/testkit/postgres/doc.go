// Package postgres runs a private PostgreSQL cluster from installed binaries,
// for tests and for the benchmark.
//
// It owns finding binaries that work, starting the server as an unprivileged
// user even when root runs the tests, and its end. All processes of one user
// and one checkout share a cluster: each holds a shared file lock for as long
// as it lives, and a watchdog, which is the server's parent, stops the server
// and removes its directory once nobody has held that lock for a while. The
// kernel drops the locks of a process that crashed, so nothing leaks.
//
// It promises that the server listens on a Unix socket of its own user alone,
// and nowhere else. Databases and templates in the cluster are made by the
// caller; testkit does so per test.
package postgres
