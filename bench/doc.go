// Bench measures Headgate against calling the upstream directly, nginx and Go's
// reverse proxy, all in one run and in alternation, and prints the table of
// bars with its verdicts. README.md says how to read it.
//
// It builds and starts everything itself, on loopback: the raw upstream, the
// proxies, and Headgate with an empty data directory in each of its stores.
// The load is its own too; each answer is compared with its question. It runs
// for a few minutes at most, and ends what it has started.
package main
