package diagnostics

import "headgate/internal/fault"

// The faults of this door.
var (
	errOtherKey   = fault.New(fault.BadCredential, "diagnostics.other_key", "This is no credential of the Diagnostics API. It takes a diagnostics key (sk_…) or a session.")
	errActing     = fault.New(fault.BadCredential, "diagnostics.acting", "Acting for somebody needs the credential of a first-party service, and both X-Headgate-Acting-As and X-Headgate-Acting-In-Org.")
	errActingAs   = fault.New(fault.Forbidden, "diagnostics.acting_as", "There is no such user in this organization.")
	errOtherOrg   = fault.New(fault.Forbidden, "diagnostics.other_organization", "This credential acts in another organization. Leave organizationId out, or use a key of that organization.")
	errMint       = fault.New(fault.Upstream, "diagnostics.mint", "The key could not be bound to its organization, so it was revoked again. Try again.")
	errNotReady   = fault.New(fault.Conflict, "diagnostics.organization_not_ready", "This organization is suspended, so keys of it would not work.")
	errNameTaken  = fault.New(fault.Conflict, "diagnostics.name_taken", "A server with this name exists in the project. Choose another name.")
	errNothing    = fault.New(fault.Invalid, "diagnostics.nothing", "Send at least one field to change.")
	errBelow      = fault.New(fault.Conflict, "diagnostics.below", "This project has workspaces below it. Remove those first.")
	errAsks       = fault.New(fault.Unsupported, "diagnostics.asks_back", "The server asks its caller something before it answers, or wants to answer later, which this API cannot pass on. Use the MCP endpoint of the Gateway.")
	errUnreadable = fault.New(fault.Upstream, "diagnostics.bad_result", "The MCP server's answer is not what MCP promises. Report it to whoever runs the server.")
	errAddress    = fault.New(fault.Invalid, "diagnostics.address", "This address cannot be used.")
)
