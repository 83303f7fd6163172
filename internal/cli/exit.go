package cli

// The exit codes. They never change their meaning.
const (
	exitInternal    = 1
	exitUsage       = 2
	exitSignIn      = 3
	exitForbidden   = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitUnpaid      = 7
	exitThrottled   = 8
	exitUnavailable = 9
	exitToolError   = 10
	exitInterrupted = 130
)

// codes are what help says of them.
var codes = []struct {
	code  int
	means string
}{
	{0, "done"},
	{exitInternal, "something went wrong on Headgate's side"},
	{exitUsage, "the command line or the input is not valid"},
	{exitSignIn, "no credential, or not a valid one"},
	{exitForbidden, "the credential may not do that"},
	{exitNotFound, "there is no such thing, or it is not yours"},
	{exitConflict, "it exists already, or its state does not allow that"},
	{exitUnpaid, "too few credits, or beyond the plan or the budget"},
	{exitThrottled, "too many requests: wait and repeat"},
	{exitUnavailable, "the server cannot be reached or is not ready, or the MCP server behind it failed"},
	{exitToolError, "the tool ran and said it failed (isError)"},
	{exitInterrupted, "interrupted"},
}

// exitOf returns the exit code of a failure of the Platform API.
func exitOf(status int, code string) int {
	switch status {
	case 400, 405, 412, 413, 415, 422:
		return exitUsage
	case 401:
		return exitSignIn
	case 402:
		return exitUnpaid
	case 403:
		return exitForbidden
	case 404, 410:
		return exitNotFound
	case 202, 409: // 202: a person must approve it first
		return exitConflict
	case 429:
		return exitThrottled
	case 502, 503, 504:
		return exitUnavailable
	}
	if code == "MCP_SERVICE_ERROR" {
		return exitUnavailable
	}
	return exitInternal
}
