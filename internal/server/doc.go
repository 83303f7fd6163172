// Package server owns the listeners and everything that happens to a request
// before its door and after it.
//
// The public listener judges, in this order: Host and Origin, each against its
// own list; the client's address, from forwarded headers only where a trusted
// proxy sent them. It gives the request an id, sets security headers, routes
// by path prefix, turns a panic into a 500 of the door's form, counts, and
// writes one log event. The internal listener serves metrics and pprof.
//
// It promises that no header from outside names a user, an address or a tenant
// to the code behind it; that no query value, path, body or credential is ever
// logged; that more connections than the process has descriptors for are
// answered 503 instead of stalling; that a client that stops reading or
// sending is dropped; and that stopping lets requests finish.
//
// Per request it allocates the exchange and the request's copy, since it is in
// the way of every call of the Gateway (BenchmarkEdge).
//
// Plain calls on plain connections pass by net/http on a fast lane of our own
// (package lane, Config.FastLane); the handler is the same.
//
// Doors know nothing of it but internal/server/request. Which handler serves
// which prefix is the caller's list of Routes.
package server
