package quota

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrRate  = fault.New(fault.Throttled, "quota.rate", "Too many requests in a short time. Wait as long as Retry-After says, then go on more slowly.")
	ErrDaily = fault.New(fault.Unpaid, "quota.requests_per_day", "The plan's requests for today are used up. They start again at midnight UTC; a larger plan has more.")
)
