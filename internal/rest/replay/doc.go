// Package replay keeps the answers of requests that carried an
// Idempotency-Key, so that a repeat gets the stored one instead of a second
// effect. It is rest.IdempotencyStore over the database and owns the table
// idempotency.
//
// Promises: a key belongs to one organization; one request at a time has it; a
// stored answer stays for 24 hours. A claim whose process died lapses after
// ClaimFor, or at the next start where one process owns the store (Recover). It
// is free then, unless the trail or the call log has something under its
// request's id: what was done once is not done again. Answers come sealed from
// rest and are kept as they come.
package replay
