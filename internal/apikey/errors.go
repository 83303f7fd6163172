package apikey

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrInvalid    = fault.New(fault.BadCredential, "apikey.invalid", "This is no key of this installation. Check that it was copied whole.")
	ErrRevoked    = fault.New(fault.BadCredential, "apikey.revoked", "This key was revoked. Create a new one.")
	ErrExpired    = fault.New(fault.BadCredential, "apikey.expired", "This key has expired. Create a new one, or rotate keys before they end.")
	ErrOrphaned   = fault.New(fault.BadCredential, "apikey.orphaned", "What this key belongs to is gone, or its owner left it. Create a key where you are a member.").With("reason", "ORPHANED_KEY")
	ErrSuspended  = fault.New(fault.BadCredential, "apikey.suspended", "The owner of this key is suspended. Ask the operator.")
	ErrAccountOff = fault.New(fault.BadCredential, "apikey.account_off", "The credit account of this key is switched off. Ask the operator to switch it on.")
	ErrThrottled  = fault.New(fault.Throttled, "apikey.throttled", "Too many unknown keys came from this address. Wait as long as Retry-After says.")
	ErrBusy       = fault.New(fault.Unavailable, "apikey.busy", "Keys are changing too fast to judge this one. Try again in a moment.")

	ErrNotFound = fault.New(fault.NotFound, "apikey.not_found", "There is no such key, or it is not yours. List the keys to find its id.")
	ErrKind     = fault.New(fault.Invalid, "apikey.kind", "Keys of this kind are not made here. See the table of keys in the documentation.")
	ErrName     = fault.New(fault.Invalid, "apikey.name", "A key's name has 1 to 120 printable characters.")
	ErrScopes   = fault.New(fault.Invalid, "apikey.scopes", "Say which scopes the key shall have: at least one, such as mcp:read.")
	ErrExpiry   = fault.New(fault.Invalid, "apikey.expiry", "A key lives between one second and ten years, or until it is revoked.")
	ErrGrace    = fault.New(fault.Invalid, "apikey.grace", "After a rotation the old key may live on for 0 seconds to 7 days.")
	ErrBeyond   = fault.New(fault.Forbidden, "apikey.beyond", "A key cannot be given more than its creator has. Leave out what details name.")
	ErrTooMany  = fault.New(fault.Conflict, "apikey.too_many", "There are as many live keys of this kind as there may be. Revoke one first.")
	ErrMints    = fault.New(fault.Throttled, "apikey.mints", "Ten organization keys were made in the last hour, which is the most. Wait as long as Retry-After says.")
	ErrExists   = fault.New(fault.Conflict, "apikey.exists", "This account has a key. Regenerate it to get a new one; the old one then ends at once.")
	ErrRotated  = fault.New(fault.Conflict, "apikey.rotated", "This key cannot be rotated: it was rotated before, or has ended. Rotate its successor, or create a new one.")
)
