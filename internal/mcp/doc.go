// Package mcp holds the wire facts of the Model Context Protocol, on raw bytes.
//
// It owns: the revisions and their two eras, method names, error codes, _meta
// keys and header names; the strict scanner (Scan, ScanReply) that turns a
// JSON-RPC message into an Envelope of spans; the splices that change a message
// without decoding it; the encoding of mirrored headers; the names of merged
// tools.
//
// It promises that one message has one meaning. What the scanner accepts is
// valid UTF-8 and valid JSON with no duplicate key, no key that only looks like
// a known one, no lone surrogate and nothing behind the message, so that the
// policy here and the parser of a server read the same call. Bytes are never
// re-encoded: integers above 2^53, key order and unknown members survive.
//
// A scan into a reused Envelope allocates nothing, and its cost is linear in
// the message, hostile ones included. Errors are faults that say what is wrong
// and where, never with the content.
//
// It leaves to others: transport, sessions, policy, and what a method means.
package mcp
