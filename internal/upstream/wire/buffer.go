package wire

import "sync"

// classes are the sizes buffers come in: a power of four and room for a head.
// Larger ones are made to measure and left to the collector.
var classes = [...]int{4 << 10, 24 << 10, 72 << 10, 264 << 10, 1032 << 10}

// buffer is bytes on loan from a recycler.
type buffer struct {
	b     []byte
	class int // index into classes, or -1
}

// recycler keeps buffers and responses for the next exchange.
type recycler struct {
	buffers   [len(classes)]sync.Pool
	responses sync.Pool
}

// classOf returns the index of the smallest class that holds n bytes, or -1.
func classOf(n int) int {
	for i, size := range classes {
		if n <= size {
			return i
		}
	}
	return -1
}

// buffer returns a buffer of at least n bytes, with what others left in it.
func (rc *recycler) buffer(n int) *buffer {
	class := classOf(n)
	if class < 0 {
		return &buffer{b: make([]byte, n), class: class}
	}
	if b, ok := rc.buffers[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, classes[class]), class: class}
}

func (rc *recycler) free(b *buffer) {
	if b.class >= 0 {
		rc.buffers[b.class].Put(b)
	}
}

// response returns a response that reads from src, its buffer at least size bytes.
func (rc *recycler) response(src source, size int) *Response {
	r, ok := rc.responses.Get().(*Response)
	if !ok {
		r = new(Response)
	}
	r.rc, r.src, r.buf = rc, src, rc.buffer(size)
	return r
}
