package upstream

import (
	"headgate/internal/fault"
	"headgate/internal/upstream/discovery"
	"headgate/internal/upstream/wire"
)

// The faults of an exchange; a code is also the cause in the call log. Of Kind
// Upstream, Timeout and Unavailable the server is to blame (not for ErrRejected).
var (
	// ErrUnreachable means that nothing was sent.
	ErrUnreachable = wire.ErrDial
	// ErrLost means that the connection broke; the server may have done the work.
	ErrLost = wire.ErrSent
	// ErrTimeout means that the deadline passed; the server may have done the work.
	ErrTimeout = wire.ErrTimeout
	// ErrTooLarge means that the answer is larger than 16 MiB.
	ErrTooLarge = wire.ErrTooLarge

	// ErrRejected means that the server refused the request with a 4xx status: it
	// worked on it, so it is charged unless the service says otherwise.
	ErrRejected = fault.New(fault.Upstream, "upstream.rejected", "The MCP server refused the request. Check the arguments and the server's configuration.")
	// ErrFailed means that the server answered with a 5xx status.
	ErrFailed = fault.New(fault.Upstream, "upstream.failed", "The MCP server failed while it worked on the request. Try again later, and report it to whoever runs the server.")
	// ErrNonsense means that the answer is not MCP: no JSON-RPC, another
	// request's id, a redirect, a web page.
	ErrNonsense = fault.New(fault.Upstream, "upstream.nonsense", "The MCP server sent an answer that is not MCP. Check that the URL is its MCP endpoint, and report it to whoever runs the server.")
	// ErrAuth means that the server wants a sign-in (401). Challenge has its words.
	ErrAuth = fault.New(fault.UpstreamAuth, "upstream.auth", "The MCP server wants a sign-in, or does not accept (any more) what it was sent. Sign in to it (headgate server authorize), or configure it again.")
	// ErrScope means that the sign-in lacks a permission (403 with
	// insufficient_scope): nothing was done. Challenge has the server's words, and
	// the detail scope what it wants.
	ErrScope = fault.New(fault.UpstreamAuth, "upstream.scope", "The MCP server wants permissions that the sign-in does not have. Sign in to it again, and ask for them (headgate server authorize --scope).")
	// ErrSession means that the server forgot its session again and again.
	ErrSession = fault.New(fault.Upstream, "upstream.session", "The MCP server does not keep its sessions. Try again, and report it to whoever runs the server.")
	// ErrEra means that the server does not speak the revision of the request (any
	// more). Nothing was done; ask Eras again.
	ErrEra = fault.New(fault.Upstream, "upstream.era", "The MCP server does not speak the protocol revision of the request.")
	// ErrOpen means that the server failed so often that it is left alone for a moment.
	ErrOpen = fault.New(fault.Unavailable, "upstream.circuit_open", "The MCP server has failed several times in a row, so it is not asked for a moment. Look at the server's health, then try again.")
	// ErrBusy means that a bound of ours is reached.
	ErrBusy = fault.New(fault.Unavailable, "upstream.busy", "Too many sessions or streams to this MCP server are open. Close some, or try again in a moment.")
	// ErrTransport means that no channel speaks the server's transport.
	ErrTransport = fault.New(fault.Unsupported, "upstream.transport", "This server's transport is not available here. Register a Streamable HTTP server.")
	// ErrNoSession means that there is no session for a client's reply to go to.
	ErrNoSession = fault.New(fault.NotFound, "upstream.no_session", "There is no open session with this MCP server that the message belongs to.")
	// ErrList means that a list is beyond the bounds or not a list.
	ErrList = fault.New(fault.Upstream, "upstream.list", "The MCP server's list cannot be used: it is too long, never ends, or is no list.")
	// ErrClosed means that this process is shutting down.
	ErrClosed = fault.New(fault.Unavailable, "upstream.closed", "The gateway is shutting down. Try again in a moment.")
)

// Challenge is the cause of ErrAuth and ErrScope: the server's WWW-Authenticate header,
// empty when it sent none. Find it with errors.As.
type Challenge struct{ Header string }

// Error implements error.
func (c *Challenge) Error() string { return "challenge: " + c.Header }

// forbidden judges a 403: a challenge that names insufficient_scope wants
// another sign-in, everything else is a refusal.
func forbidden(header string) *fault.Error {
	ch := discovery.ParseChallenge(header)
	if !ch.Bearer || ch.Error != "insufficient_scope" {
		return ErrRejected.With("status", 403)
	}
	f := ErrScope.Because(&Challenge{header})
	if ch.Scope != "" && len(ch.Scope) <= maxScope {
		f = f.With("scope", ch.Scope)
	}
	return f
}

// maxScope bounds the text of a server in a detail.
const maxScope = 1024

func nonsense(what string) error { return ErrNonsense.Because(errorString(what)) }

// errorString is an error that is its text.
type errorString string

func (e errorString) Error() string { return string(e) }
