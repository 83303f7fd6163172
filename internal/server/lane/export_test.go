package lane

import (
	"context"
	"net/http"
)

// ReadHead reads a head that begins at b's first byte. It reports whether the
// lane takes it; where it ends; and what it is read as.
func ReadHead(b []byte, paths ...string) (r *http.Request, end int, ok bool) {
	return ReadNext(nil, b, paths...)
}

// ReadNext is ReadHead on a connection that had an earlier request, if any.
func ReadNext(earlier, b []byte, paths ...string) (r *http.Request, end int, ok bool) {
	c := &conn{header: http.Header{}, lane: &Lane{cfg: Config{Paths: paths}}}
	c.lane.outs.New = func() any { return new(buffer) }
	c.kept.init("192.0.2.1:1")
	for _, c.buf = range [][]byte{earlier, b} {
		c.end = len(c.buf)
		c.head.reset()
		if r, ok = nil, c.read() == hot; ok {
			r = c.request(context.Background(), &turn{})
		}
	}
	return r, c.head.end, ok
}

// Buffered is how many bytes the buffers of l's connections take, while each
// serves a request.
func Buffered(l *Lane) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		n += len(c.buf)
	}
	return n
}

// Waits reports that the head may still become one of the lane's.
func Waits(b []byte, paths ...string) bool {
	h := head{length: -1}
	return h.read(b, paths) == more
}
