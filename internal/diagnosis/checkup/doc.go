// Package checkup examines one MCP server and fills in a report.
//
// OverNetwork speaks HTTP to it by itself, through a guarded client, so that
// it sees what a client sees: certificates, redirects, challenges, headers,
// times. OverHub examines what is not reached over the network through the
// hub that calls use. The checks run in the order of a client's life, and the
// first thing that is wrong is the first thing to mend.
//
// It promises: every exchange is bounded in time and size; what failed before
// there was a connection reads alike for every cause, and takes its time in
// steps; credentials go to the server's own URL only; unless the caller asks for
// it (Options.Register, Options.Call), no client is registered and no tool runs
// at a server that looks at what it is sent (see paramHeader), and nothing is
// asked for that a server could not refuse.
package checkup
