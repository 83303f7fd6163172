package template

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrNotFound   = fault.New(fault.NotFound, "template.not_found", "There is no such template. List the templates to see those that you may use.")
	ErrExists     = fault.New(fault.Conflict, "template.exists", "There is a template of this name. Choose another name, or delete that one.")
	ErrName       = fault.New(fault.Invalid, "template.name", "A template's name has 1 to 100 printable characters, with a letter or digit of a-z and 0-9.")
	ErrFiles      = fault.New(fault.Invalid, "template.files", "A template has 1 to 200 files of plain relative paths, 1 MiB together. Leave some out, or correct their paths.")
	ErrRecipe     = fault.New(fault.Invalid, "template.recipe", "The recipe cannot be read.")
	ErrTooMany    = fault.New(fault.Conflict, "template.too_many", "The organization has as many templates as it may have. Delete one first.")
	ErrMissingEnv = fault.New(fault.Precondition, "template.missing_env", "Secrets that the recipe requires are not set. Set them in the organization, then import again. Nothing was made.")
	ErrMode       = fault.New(fault.Invalid, "template.mode", "The mode is merge or reconcile.")
	ErrBundle     = fault.New(fault.Invalid, "template.bundle", "The bundle cannot be read. Send one as it was exported.")
	ErrDigest     = fault.New(fault.Invalid, "template.digest", "The bundle was changed since it was exported. Export it again, or leave its manifest out if the change is meant.")
	ErrPlan       = fault.New(fault.Conflict, "template.plan", "This plan is for something else, was applied before, or is older than an hour. Plan again.")
	ErrNoImport   = fault.New(fault.NotFound, "template.no_import", "There is no such import, or it is not yours. Use the id that the import answered with.")
	ErrPlanNeeded = fault.New(fault.Precondition, "template.plan_needed", "Plan this import first (dryRun), then apply it by its planId.")
)
