// Package db is the one way to the store: one SQL text for SQLite and
// PostgreSQL, migrations, transactions, and a fast lane for the group writer.
//
// It owns the drivers (nothing else imports one), the pools and the schema.
// Domains write their statements with $1 parameters in the subset that both
// engines share (docs/decisions/0002) and run them through Exec, One, All and
// Value. A method of a service opens its own transaction with Store.Tx; a
// function that takes a Querier joins its caller's.
//
// Promises: a committed transaction is on disk (synchronous=FULL, or what the
// PostgreSQL server says); on SQLite there is one writer and the file is
// locked to this process; inside Tx nothing is visible to others before it
// returns nil; ErrDuplicate and ErrNone mean the same on both engines; what
// changed is known to every live replica before Tx returns (Tx.Changed,
// Replicate), and one that cannot hear the others says so (Current).
//
// Traps (each pinned by a test): never swallow ErrDuplicate inside Tx, use ON
// CONFLICT DO NOTHING; no network call inside Tx; times are BIGINT
// milliseconds UTC (Time), ids TEXT, JSON opaque TEXT, money BIGINT.
package db
