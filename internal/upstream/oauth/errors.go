package oauth

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNone = fault.New(fault.NotFound, "oauth.none",
		"This MCP server offers no sign-in (OAuth). If it wants a key, configure it as a header.")
	ErrDiscovery = fault.New(fault.Upstream, "oauth.discovery",
		"Who signs people in for this MCP server could not be found out. Report it to whoever runs the server.")
	ErrResource = fault.New(fault.Upstream, "oauth.other_resource",
		"The MCP server's metadata speaks of another server, so its sign-in is not used. Check the server's URL, and report it to whoever runs the server.")
	ErrEndpoint = fault.New(fault.Upstream, "oauth.endpoint",
		"The authorization server's endpoint is missing, or is neither https nor on this machine, so nothing is sent there. Report it to whoever runs it.")
	ErrPKCE = fault.New(fault.Upstream, "oauth.no_pkce",
		"The authorization server does not say that it supports PKCE with S256, without which codes can be stolen. Report it to whoever runs it.")
	ErrClient = fault.New(fault.Unconfigured, "oauth.no_client",
		"Clients cannot register themselves at this authorization server. Register one there by hand, and give its client id.")
	ErrIssuer = fault.New(fault.Upstream, "oauth.other_issuer",
		"The MCP server names another authorization server now than the one that the client id is from. Give a client id of the new one.")
	ErrResponse = fault.New(fault.Upstream, "oauth.response",
		"The answer of the authorization server is not one to this sign-in, so its code is not used. Sign in again.")
	ErrDenied = fault.New(fault.Forbidden, "oauth.denied",
		"The authorization server did not grant the sign-in.")
	ErrToken = fault.New(fault.Upstream, "oauth.token",
		"The authorization server's token endpoint gave no usable token. Try again later, and report it to whoever runs it.")
	ErrRefused = fault.New(fault.UpstreamAuth, "oauth.refused",
		"The authorization server refused the request for a token. Sign in again.")
	ErrNotAccepted = fault.New(fault.UpstreamAuth, "oauth.not_accepted",
		"The MCP server does not accept the token that its own authorization server has just issued for it. Report it to whoever runs the server.")
	ErrTooFew = fault.New(fault.UpstreamAuth, "oauth.too_few_permissions",
		"The MCP server wants permissions that the authorization server was asked for and did not grant. Ask whoever runs it for them.")
	ErrKey = fault.New(fault.Invalid, "oauth.key",
		"The private key cannot be used. Give an EC, RSA or Ed25519 key in PEM form (PKCS #8).")
	ErrWaited = fault.New(fault.Timeout, "oauth.waited",
		"Nobody has signed in in time. Sign in again, and open the page at once.")
)
