package approval

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "approval.not_found", "There is no such approval, or it is not yours. List the approvals to see those that wait.")
	ErrRejected = fault.New(fault.Forbidden, "approval.rejected", "A person has refused this operation. Ask them before you ask again.")
	ErrNeeded   = fault.New(fault.Forbidden, "approval.needed", "The organization's policy wants a person to agree to this, and this way in cannot ask one. Ask through the Platform API or the Management MCP, or sign in and do it yourself.")
	ErrDecided  = fault.New(fault.Conflict, "approval.decided", "This approval is decided already, or its ten minutes are over. Ask for the operation again.")
	ErrPerson   = fault.New(fault.Forbidden, "approval.person", "Approvals are decided, and gates set, by a person: sign in (headgate login) and use the session.")
	ErrGate     = fault.New(fault.Invalid, "approval.gate", "The gates are secrets, keys, destructive and plans. Name only these.")
	ErrTooMany  = fault.New(fault.Conflict, "approval.too_many", "Too many operations wait for approval. Decide some first.")
)
