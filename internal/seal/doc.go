// Package seal keeps secrets: it seals values at rest (AES-256-GCM, the row
// bound in), hashes credentials with a pepper, and holds the Value type that
// prints as dots.
//
// The keys live in keys.json beside the data (or where --keys says), never in
// the database; a backup of the database alone opens nothing. A missing or
// wrong file refuses to start (Check). Rotation: the file may hold several
// master keys and peppers; the first seals, all open.
//
// Every sealed blob is bound to a place ("keys:org_...:name"): moved to
// another row it fails to open (security.md L02).
package seal
