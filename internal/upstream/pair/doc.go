// Package pair speaks HTTP+SSE, the transport of 2024-11-05, to servers that
// have nothing newer, and is a handler of Streamable HTTP to the rest of
// Headgate.
//
// In that transport a client hears everything on one stream (GET), whose first
// event names the URL to post messages to. A session here is such a pair: it
// begins with initialize and ends with DELETE or with its stream.
//
// Promises: each answer goes to the request with its id; what the server says
// in between goes to the request it belongs to, as far as that can be told,
// and else to the session's own stream; the URL to post to has the origin of
// the stream, so that credentials go nowhere else; when the stream breaks,
// every request that waits fails at once, none is repeated; everything that
// waits is bounded.
//
// It leaves to others: which credentials a server gets, deadlines of calls and
// sessions that idle (upstream), bytes on the wire (wire).
package pair
