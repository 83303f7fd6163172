// Package egress is the only way out of a sandbox that may use the network.
//
// A child lives in a network namespace with nothing but its own loopback. The
// sandbox makes listening sockets inside it and hands them to this package, so
// what a child connects to is accepted out here. Two ways lead on: an HTTP
// proxy (CONNECT and absolute http:// requests) for programs that read
// HTTP_PROXY, and, for programs that do not, one loopback address per allowed
// host, which /etc/hosts names, so that a plain connection is passed on as it
// is. TLS is never opened.
//
// A child reaches the hosts on its list and nothing else; the names are
// resolved and dialled by the caller's guard, which refuses private and
// metadata addresses at connect time. Connections are bounded in number and in
// idle time, and each is logged with host and bytes, never with content.
package egress
