package workspace

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNotFound  = fault.New(fault.NotFound, "workspace.not_found", "There is no such workspace, or it is not yours.")
	ErrName      = fault.New(fault.Invalid, "workspace.name", "A workspace's name has 1 to 100 printable characters.")
	ErrSlug      = fault.New(fault.Invalid, "workspace.slug", "A slug has 1 to 32 of a-z, 0-9 and -, and does not begin with -.")
	ErrSlugTaken = fault.New(fault.Conflict, "workspace.slug_taken", "Another workspace of the organization has this slug. Choose another one.")
	ErrDefault   = fault.New(fault.Conflict, "workspace.default", "The organization has a default workspace.")
	ErrTooMany   = fault.New(fault.Conflict, "workspace.too_many", "The organization has as many workspaces as it may have. Remove one first.")
	ErrPaused    = fault.New(fault.Conflict, "workspace.paused", "This workspace is paused. Resume it first; nothing was called and nothing is charged.")
	ErrNotPaused = fault.New(fault.Conflict, "workspace.not_paused", "This workspace is not paused.")
)
