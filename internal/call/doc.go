// Package call is the program's main job: one use of a tool, resource or
// prompt, metered, charged and logged. Do is its story, read top to bottom;
// every door and, later, agents go through it.
//
// It works on raw bytes and knows no HTTP. It promises: nothing is called that
// could not be paid or recorded; an answer is given only after its settlement
// and its log line are on disk; a call is settled or void, once, whatever
// happens; who pays follows one table (judge).
//
// Committer is the group writer: many calls share one transaction.
//
// It leaves to others: how a server is reached (upstream), what it costs
// (catalog), balances (credit), how the answer is spoken (the doors).
package call
