// Package meter takes requests of REST doors from their rates: a principal's
// by the plan of its organization, in the bucket that calls are counted in
// too; an operator key's, which has no plan; and, where nobody knows who asks,
// the address's. Doors show what it returns as X-RateLimit-*.
package meter
