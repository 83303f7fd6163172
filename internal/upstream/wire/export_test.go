package wire

import "io"

type reader struct{ io.Reader }

func (reader) glance([]byte) int     { return 0 }
func (reader) fault(err error) error { return ErrSent.Because(err) }
func (reader) finish(bool)           {}

// ReadResponse reads an answer from plain bytes.
func ReadResponse(from io.Reader) (*Response, error) {
	r := new(recycler).response(reader{from}, 64)
	return r, r.readHead()
}

// BufferSize returns how much memory the response holds.
func (r *Response) BufferSize() int { return len(r.buf.b) }
