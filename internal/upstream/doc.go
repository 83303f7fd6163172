// Package upstream speaks to MCP servers on behalf of callers, as bytes.
//
// It owns connections above HTTP: which era a server speaks (probed, cached,
// healed, pinned), sessions of legacy servers, lists of tools, resources,
// templates and prompts, streams of notifications, the breaker and the last
// exchange of each server. Upstream/wire moves the bytes.
//
// Promises: an answer is given only to the request with its id; a tools/call
// is never repeated once the server may have accepted it; a session that a
// server lost is opened again behind the caller, once, if nothing was
// delivered; a session id of a server is never shown to anybody; every
// exchange ends by its deadline with an answer of at most 16 MiB or one of the
// faults in errors.go; a server that fails costs others nothing and itself,
// after five failures, no more than a look; what a server told one set of
// credentials is not told another.
//
// Servers that are not reached by Streamable HTTP come in through Channel, an
// in-process http.Handler that speaks for them: the built-in servers do, and
// package stdio for programs. No connection lies in between.
//
// It leaves to others: translating a message from one era to the other
// (gateway), whether a call may be made and who pays (call), and which
// credentials a server gets (catalog.Binding).
package upstream
