package eras

import (
	"time"

	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// The faults of this package.
var (
	// ErrState means that a requestState is not ours, not this caller's, not of
	// this request, too old, or was used before.
	ErrState = fault.New(fault.Invalid, "eras.request_state", "This requestState does not belong to this request, is too old or was used before. Make the request anew, without it.")
	// ErrResponses means that inputResponses are not what was asked for.
	ErrResponses = fault.New(fault.Invalid, "eras.input_responses", "params.inputResponses must hold an object for each of the inputRequests.")
	// ErrParked means that too many calls wait for their clients.
	ErrParked = fault.New(fault.Throttled, "eras.parked", "Too many calls of this credential wait for answers. Answer or abandon some first.").After(5 * time.Second)
	// ErrRounds means that a server asks again and again.
	ErrRounds = fault.New(fault.Upstream, "eras.rounds", "The MCP server asked for input too many times in one call. Report it to whoever runs the server.")
	// ErrCapability means that a server asks for what the client has not got.
	ErrCapability = fault.New(fault.Unsupported, "eras.capability", "The MCP server asks for something that this client does not support.")
	// ErrUnanswered means that the client did not answer the server in time.
	ErrUnanswered = fault.New(fault.Timeout, "eras.unanswered", "The MCP server asked for input and the client did not give it in time.")
	// ErrDeclined means that the user does not do what the server wants first.
	ErrDeclined = fault.New(fault.Conflict, "eras.declined", "The MCP server wants the user to visit a page first, and the user declined.")
	// ErrResult means that a result is of a kind the caller did not say it knows.
	ErrResult = fault.New(fault.Upstream, "eras.result", "The MCP server gave a result of a kind that this client's revision does not have.")
)

// methodNotFound answers a method that the other side's era does not have.
func methodNotFound(id []byte, status int) (*answer, error) {
	return made(mcp.AppendError(nil, id, mcp.CodeMethodNotFound, "This server does not have this method.", nil), status)
}
