package lane

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxDrain is how much of a body the handler left is read, to keep the
// connection; net/http's bound.
const maxDrain = 256 << 10

// body is a request's body: what came with the head, then the connection.
type body struct {
	c      *conn
	mu     sync.Mutex
	left   int64
	broken error
	closed bool
}

// Read implements io.Reader. The client has until the body's deadline.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	switch {
	case b.left == 0:
		return 0, io.EOF
	case b.broken != nil:
		return 0, b.broken
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.left)]
	if c := b.c; c.start < c.end {
		n = copy(p, c.buf[c.start:c.end])
		c.start += n
	} else {
		c.wait()
		n, err = c.net.Read(p)
		c.resume()
	}
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	b.broken = err
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// drain reads what the handler left, so that clients that send all before
// they read get their answer. It reports whether the next request follows.
func (b *body) drain() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		return true
	}
	b.closed = true
	if b.left > maxDrain {
		return false
	}
	scratch := make([]byte, min(b.left, 16<<10))
	for b.left > 0 {
		if n, err := b.read(scratch); n == 0 && err != nil {
			return false
		}
	}
	return true
}

// release lets go of the connection's buffer when nothing unread is in it: the
// answer may be a stream that stays for hours and says nothing. Whoever reads
// next finds none and takes another.
func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.c
	if b.left > 0 || c.start < c.end || c.buf == nil {
		return
	}
	if len(c.buf) == firstBuffer {
		c.lane.ins.Put((*[firstBuffer]byte)(c.buf))
	}
	c.buf, c.start, c.end = nil, 0, 0
}

func (b *body) unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left > 0
}
