// Package grants keeps the OAuth tokens that people have brought for MCP
// servers, sends them along and renews them.
//
// It owns the table upstream_grants: one grant per person and server. Binder
// puts a grant's token into what the catalog says of a server, for the person
// who brought it and nobody else.
//
// Promises: tokens are sealed for their row and never read back. A token goes
// only to the URL it was brought for: when the server's URL changes, the grant
// rests. Renewal happens once at a time, across replicas too, and a refresh
// token goes only to the authorization server that was named or found when the grant
// was brought. A grant that its authorization server refuses is kept with the
// reason, and its token is not sent any more, so that the server says what it
// wants. A change is in force when it has returned.
//
// It leaves to others: signing people in (a browser is needed), and who may
// use a server at all.
package grants
