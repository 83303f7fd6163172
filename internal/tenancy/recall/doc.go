// Package recall remembers rows until they change, so that questions every
// request asks (which plan, which role) cost no query.
//
// A Cache is told of changes by the store (db.Store.OnChange) inside the call
// that made them: once a transaction has returned, no Get of this process
// answers from before it. A load that was under way meanwhile is thrown away.
// Rows are also forgotten by age, so that a replica which lost the others'
// notices is wrong for a bounded time only. Errors are never remembered.
package recall
