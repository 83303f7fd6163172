package budget

import (
	"time"

	"headgate/internal/fault"
)

// The faults of this package.
var (
	ErrExceeded = fault.New(fault.Unpaid, "budget.exceeded", "The workspace's budget is used up. Wait until its window has moved on, or have it raised by those who manage the organization. Nothing was called and nothing is charged.")
	ErrBusy     = fault.New(fault.Throttled, "budget.busy", "The workspace makes as many calls at the same time as its tier allows. Wait for some to end, or give it a higher tier.").After(time.Second)
	ErrUnknown  = fault.New(fault.Unavailable, "budget.unknown", "The workspace's budget cannot be read at the moment, so nothing is called. Try again soon.").After(time.Second)
	ErrLimits   = fault.New(fault.Invalid, "budget.limits", "A budget has limits in whole cents, 0 to 100,000,000,000 or null, for hourly, daily, weekly and monthly.")
)
