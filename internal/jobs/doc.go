// Package jobs does work later: durable, retried, scheduled.
//
// It owns the table jobs and speaks River's language, so that a move to it
// stays small: a job has a kind and arguments, is available, running, done or
// dead, and is worked by a runner.
//
// Promises: Enqueue is part of the caller's transaction, and a rollback
// enqueues nothing. A job runs at least once; its effect is exactly once only
// if the handler makes it so, with a key that is unique in the effect's own
// transaction. A runner that dies loses its jobs to others when their lease
// has run out; a runner that was only slow is told by its context and cannot
// record an outcome any more. A job that fails is tried again, ever later,
// with jitter; after its last attempt, or at once after Cancel, it is dead and
// keeps the reason. Losing the runner counts as an attempt, so a job that
// kills its process is parked too. A periodic job is enqueued once per period,
// however many runners compete. In the same process work starts at once; other
// processes look every Poll.
//
// It leaves to others: what the work is (each domain's jobs.go).
package jobs
