package credit

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrInsufficient = fault.New(fault.Unpaid, "credit.insufficient", "Not enough credits. Buy credits, or wait for the monthly grant on the first.")
	ErrNoAccount    = fault.New(fault.NotFound, "credit.no_account", "There is no such credit account. List the accounts to find its id.")
	ErrInactive     = fault.New(fault.Unpaid, "credit.inactive", "This credit account is switched off. Ask the operator to switch it on.")
	ErrExists       = fault.New(fault.Conflict, "credit.account_exists", "This credit account exists already. Use it.")
	ErrAmount       = fault.New(fault.Invalid, "credit.amount", "The amount must be a whole number of credits other than 0, within ±10^15.")
	ErrInUse        = fault.New(fault.Conflict, "credit.in_use", "The credits are set aside for calls in flight. Try again in a few seconds.")
	ErrReason       = fault.New(fault.Invalid, "credit.reason", "Say why. The reason is kept with the entry.")
	ErrRepeated     = fault.New(fault.Conflict, "credit.repeated", "This entry has been made already. Look at the account's entries before you send it with a new key.")
)

// MaxAmount bounds one entry, so that sums stay far from overflow.
const MaxAmount = 1_000_000_000_000_000
