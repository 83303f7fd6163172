// Package budget decides whether a workspace may make one more call: whether it
// takes calls at all, how many at a time its tier allows, and whether its money
// suffices.
//
// It owns the tables budgets, budget_buckets, budget_leases and
// budget_notices. A budget is a ceiling in cents per hour, day, week and month,
// each a rolling window kept in sixtieths: what was spent counts for one
// window, and at most a sixtieth longer.
//
// Promises: what a call may cost is set aside before it is made (Admit), in
// memory, out of an amount this replica has leased from the store; so parallel
// calls, on any number of replicas, never spend more than the ceiling. What it
// did cost is written in the transaction of its settlement (Settle). A budget
// of 0 blocks everything. What cannot be known refuses (fails closed). 50, 80
// and 100 per cent are told of by events.
//
// It leaves to others: credits (credit), rates (quota), a workspace's life and
// tiers (workspace), and when to ask (call).
package budget
