// Package resttest is what the tests of every REST door share.
//
// Matrix walks each operation of a door as each kind of caller, about an
// object of its own, of another organization, of another tenant, a random one
// and one whose id is none, and compares the statuses with a table. An
// operation without a row fails, and so does a row without an operation. It also
// shows that whatever changes something leaves an event in the audit trail.
//
// Hostile sends inputs made from the door's OpenAPI document: valid ones,
// which are then spoilt, one thing at a time. It finds panics, 500s, answers
// that are not of the door's form or not documented, and rejected values that
// come back. HEADGATE_HOSTILE says how many inputs each operation gets.
//
// Hostile's Fields and Paths walk instead of guessing: every body with a field
// that its schema does not have, every path parameter with what leads elsewhere
// in careless hands.
//
// Common provokes what every operation may answer. Main fails a package's run
// when a failure that a document promises was provoked by none of its tests;
// tests send their requests through Serve, which counts them.
//
// All know the door alone; the services behind it are their callers'.
package resttest
