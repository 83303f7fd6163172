// Package rawio reads and writes descriptors that never block with system
// calls of which Go's scheduler is not told.
//
// The usual calls tell it, since they might block: a thread that the kernel
// puts aside in the middle of one (which is what happens when a write to
// loopback wakes the reader) loses its processor to another thread, and the
// runtime's monitor stays awake every 20 µs to see to that. For a relay, whose
// work is small reads and writes, that is a tenth of its processor time and half
// of its context switches. A descriptor in non-blocking mode cannot block, so
// there is nothing to tell: the call returns at once, and where it says EAGAIN
// the runtime's poller waits as always. The runtime polls in the same way.
//
// It owns nothing but the moment of the call: deadlines, closing and waiting
// are the connection's own. Where it knows no such calls (systems other than
// Linux, connections that are not of this process's kernel) it hands
// connections back as they are.
//
// See docs/decisions/0016-raw-calls.md.
package rawio

import "errors"

// ErrStale means that a connection has ended, or brings bytes nobody asked for.
var ErrStale = errors.New("the connection has ended, or says something unasked")
