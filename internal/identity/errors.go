package identity

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrCredentials  = fault.New(fault.BadCredential, "identity.bad_credentials", "The e-mail address or the password is wrong. Try again, or reset the password.")
	ErrTokenExpired = fault.New(fault.BadCredential, "identity.token_expired", "The token has expired. Refresh it, or sign in again.")
	ErrTokenInvalid = fault.New(fault.BadCredential, "identity.token_invalid", "The token is not valid. Sign in again.")
	ErrNoEmail      = fault.New(fault.BadCredential, "identity.no_email", "The token names no e-mail address. Ask the issuer to add the claim email.")
	ErrLocked       = fault.New(fault.Throttled, "identity.locked", "Too many failed sign-ins. Wait, or reset the password.")
	ErrBusy         = fault.New(fault.Unavailable, "identity.busy", "Too many people sign in right now. Try again in a moment.")
	ErrUnavailable  = fault.New(fault.Unavailable, "identity.unavailable", "Sessions cannot be checked right now. Try again in a moment.")
	ErrIssuerDown   = fault.New(fault.Unavailable, "identity.issuer_down", "The keys of the token's issuer cannot be fetched. Try again in a moment.")
	ErrSuspended    = fault.New(fault.Forbidden, "identity.suspended", "This account is suspended. Ask the operator of this installation.")
	ErrNoPlace      = fault.New(fault.Forbidden, "identity.no_organization", "You belong to no organization in which you could work. Ask for an invitation.")
	ErrSignUp       = fault.New(fault.Forbidden, "identity.sign_up_closed", "Sign-up is closed on this installation. Ask its operator.")
	ErrInviteOnly   = fault.New(fault.Forbidden, "identity.invitation_needed", "Sign-up needs an invitation on this installation. Ask a member to invite you.")
	ErrNotKnown     = fault.New(fault.Forbidden, "identity.not_registered", "The token is valid, but nobody here has this identity. Sign up first.")
	ErrLinkRefused  = fault.New(fault.Conflict, "identity.link_refused", "A user with this e-mail address exists, and this sign-in does not prove to be theirs. Sign in as before.")
	ErrEmailTaken   = fault.New(fault.Conflict, "identity.email_taken", "A user with this e-mail address exists. Sign in, or reset the password.")
	ErrWeakPassword = fault.New(fault.Invalid, "identity.weak_password", "The password is too easy to guess. Use at least 8 characters, not a common word with a number, and not your name or address.")
	ErrName         = fault.New(fault.Invalid, "identity.bad_name", "A name has at most 100 characters, without control characters.")
	ErrLink         = fault.New(fault.Invalid, "identity.bad_link", "This link is not valid any more: it was used or is too old. Ask for a new one.")
	ErrNoUser       = fault.New(fault.NotFound, "identity.no_user", "There is no such user. List the organization's people to find the id.")
	ErrNoSession    = fault.New(fault.NotFound, "identity.no_session", "There is no such session, or it has ended. List your sessions to find the id.")
	ErrNeedSession  = fault.New(fault.Forbidden, "identity.session_needed", "This needs a session of Headgate's own. Sign in with e-mail and password.")
)

var errEnded = ErrTokenInvalid.Saying("This session has ended. Sign in again.")
