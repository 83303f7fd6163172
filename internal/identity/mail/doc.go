// Package mail delivers identity's messages: SMTP sends them, Outbox writes
// them as .eml files where no mail server is configured.
//
// SMTP demands TLS unless it is told that the server has none, and verifies
// the server's certificate; it never sends a password in the clear. Outbox
// files are for the operator's eyes only (0600 in a 0700 directory), appear
// whole or not at all, and hold links that sign people in: they are deleted
// after a week, and the oldest when there are too many.
package mail
