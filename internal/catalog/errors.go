package catalog

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrServiceNotFound   = fault.New(fault.NotFound, "catalog.service_not_found", "There is no such service. List the services to see those that you may use.")
	ErrServerNotFound    = fault.New(fault.NotFound, "catalog.server_not_found", "There is no such server in this workspace. List the servers to see those that you may use.")
	ErrWorkspaceNotFound = fault.New(fault.NotFound, "catalog.workspace_not_found", "There is no such workspace. List the workspaces of your organization.")
	ErrUnconfigured      = fault.New(fault.Unconfigured, "catalog.unconfigured", "This service is not configured for you yet. Configure it with the fields of its config schema, then call again.")
	ErrNoSecret          = fault.New(fault.Unconfigured, "catalog.no_secret", "This server refers to a secret that is not there. Set the secret in the workspace or the organization, then call again.")
	ErrNotAllowed        = fault.New(fault.Forbidden, "catalog.not_allowed", "This service is not on the organization's allowlist. Ask those who manage the organization to add it.")
	ErrAllowlist         = fault.New(fault.Invalid, "catalog.bad_allowlist", "The allowlist names a service that the organization cannot use, or does not say who enables it. List the services to see those that you may name, and say who in enabledBy.")
	ErrSlugTaken         = fault.New(fault.Conflict, "catalog.slug_taken", "This slug is in use here. Choose another one.")
	ErrSlug              = fault.New(fault.Invalid, "catalog.bad_slug", "A slug is 1 to 32 lower-case letters, digits and hyphens, and begins with a letter or digit. The slugs w and t are reserved.")
	ErrInput             = fault.New(fault.Invalid, "catalog.invalid", "The service or server cannot be saved like this.")
	ErrTransport         = fault.New(fault.Unsupported, "catalog.transport", "This transport is not available. Register a server by its URL, over http (Streamable HTTP) or sse (the older HTTP+SSE).")
	ErrCommand           = fault.New(fault.Forbidden, "catalog.command", "Programs come only from the operator's catalog. Make a server of a service on offer, or register a Streamable HTTP server by its URL.")
	ErrSchema            = fault.New(fault.Invalid, "catalog.bad_schema", "The config schema cannot be used. Give a JSON Schema (2020-12) of an object.")
	ErrConfig            = fault.New(fault.Invalid, "catalog.bad_config", "The configuration does not match the service's config schema. Correct the listed fields.")
	ErrHeader            = fault.New(fault.Invalid, "catalog.bad_header", "A header of this server cannot be used.")
	ErrMoved             = fault.New(fault.Invalid, "catalog.other_origin", "The new URL has another origin (scheme, host or port), and what was stored for the old one is not sent there. Give the headers again in the same update, or remove them.")
	ErrPrice             = fault.New(fault.Invalid, "catalog.bad_price", "A price is a whole number of credits from 0 to 1,000,000,000.")
	ErrNotSeller         = fault.New(fault.Forbidden, "catalog.not_seller", "Prices are set by the seller. Leave them out, or ask whoever sells you this plan.")
	ErrTooMany           = fault.New(fault.Unpaid, "catalog.too_many_services", "Your plan has no room for another service. Remove one or change the plan.")
)
