// Package tenancy keeps tenants, organizations, plans, memberships and
// invitations: who belongs where, as what, and within which limits.
//
// It owns the tables tenants, plans, organizations, memberships and
// invitations, and the rules about people in organizations: an organization
// always has an active owner, only owners touch owners, an invitation is used
// once, a plan's seats are counted in the transaction that takes one.
//
// Every change is announced (db.Tx.Changed with the Kind constants) and
// audited in its own transaction. Tenants, organizations, plans and
// memberships are remembered in memory until they change, so a look-up on the
// hot path costs no query, and a change is seen the moment it is committed.
//
// It leaves to others: who a person is, sessions and mail (identity), what is
// counted against services, requests and credits (catalog, quota, credit).
// OnFound and OnLeave let those join the transactions made here.
package tenancy
