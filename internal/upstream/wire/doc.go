// Package wire exchanges HTTP messages with upstream servers, as bytes.
//
// It owns connections to upstreams: Pool speaks HTTP/1.1 over TCP and TLS on
// its own connections, and is half of the path of every call; Transport does
// the same over net/http, for upstreams that need HTTP/2. Both dial through
// netguard only.
//
// It promises: a request is never sent twice once a byte of it may have left,
// so a tool runs at most once; an idle connection that died is noticed before
// use; every wait ends at the request's deadline or with its context, within
// some 20 ms; nothing an upstream sends can take more memory than the caller's
// limit and the head's 64 KiB; an answer that two readers could frame
// differently is refused (ErrProtocol); a connection is used again only when
// the answer ended exactly where it said; redirects are answers and bodies are
// never unpacked. Errors say whether anything was sent: ErrDial means nothing.
//
// One goroutine per Pool watches deadlines, contexts and idle connections, so
// that an exchange costs one look, one write, one read and no timer, and allocates
// nothing in the steady state.
//
// It leaves to others: JSON, sessions, retries, credentials, and the decision
// who pays for a failure.
package wire
