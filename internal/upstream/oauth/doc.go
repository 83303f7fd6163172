// Package oauth is the OAuth 2.1 client for MCP servers that want a sign-in.
//
// A Client finds out who signs people in for a server (discovery), registers
// itself there or uses what it was given, sends the person to the
// authorization endpoint, trades the code in, and asks for new tokens later.
// SignIn is all of that, once more where the server answers the new token with
// another challenge.
//
// Promises. Every URL was chosen by a stranger, so each is dialed through the
// guard, and a code, a secret or a token goes only to an endpoint with TLS or
// on this machine. The resource is the server's own (RFC 9728), the issuer is
// the one that was asked for (RFC 8414), PKCE is S256, the answer has our state
// and the issuer's iss (RFC 9207), and both requests name the resource (RFC
// 8707). A registration is used at the issuer that gave it and nowhere else.
// Permissions are never lost on the way up: a step-up asks for what was granted
// too, and one that asks for nothing new is the last. Secrets are seal.Values;
// no fault repeats one, nor a text in which an authorization server does.
//
// It leaves to others: keeping tokens (grants), and showing people the page.
package oauth
