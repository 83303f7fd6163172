package sandbox

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrSpec      = fault.New(fault.Invalid, "sandbox.bad_spec", "This program cannot be hosted as described.")
	ErrLevel     = fault.New(fault.Unavailable, "sandbox.level", "Hosting of stdio servers is off: this host does not give the required walls. Run `headgate sandbox check` to see which are missing.")
	ErrStart     = fault.New(fault.Upstream, "sandbox.start", "The server's program could not be started.")
	ErrExited    = fault.New(fault.Upstream, "sandbox.exited", "The server's program has ended.")
	ErrLine      = fault.New(fault.Invalid, "sandbox.line", "A message to a stdio server must be one line.")
	ErrTooLong   = fault.New(fault.Upstream, "sandbox.line_too_long", "The server's program wrote a line of more than 16 MiB and was ended.")
	ErrTornWrite = fault.New(fault.Timeout, "sandbox.not_reading", "The server's program did not read its input in time.")
	ErrClosed    = fault.New(fault.Unavailable, "sandbox.closed", "Hosting of stdio servers is shutting down.")
)
