package gateway

import (
	"time"

	"headgate/internal/fault"
)

// The faults of this package.
var (
	errEndpoint = fault.New(fault.NotFound, "gateway.endpoint", "There is no such MCP endpoint. Endpoints are /mcp, /mcp/{server}, /mcp/w/{workspace} and /mcp/w/{workspace}/{server}.")
	errMethod   = fault.New(fault.Method, "gateway.http_method", "An MCP endpoint takes POST, GET and DELETE.")
	errMedia    = fault.New(fault.MediaType, "gateway.media_type", "Send the message as application/json.")
	errPacked   = fault.New(fault.MediaType, "gateway.content_encoding", "Send the message unpacked, without Content-Encoding.")
	errTooLarge = fault.New(fault.TooLarge, "gateway.too_large", "A message may have 4 MiB.")
	errSession  = fault.New(fault.NotFound, "gateway.session", "This session is unknown or over. Initialize a new one.")
	errNoHeader = fault.New(fault.Invalid, "gateway.no_session", "Initialize first, and send the Mcp-Session-Id of the answer with every request; or speak revision 2026-07-28, which has no sessions.")
	errVersion  = fault.New(fault.Invalid, "gateway.version", "This protocol revision is not supported.")
	errUnknown  = fault.New(fault.NotFound, "gateway.unknown", "There is no tool or prompt of this name here. List what there is.")
	errResource = fault.New(fault.NotFound, "gateway.no_resource", "There is no resource of this URI here. List what there is.")
	errNoMethod = fault.New(fault.Unsupported, "gateway.no_method", "This method is not supported here.")
	errInFlight = fault.New(fault.Invalid, "gateway.id_in_use", "A request with this id is in flight in this session. Use another id.")
	errSessions = fault.New(fault.Throttled, "gateway.sessions", "Too many sessions of this credential are busy. Close some first.").After(5 * time.Second)
	errUnasked  = fault.New(fault.Invalid, "gateway.not_declared", "The MCP server asks for something that this client has not declared. Declare the capability to be asked.")
	errStreams  = fault.New(fault.Throttled, "gateway.streams", "Too many streams are open for this credential. Close some first.").After(5 * time.Second)
)
