// Package gateway is the MCP door: what agents, IDEs and other MCP clients
// speak to, at /mcp and below.
//
// It owns endpoints (which servers a URL stands for), the sessions of legacy
// clients, the merging of several servers' lists under one roof, streams, and
// how faults are said in JSON-RPC. One HTTP request is one message: post reads
// it, scans it strictly, decides its era, and hands it to the method's
// function. Uses of tools, resources and prompts go through call.Do.
//
// Promises: what is relayed between two sides of one era is relayed as bytes,
// with only names, ids on shared channels and credentials rewritten; a legacy
// session is ours, sealed, bound to its principal, and outlives a restart with
// its level and subscriptions, which are the same at every replica, unless its
// client has ended it (notes); a list depends on the URL and the credential
// alone and never waits for a server that hangs; a modern client that hangs up
// cancels its call, a legacy one does not; another principal's session looks
// like none.
//
// It leaves to others: who calls (apikey, identity), money and logs (call),
// servers (upstream), the wire's grammar (mcp).
package gateway
