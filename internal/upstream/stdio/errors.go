package stdio

import "headgate/internal/fault"

// The faults of this package. Callers of a server see a failed server; these
// say why, in logs and in a server's status.
var (
	ErrBusy    = fault.New(fault.Unavailable, "stdio.busy", "Too many stdio servers are running or waiting to start. Try again in a moment.")
	ErrResting = fault.New(fault.Unavailable, "stdio.resting", "The server's program has ended several times in a row, so it is not started for a moment. Look at its logs (headgate server logs).")
	ErrSpeech  = fault.New(fault.Upstream, "stdio.no_mcp", "The server's program does not speak MCP: neither server/discover nor initialize was answered. Look at its logs (headgate server logs).")
	ErrClosed  = fault.New(fault.Unavailable, "stdio.closed", "Hosting of stdio servers is shutting down.")

	errEnded  = fault.New(fault.Upstream, "stdio.ended", "The server's program ended before it answered.")
	errUnread = fault.New(fault.Unavailable, "stdio.unread", "The server's program does not read what it is sent.")
	errMany   = fault.New(fault.Unavailable, "stdio.many_calls", "Too many calls of this server are under way.")
)
