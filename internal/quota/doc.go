// Package quota says how fast and how often: rates per credential, and the
// requests a plan allows per day.
//
// It owns the table day_counts, and the limiters in memory.
//
// Promises: a rate is a GCRA bucket, exact within the process, in a map whose
// size is capped (Limiter); when the map is full the entry that owes least is
// forgotten, so a flood of new keys cannot wash away a debt. A day is a UTC
// day of the injected clock. Requests per day are exact within the process;
// what it counted is added to the table in batches, every Interval and at
// shutdown, and what other replicas counted is learnt then. A crash forgets at
// most one Interval of counts, never money: that is credit's.
//
// It leaves to others: which plan an organization has (tenancy), what a call
// costs (credit), ceilings in money (budget), and how a door shows a Decision
// (X-RateLimit-*, Retry-After).
package quota
