// Package activity keeps what happened: the audit trail of changes (events),
// the log of calls, the bodies of calls, and the error log.
//
// It owns the tables events, event_heads, event_floors, calls, body_chunks and error_lines.
//
// Promises: an event is written in the transaction of the change it tells of
// (Record takes the transaction; if the event cannot be written, the change
// does not happen), and is hash-chained per tenant (Verify finds edits,
// deletions and reordering). A call's line is written in the transaction of
// its settlement (Append, on the fast lane). Bodies follow later, redacted and
// capped, in the log store; losing one loses no money.
//
// It leaves to others: who may read (access), what is charged (credit), when
// lines are committed (call).
package activity
