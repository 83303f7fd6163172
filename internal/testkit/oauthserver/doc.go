// Package oauthserver is a small authorization server and a guard for MCP
// servers that want its tokens: what tests need of OAuth upstreams.
//
// It serves RFC 8414 metadata and a token endpoint with the refresh_token
// grant, whose refresh tokens rotate: one that was used is refused. A Resource
// is an MCP handler behind it, with RFC 9728 metadata and 401 challenges.
// Knobs make it misbehave. It listens on loopback and ends with the test.
package oauthserver
