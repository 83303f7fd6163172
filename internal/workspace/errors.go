package workspace

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNotFound     = fault.New(fault.NotFound, "workspace.not_found", "There is no such workspace, or it is not yours. List the workspaces to see those that you may use.")
	ErrGone         = fault.New(fault.Gone, "workspace.gone", "This workspace was removed. Provision another one, or import a bundle of it.")
	ErrName         = fault.New(fault.Invalid, "workspace.name", "A workspace's name has 1 to 100 printable characters.")
	ErrSlug         = fault.New(fault.Invalid, "workspace.slug", "A slug has 1 to 32 of a-z, 0-9 and -, and does not begin with -.")
	ErrText         = fault.New(fault.Invalid, "workspace.text", "This text of the workspace is too long or holds control characters. Shorten it, or take them out.")
	ErrTier         = fault.New(fault.Invalid, "workspace.tier", "A tier is 1, 2, 3 or 4.")
	ErrRuntime      = fault.New(fault.Unsupported, "workspace.runtime", "The runtime is builtin or external; others are not supported.").With("reason", "RUNTIME_UNSUPPORTED")
	ErrParent       = fault.New(fault.Invalid, "workspace.parent", "A workspace's parent is another workspace of the organization, not one below it, at most eight levels deep.")
	ErrSlugTaken    = fault.New(fault.Conflict, "workspace.slug_taken", "Another workspace of the organization has this slug. Choose another one.")
	ErrNameTaken    = fault.New(fault.Conflict, "workspace.name_taken", "Another workspace of the organization has this name. Choose another one.")
	ErrDefault      = fault.New(fault.Conflict, "workspace.default", "The organization has a default workspace. Use that one.")
	ErrKeepDefault  = fault.New(fault.Conflict, "workspace.keep_default", "The organization's default workspace cannot be removed. Remove the servers in it instead.")
	ErrTooMany      = fault.New(fault.Conflict, "workspace.too_many", "The organization has as many workspaces as it may have. Remove one first.")
	ErrPaused       = fault.New(fault.Conflict, "workspace.paused", "This workspace is paused. Resume it first; nothing was called and nothing is charged.")
	ErrFailed       = fault.New(fault.Conflict, "workspace.failed", "This workspace failed to start. Mend what its status reason names, then restart it; nothing was called and nothing is charged.")
	ErrParentPaused = fault.New(fault.Conflict, "workspace.parent_paused", "A workspace above this one is paused. Resume that one first.")
	ErrPausedBefore = fault.New(fault.NotFound, "workspace.paused_before", "There is no running workspace of this name: it is paused already. Nothing is left to do.")
	ErrNotPaused    = fault.New(fault.NotFound, "workspace.not_paused", "There is no paused workspace of this name: it is not paused. Nothing is left to do.")
	ErrConfirmName  = fault.New(fault.Invalid, "workspace.confirm_name", "Removing a workspace needs its exact name as confirmation (header X-Confirm-Name). Send it if you mean to.").With("reason", "destructive_action_requires_confirmation")
	ErrConfirmTree  = fault.New(fault.Conflict, "workspace.confirm_children", "This workspace has workspaces below it, which are removed with it. Confirm that with confirm=true.").With("reason", "confirmation_required")
	ErrFiles        = fault.New(fault.Invalid, "workspace.files", "A workspace has at most 200 files of plain relative paths, 1 MiB together. Leave some out, or correct their paths.")
	ErrMode         = fault.New(fault.Invalid, "workspace.billing_mode", "The billing mode is platform_managed, byok or disabled, or null to clear it.")
)
