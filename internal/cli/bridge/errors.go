package bridge

import "headgate/internal/fault"

// The faults a client is told as JSON-RPC errors.
var (
	errNoAnswer   = fault.New(fault.Upstream, "bridge.no_answer", "The server ended its answer without one to this request. Try again.")
	errRefused    = fault.New(fault.BadCredential, "bridge.refused", "The server refused the credential. Sign in again (headgate login), or set HEADGATE_KEY, and restart.")
	errNothing    = fault.New(fault.Unavailable, "bridge.unreachable", "Nothing answers at the server's URL. Is it running, and is the URL right?")
	errStatus     = fault.New(fault.Upstream, "bridge.bad_status", "The server's answer is no MCP. Is the URL that of an MCP endpoint?")
	errUnreadable = fault.New(fault.Upstream, "bridge.unreadable", "The server's answer cannot be read as MCP. Try again.")
)
