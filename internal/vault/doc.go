// Package vault keeps the secrets of organizations and workspaces: named
// values that servers' configurations refer to.
//
// It owns the table secrets.
//
// Promises: a value is sealed for its organization, its workspace and its
// name, and does not open anywhere else, so a row that is copied or renamed in
// the database is worth nothing. List never holds a value. A workspace sees
// its organization's secrets and its own, and its own win. A committed change
// is announced as "secret" with the reference Ref makes, so that exactly the
// servers that use it can be restarted.
//
// It leaves to others: the keys it seals with (seal), who may (access), and
// putting values into configurations and headers (catalog, upstream).
package vault
