// Package lane serves the plainest HTTP/1.1 requests of plain TCP connections
// itself, in front of net/http: POSTs of one known form to the paths of calls,
// and GETs of event streams from them. Everything else goes to net/http untouched, with its connection, for good;
// so what an unusual request means is always net/http's own verdict.
//
// It owns the connections that have sent nothing unusual yet: their head
// parser, which takes less than net/http's and never reads anything
// differently; their requests and answers; one sweeper instead of timers and a
// reader per request, which ends what is late and cancels the request of a
// client that hung up. Handlers are the same http.Handlers, in the same order.
//
// It promises: a head has its absolute deadline, a body one by its length; an
// answer leaves in one write where it fits; framing of answers is made here,
// never copied from the handler; no connection serves a request after one that
// was not read or answered to its end; a stream that says nothing holds no
// buffer to read into; Shutdown is http.Server's.
//
// A handler may keep every string of a request. The URL and both Header maps
// belong to it until it returns: the next request of the connection uses them
// again. Writing after that is an error. There is no Hijack, 1xx or trailer.
//
// It leaves to others: counting and capping connections, writes that make no
// progress (both are the listener's), TLS.
package lane
