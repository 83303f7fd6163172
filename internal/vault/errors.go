package vault

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "vault.not_found", "There is no such secret, or it is not yours. List the secrets to see those that are set.")
	ErrName     = fault.New(fault.Invalid, "vault.name", "A secret's name has 1 to 128 of A-Z, a-z, 0-9, _, - and ., and begins with a letter or _.")
	ErrValue    = fault.New(fault.Invalid, "vault.value", "A secret's value has 1 to 65,536 bytes. To remove it, delete the secret.")
	ErrVendor   = fault.New(fault.Invalid, "vault.vendor_key", "Keys of model vendors are refused while model billing is platform_managed. Set the billing mode to byok first.")
	ErrTooMany  = fault.New(fault.Conflict, "vault.too_many", "There are as many secrets here as there may be. Delete one first.")
)
