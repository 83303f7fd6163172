// Package approval holds an operation back until a person has agreed to it.
//
// It owns the tables approvals and approval_policies: what an organization
// gates (secrets, keys, destructive operations) when a key asks for it, and
// what waits for a person.
//
// Promises: an approval is bound to the exact operation, its arguments and who
// asks, by an HMAC, and tells nothing of them; it lets that operation happen
// once; it ends ten minutes after it was asked for, or after it was given.
// Reading changes nothing. Only a person decides, and only a person sets what
// is gated.
//
// An operation is held back before it runs (Check), or by a domain that finds,
// before anything has changed, that it is about a secret (Secret). Secrets are
// set in the vault, in headers, addresses and configurations of servers, and by
// bringing tokens; each of these asks, whichever door the request came through.
//
// It leaves to others: which operations belong to which gate (doors, domains),
// and doing the operation.
package approval
