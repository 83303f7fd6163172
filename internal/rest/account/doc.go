// Package account is the Account API: one person asks for their balance, their
// key and their use of tools, at /api/mcp.
//
// It owns how this audience is spoken to: snake_case, bare objects, failures
// as {detail: {code, message}} and bad credentials as {detail: text} with the
// contract's own words, 422 for values out of range, and an integer id.
//
// A session of Headgate's or a configured issuer's token opens it; keys do
// not. An account belongs to a person in the organization they work in when
// they enable it, and has exactly one key. Enabling makes account, first grant
// and key in one transaction: a hundred at once make one.
//
// Money is credit's, keys are apikey's, calls are activity's.
package account
