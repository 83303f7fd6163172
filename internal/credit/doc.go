// Package credit owns money: accounts, their ledger, and the credits set aside
// for calls in flight.
//
// Tables: accounts, entries, entry_keys, leases, usage_days. An account has two
// buckets, monthly (granted on the first of the month, does not roll over) and
// purchased; spending takes the monthly one first. Every change of a balance is
// an entry, numbered per account and never altered, so Σ entries = balance ≥ 0.
//
// A call holds its price before the upstream is asked and settles or releases
// it after. Holds live in memory inside a lease: credits the account row counts
// as leased to this replica. Taking from the lease is one compare-and-swap, and
// because leases never exceed the balance, parallel calls on any number of
// replicas cannot spend more than there is. A crash loses only holds of calls
// nobody saw an answer of: on SQLite leases end at the next start, on
// PostgreSQL with their deadline.
//
// Settle joins the group writer's transaction (package call), where the log
// line of the same call is written. What may happen once (a month's grant, a
// top-up) carries a key, and the unique key is the judge.
//
// Usage folds entries into sums per day; Reconcile compares the ledger with the
// log of calls.
//
// It leaves to others: prices (catalog), who may ask (access), the log
// (activity).
package credit
