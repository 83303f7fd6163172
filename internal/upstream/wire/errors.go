package wire

import (
	"errors"

	"headgate/internal/fault"
)

// The faults of an exchange. Their cause, for the log, is the network's error,
// or context.Canceled or context.DeadlineExceeded.
var (
	// ErrDial means that nothing was sent: no address, no connection, no free
	// connection in time, no TLS. Its text is the same for all of them.
	ErrDial = fault.New(fault.Upstream, "upstream.unreachable",
		"The MCP server could not be reached. Check its URL and that it is running; the operator can open private networks with the setting allow-networks.")
	// ErrSent means that the request, or a part of it, went out and the answer
	// did not come back whole. The server may have acted on it.
	ErrSent = fault.New(fault.Upstream, "upstream.lost",
		"The connection to the MCP server broke before its answer was complete. The server may have done the work; check before you try again.")
	// ErrTimeout means that the deadline passed after the request went out.
	ErrTimeout = fault.New(fault.Timeout, "upstream.timeout",
		"The MCP server did not answer in time. The server may still do the work; check before you try again.")
	// ErrProtocol means that the answer is not HTTP as this package accepts it.
	ErrProtocol = fault.New(fault.Upstream, "upstream.protocol",
		"The MCP server sent an answer that is not valid HTTP. Report this to whoever runs it.")
	// ErrTooLarge means that the answer is larger than the caller's limit.
	ErrTooLarge = fault.New(fault.Upstream, "upstream.too_large",
		"The MCP server's answer is larger than allowed. Ask it for less.")
	// ErrRequest means that the request can't be written as HTTP; nothing was sent.
	ErrRequest = fault.New(fault.Invalid, "upstream.bad_request",
		"The request to the MCP server cannot be written: its URL or one of its headers holds a character or a name that is not allowed.")
)

func protocol(why string) error { return ErrProtocol.Because(errors.New(why)) }

var (
	errClosed   = errors.New("the response was closed")
	errEarlyEnd = errors.New("the connection ended inside the answer")
	errNoAnswer = errors.New("the connection ended before the answer")
)
