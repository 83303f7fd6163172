package diagnosis

import "headgate/internal/fault"

// The faults of this package.
var (
	ErrRefused    = fault.New(fault.Forbidden, "diagnosis.credentials_refused", "The MCP server does not accept the credentials it was sent. Configure others, or sign in to the server again.")
	ErrDown       = fault.New(fault.Upstream, "diagnosis.down", "The MCP server has failed several times in a row, so it is not asked for a moment. Examine it (doctor) to see what is wrong.")
	ErrFeature    = fault.New(fault.Unsupported, "diagnosis.feature", "The MCP server does not offer this.")
	ErrArguments  = fault.New(fault.Invalid, "diagnosis.arguments", "The MCP server does not accept these arguments. Its words are in details.")
	ErrNoTool     = fault.New(fault.NotFound, "diagnosis.no_tool", "The MCP server has no tool of this name. List its tools.")
	ErrNoPrompt   = fault.New(fault.NotFound, "diagnosis.no_prompt", "The MCP server has no prompt of this name. List its prompts.")
	ErrNoResource = fault.New(fault.NotFound, "diagnosis.no_resource", "The MCP server has no such resource. List its resources.")
	ErrRPC        = fault.New(fault.Upstream, "diagnosis.rpc_error", "The MCP server answered with an error. See details.")
	ErrBusy       = fault.New(fault.Unavailable, "diagnosis.busy", "As many diagnoses are under way as may be at once. Try again in a moment.")
	ErrNoReport   = fault.New(fault.NotFound, "diagnosis.no_report", "There is no such report. List the reports to see those that are kept.")
	ErrNoSchedule = fault.New(fault.NotFound, "diagnosis.no_schedule", "This server has no schedule.")
	ErrCron       = fault.New(fault.Invalid, "diagnosis.cron", "A schedule is a cron expression of five fields in UTC (minute hour day month weekday), such as 0 6 * * 1-5, at most once in five minutes.")
	ErrSchedules  = fault.New(fault.Conflict, "diagnosis.too_many_schedules", "The organization has as many schedules as it may have. Remove one first.")
	ErrClosed     = fault.New(fault.Invalid, "diagnosis.closed", "This address lies in a network that is closed to servers (private, link-local, or this machine). Give a public address; the operator can open networks with the setting allow-networks.")
	ErrLocal      = fault.New(fault.Invalid, "diagnosis.headers", "At most 16 headers may be sent along.")
)
