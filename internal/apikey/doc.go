// Package apikey issues, knows, limits and revokes keys: the long-lived
// credentials of programs (design.md section 3).
//
// It owns the table keys, and the form of a key's text: a prefix that decides
// the kind (the longest that fits), 30 random base62 characters, and 6 of the
// CRC-32 over both. Parse, KindOf and RefuseManaging need no store.
//
// Promises: only an HMAC under a pepper outside the database is kept, with the
// first twelve and the last four characters; the text is returned once. Junk
// costs no query. A key narrows its owner: its principal carries the owner's
// present role. A change of a key, a person, a membership, an organization, a
// tenant or a workspace is in force when its transaction has returned, as long
// as whoever changes it says so: tx.Changed with "key" and the key's id,
// "user" or "membership" and the user's id, "organization", "tenant",
// "workspace" or "account" and theirs. Revoke returns after every later use is
// refused and the streams of the key have been told. Expiry is judged at every
// use; a stream must look at ExpiresAt itself. Last use is written at most
// once a minute per key.
//
// It leaves to others: who may call what (access), rates of known keys
// (quota), reading credentials from requests (doors), and the account a key
// pays from (credit), which calls Replace.
package apikey
