// Package notes keeps what a legacy session at the Gateway has set beside its
// sealed id, so that a restart or another replica knows it too: the level of
// log messages, subscriptions to resources, and that it was ended.
//
// It owns the table mcp_sessions. A row is written when a client sets a level,
// subscribes, unsubscribes or ends its session, and read when a session that
// is not in memory comes back, or another replica has written it: never for a
// call otherwise.
//
// Promises: a change is on disk before Change returns, and two at once are
// both kept, also on two replicas; each replica has heard of it before Change
// returns (Set, Ended); an ended session stays ended; a row holds no
// credential, and goes when its session's id would be too old anyway.
//
// It leaves to others: what a session is, and whose (gateway).
package notes
