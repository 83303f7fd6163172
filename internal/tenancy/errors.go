package tenancy

import (
	"time"

	"headgate/internal/fault"
)

// The faults of this package.
var (
	ErrNoTenant       = fault.New(fault.NotFound, "tenancy.no_tenant", "There is no such tenant. Look at its id again.")
	ErrNoOrganization = fault.New(fault.NotFound, "tenancy.no_organization", "There is no such organization, or you are no member of it. List yours to find the id.")
	ErrNoPlan         = fault.New(fault.NotFound, "tenancy.no_plan", "There is no such plan. List the plans to find its slug.")
	ErrNoMember       = fault.New(fault.NotFound, "tenancy.no_member", "There is no such member in this organization. List its people to find the id.")
	ErrNoInvitation   = fault.New(fault.NotFound, "tenancy.no_invitation", "There is no such invitation, or it is not open any more. List the open ones to find the id.")
	ErrInvitation     = fault.New(fault.Invalid, "tenancy.bad_invitation", "This invitation is not valid any more: it was used, revoked, or is older than seven days. Ask for a new one.")
	ErrNotInvited     = fault.New(fault.Forbidden, "tenancy.not_invited", "This invitation is for another e-mail address. Sign in with the invited one.")
	ErrTooMany        = fault.New(fault.Conflict, "tenancy.too_many_invitations", "Too many invitations are open. Revoke some first.")
	ErrMember         = fault.New(fault.Conflict, "tenancy.member_exists", "This person is a member of the organization already. Change their role instead.")
	ErrLastOwner      = fault.New(fault.Conflict, "tenancy.last_owner", "An organization needs an owner. Make somebody else owner first.")
	ErrOwnersOnly     = fault.New(fault.Forbidden, "tenancy.owners_only", "Only an owner may make owners or change them. Ask one.")
	ErrHome           = fault.New(fault.Conflict, "tenancy.home", "The home organization of a tenant cannot be removed or suspended; suspend the tenant.")
	ErrSuspended      = fault.New(fault.Forbidden, "tenancy.suspended", "This organization is suspended. Ask the operator of this installation.")
	ErrRole           = fault.New(fault.Invalid, "tenancy.bad_role", "The role must be owner, admin, developer, viewer or member.")
	ErrName           = fault.New(fault.Invalid, "tenancy.bad_name", "A name has 1 to 100 characters, without control characters.")
	ErrSlugTaken      = fault.New(fault.Conflict, "tenancy.slug_taken", "This slug is taken. Choose another.")
	ErrEmail          = fault.New(fault.Invalid, "tenancy.bad_email", "This is no e-mail address we can use. Send one like name@example.com.")
	ErrPlan           = fault.New(fault.Invalid, "tenancy.bad_plan", "A plan needs a slug, a name, and limits that are not negative.")
	ErrBodyPolicy     = fault.New(fault.Invalid, "tenancy.bad_body_policy", "The body policy must be off, metadata or full.")
	ErrLimit          = fault.New(fault.Unpaid, "tenancy.limit", "The plan's limit is reached. Choose a larger plan or free some.")
)

// Exceeded is ErrLimit with the details every door promises: what is limited,
// how much of it is allowed and used, and when the count starts again (nil
// when it does not).
func Exceeded(feature string, limit Limit, used int64, reset time.Time) error {
	var at any
	if !reset.IsZero() {
		at = reset.UTC().Format(time.RFC3339)
	}
	return ErrLimit.Saying("The plan allows %d %s, and %d are in use. Choose a larger plan or free some.", limit, feature, used).
		With("feature", feature).With("limit", int64(limit)).With("used", used).With("reset", at)
}
