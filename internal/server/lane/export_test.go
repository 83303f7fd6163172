package lane

import (
	"context"
	"net/http"
)

// ReadHead reads a head that begins at b's first byte. It reports whether the
// lane takes it; where it ends; and what it is read as.
func ReadHead(b []byte, paths ...string) (r *http.Request, end int, ok bool) {
	c := &conn{buf: b, end: len(b), header: http.Header{}, lane: &Lane{}}
	c.lane.outs.New = func() any { return new(buffer) }
	c.kept.init("192.0.2.1:1")
	c.head.reset()
	if c.head.read(b, paths) != hot {
		return nil, 0, false
	}
	return c.request(context.Background(), &turn{}), c.head.end, true
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
