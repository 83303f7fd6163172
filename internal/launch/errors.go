package launch

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrEntry        = fault.New(fault.Invalid, "launch.bad_entry", "This catalog entry cannot be used.")
	ErrNoEntry      = fault.New(fault.NotFound, "launch.no_entry", "There is no such catalog entry. List them with headgate catalog list.")
	ErrTaken        = fault.New(fault.Conflict, "launch.name_taken", "There is a catalog entry or service with this name. Give it another: headgate catalog add NAME, with the source.")
	ErrEnabled      = fault.New(fault.Conflict, "launch.enabled", "The entry is enabled. Disable it first.")
	ErrShipped      = fault.New(fault.Conflict, "launch.shipped", "Headgate ships this entry, so it cannot be removed. Disable it instead.")
	ErrNotInstalled = fault.New(fault.Unavailable, "launch.not_installed", "The server's package is not installed on this replica, or was changed since. The operator installs it with headgate catalog enable.")
	ErrRuntime      = fault.New(fault.Unavailable, "launch.no_runtime", "The runtime that the server needs is not on this machine, or is too old. The operator installs it, or disables the entry.")
	ErrInstall      = fault.New(fault.Unavailable, "launch.install", "The package could not be installed. Look at the server's log, and try again.")
	ErrIntegrity    = fault.New(fault.Conflict, "launch.integrity", "The package does not have the hash that the entry pins, so it was not installed. Find out why it was changed before you trust it.")
	ErrValues       = fault.New(fault.Unconfigured, "launch.bad_values", "The configuration does not fit the server's parameters. Configure the service again.")
)
