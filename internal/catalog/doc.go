// Package catalog owns what is on offer and what is set up: services (an MCP
// server on offer, with its schema, prices and address), servers (a service or
// a custom URL in one workspace), prices and their history, and what
// organizations and users filled into a service's schema.
//
// It owns the tables services, prices, servers, tool_timeouts and
// configurations.
//
// Promises: another organization's service or server is answered like one that
// does not exist; header values and configurations are sealed, bound to their
// row, and no read shows a secret; a change is recorded as an event in its own
// transaction, and once it has returned, the Resolver answers with it. What a
// buyer pays is set by the seller: an organization that is not a tenant's home
// cannot change a price.
//
// Headers and configured texts may refer to secrets ({{secret.NAME}}); a changed
// secret changes the Binding.Identity of exactly the servers that use it.
//
// Resolver is for the call path: servers, prices, timeouts and headers in
// memory, read without locks.
//
// It leaves to others: connections (upstream), who pays (credit), and the
// numbers of a plan (a Limit function of tenancy).
package catalog
