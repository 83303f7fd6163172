// Package diagnostics is the Diagnostics API at /api/v1, for CI and for people
// who check MCP servers, and beside it /api/web/api-keys, where they make the
// keys for it in their browser.
//
// It owns how this audience is spoken to: bare objects, {items, nextCursor},
// {code, message, details?}; a project is a workspace. It owns no rule: each
// handler calls one domain.
//
// A diagnostics key (sk_…) or a session opens it. Other keys are no credential
// here and get 401 by their prefix, as do end users and guests. Each key has
// its own rate, which is taken before anything reads the database. A
// first-party service may act as a user with a credential of its own
// (acting.go); that is off unless configured, and every use is in the audit
// trail. On the key routes every kind of key is refused by its prefix alone:
// a valid key and an invented one get the same answer.
//
// RegisterPlatform gives the Platform API what is new: reports, drift,
// schedules, and a diagnosis of any URL.
package diagnostics
