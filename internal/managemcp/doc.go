// Package managemcp is the MCP door through which an agent operates an
// organization: over HTTP at /manage/mcp, and over stdio against any Headgate.
//
// It owns names alone: which operation of the Platform API a tool is, and how
// its arguments and answers are called. Schemas are derived from the Platform
// API's document, and every tool runs as a request to the same routes, with the
// caller's own credential; so permission, validation, limits and the audit
// trail are those of the Platform API, and none of its rules is here.
//
// Promises: a tool's arguments are validated before anything is called, and
// every failure is a result (a text {error, detail, status}, isError), never a
// protocol error; no value that was rejected comes back. The operator tier
// (list_orgs, get_org) is reached with the operator's key alone and makes no
// call without it. A missing organization header is 400 where there are several
// organizations, a wrong one a bare 404.
//
// It leaves to others: what the operations do (rest/platform), who the
// credentials are (Options.Authenticate), the MCP protocol (the SDK).
package managemcp
