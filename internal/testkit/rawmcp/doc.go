// Package rawmcp is an MCP server on raw HTTP/1.1 that costs next to nothing
// per call: the upstream of the benchmark, and of tests that want an upstream
// which counts, misbehaves on command, or speaks one era only.
//
// It knows both eras: initialize with a session, server/discover without.
// Its tools are named after what they do; see the table in tools.go. The echo
// tools return their argument text as they got it, so that a caller can tell
// its own answer from everybody else's.
//
// It promises to be exact where a gateway must be (ids, framing, events) and
// trusts its callers otherwise: it scans JSON without checking it. It listens on loopback, and Close ends
// everything it started.
package rawmcp
