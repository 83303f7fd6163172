package netguard

import "headgate/internal/fault"

// The faults of this package. ErrBlocked covers a forbidden address, a name
// that does not resolve and a port nobody listens on, in one text: a caller
// who could tell them apart could map a private network with it. The cause,
// for the log, says which it was.
var (
	ErrBlocked = fault.New(fault.Upstream, "netguard.blocked",
		"No connection: the address does not exist, does not answer, or lies in a network that is closed to servers. Check the URL; the operator can open networks with the setting allow-networks.")
	ErrURL = fault.New(fault.Invalid, "netguard.bad_url",
		"This URL cannot be used. Give an http or https URL with a plain host name, without user name, password or fragment.")
	ErrHeader = fault.New(fault.Invalid, "netguard.bad_header",
		"This header cannot be set. Give a plain header name that the gateway does not write itself, and a value on one line.")
	ErrBodyTooLarge = fault.New(fault.Upstream, "netguard.body_too_large",
		"The answer of the remote server is larger than allowed here.")
)
