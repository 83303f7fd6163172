// Package discovery finds out who signs people in for a protected MCP server:
// it reads WWW-Authenticate challenges, protected resource metadata (RFC 9728)
// and authorization server metadata (RFC 8414, OpenID Connect Discovery).
//
// It promises to ask in the order of the MCP specification, to read at most
// 256 KiB of each document, to follow no redirect, and to use a document only
// when it speaks of what it was asked for: metadata whose issuer is another
// one is no metadata. Every request goes through the caller's guarded client,
// because each of these URLs was chosen by a stranger.
//
// It leaves to others: judging what was found (diagnosis) and using it (the
// hub, grants).
package discovery
