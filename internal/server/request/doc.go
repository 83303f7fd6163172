// Package request is what the edge and the doors tell each other about one
// HTTP request.
//
// The server makes one Info per request before any handler runs: the request's
// id, the client's address (forwarded headers already judged), whether the
// client's side is TLS. Doors write back what only they know: the route's
// pattern, the principal, the fault. The server puts it all in the one log
// event the request gets, so nobody else logs.
//
// It is a leaf: doors and the server import it, and it imports nothing of ours.
// An Info belongs to the goroutine that serves the request; a handler that
// starts goroutines hands them values, not the Info.
package request
