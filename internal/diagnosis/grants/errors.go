package grants

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNone     = fault.New(fault.NotFound, "grants.none", "You have brought no tokens for this server.")
	ErrNoPerson = fault.New(fault.Forbidden, "grants.no_person", "Tokens belong to a person. Use a session or a key of a person.")
	ErrTokens   = fault.New(fault.Invalid, "grants.bad_tokens", "These tokens cannot be used.")
	ErrURL      = fault.New(fault.Invalid, "grants.other_url", "The tokens are for another URL than the server's. Send the server's own URL, and tokens that were issued for it.")
)
