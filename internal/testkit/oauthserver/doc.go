// Package oauthserver is a small authorization server and a guard for MCP
// servers that want its tokens: what tests need of OAuth upstreams.
//
// It serves RFC 8414 metadata, dynamic registration, an authorization endpoint
// whose person always agrees, and a token endpoint with codes (PKCE, bound to
// client, redirect and resource), refresh tokens that rotate (one that was used
// is refused) and client credentials. A Resource is an MCP handler behind it,
// with RFC 9728 metadata, 401 challenges, and 403 where a token lacks a scope.
// Knobs make them misbehave. They listen on loopback and end with the test.
package oauthserver
