// Package bridge is a stdio MCP server that relays to an MCP endpoint over
// Streamable HTTP, for clients that can only start a program.
//
// It owns the transport and nothing above it: lines in become POSTs, answers
// and events become lines out, byte for byte. It adds what the HTTP transport
// wants and stdio does not have: the credential, the session id of legacy
// revisions, MCP-Protocol-Version, and the mirrored headers of the modern one
// (Mcp-Method, Mcp-Name, and Mcp-Param-* for tools it saw in a list).
//
// Promises: every request gets exactly one answer, an error if need be, unless
// the client cancelled it; requests run side by side, notifications and answers
// to the server keep their order; a session that the server lost is opened
// again behind the client with the initialize it sent; nothing but messages is
// written to the output. A modern request is cancelled by hanging up, a legacy
// one by its notification.
package bridge
