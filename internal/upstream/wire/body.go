package wire

import (
	"bytes"
	"io"
)

const (
	minRead      = 512       // less room than this is not worth a read
	reserveStep  = 256 << 10 // room made at once on the word of a Content-Length
	maxChunkLine = 256
	maxExtra     = 16 << 10 // chunk framing an answer may waste, trailers included
)

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkTrailer
)

// more decodes at least one more byte of the body. It returns io.EOF at the
// clean end and a fault when there is none.
func (r *Response) more() error {
	if r.err != nil {
		return r.err
	}
	before := r.d1 - r.d0
	for {
		if err := r.decode(); err != nil {
			return r.fail(err)
		}
		if r.d1-r.d0 > before {
			return nil
		}
		if r.done {
			r.giveBack()
			r.err = io.EOF
			return io.EOF
		}
		err := r.fill()
		switch {
		case err == nil:
		case err != io.EOF:
			return r.fail(err)
		case r.framing != byClose:
			return r.fail(ErrSent.Because(errEarlyEnd))
		default:
			r.done = true
		}
	}
}

// fill reads once from the connection.
func (r *Response) fill() error {
	r.makeRoom(minRead)
	for range 16 { // a reader may return nothing now and then
		n, err := r.src.Read(r.buf.b[r.r1:])
		r.r1 += n
		switch {
		case n > 0:
			return nil
		case err == io.EOF:
			return err
		case err != nil:
			return r.src.fault(err)
		}
	}
	return r.src.fault(io.ErrNoProgress)
}

// makeRoom sees to n free bytes at the end of the buffer, by moving what is
// left to the front, and by a larger buffer when that is not enough.
func (r *Response) makeRoom(n int) {
	if len(r.buf.b)-r.r1 >= n {
		return
	}
	to := r.buf
	if used := r.body + (r.d1 - r.d0) + (r.r1 - r.r0); r.body == 0 || len(to.b)-used < max(n, len(to.b)/4) {
		to = r.rc.buffer(max(2*len(to.b), r.r1+n))
	}
	if r.body == 0 { // still in the head: offsets into it stay as they are
		copy(to.b, r.buf.b[:r.r1])
	} else {
		if to != r.buf {
			copy(to.b, r.buf.b[:r.body])
		}
		d := copy(to.b[r.body:], r.buf.b[r.d0:r.d1])
		raw := copy(to.b[r.body+d:], r.buf.b[r.r0:r.r1])
		r.d0, r.d1 = r.body, r.body+d
		r.r0, r.r1 = r.d1, r.d1+raw
	}
	if to != r.buf {
		r.rc.free(r.buf)
		r.buf = to
	}
}

// reserve makes room for what Content-Length announces, but never much more
// than has come: an announcement costs an upstream nothing.
func (r *Response) reserve() {
	missing := r.left - int64(r.r1-r.r0)
	if missing > 0 {
		r.makeRoom(int(min(missing, int64(max(reserveStep, r.d1-r.d0)))))
	}
}

// decode moves what it can from raw to decoded.
func (r *Response) decode() error {
	switch r.framing {
	case byClose:
		r.take(r.r1 - r.r0)
	case byLength:
		r.takeLeft()
		r.done = r.left == 0
	case byChunks:
		return r.decodeChunks()
	}
	return nil
}

func (r *Response) takeLeft() {
	n := int(min(r.left, int64(r.r1-r.r0)))
	r.left -= int64(n)
	r.take(n)
}

// take moves n bytes from raw to decoded, without copying where it can.
func (r *Response) take(n int) {
	switch {
	case r.d0 == r.d1:
		r.d0, r.d1 = r.r0, r.r0+n
	case r.d1 == r.r0:
		r.d1 += n
	default:
		copy(r.buf.b[r.d1:], r.buf.b[r.r0:r.r0+n])
		r.d1 += n
	}
	r.r0 += n
	if r.r0 == r.r1 {
		r.r0, r.r1 = r.d1, r.d1
	}
}

func (r *Response) decodeChunks() error {
	for !r.done && r.r0 < r.r1 {
		if r.chunk == chunkData {
			r.takeLeft()
			if r.left == 0 {
				r.chunk = chunkEnd
			}
			continue
		}
		line, err := r.chunkLine()
		if line == nil || err != nil {
			return err
		}
		switch r.chunk {
		case chunkSize:
			err = r.startChunk(line)
		case chunkEnd:
			if len(line) != 0 {
				return protocol("a chunk is longer than it said")
			}
			r.chunk = chunkSize
		case chunkTrailer:
			r.extra += len(line)
			if r.done = len(line) == 0; !r.done {
				_, _, err = splitField(line) // it must be one, whatever it says
			}
		}
		if err != nil {
			return err
		}
		if r.extra > maxExtra {
			return protocol("too much chunk framing")
		}
	}
	return nil
}

// chunkLine returns the next line of framing without its CR LF, and nil while
// it is incomplete.
func (r *Response) chunkLine() ([]byte, error) {
	limit := maxChunkLine
	switch r.chunk {
	case chunkEnd:
		limit = 2
	case chunkTrailer:
		limit = maxExtra
	}
	raw := r.buf.b[r.r0:min(r.r1, r.r0+limit)]
	i := bytes.IndexByte(raw, '\n')
	if i < 0 {
		if len(raw) == limit {
			return nil, protocol("a line of chunk framing is too long")
		}
		return nil, nil
	}
	if i == 0 || raw[i-1] != '\r' {
		return nil, protocol("a line of chunk framing that does not end in CR LF")
	}
	r.r0 += i + 1
	return raw[: i-1 : i], nil
}

// startChunk reads "size" or "size;extension". What extensions say is ignored,
// but tiny chunks and long extensions add up to an error.
func (r *Response) startChunk(line []byte) error {
	digits, extension, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 || !printable(extension) {
		return protocol("bad chunk size")
	}
	var size int64
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return protocol("bad chunk size")
		}
		size = size<<4 | int64(c)
	}
	r.left = size
	r.chunk = chunkData
	if size == 0 {
		r.chunk = chunkTrailer
	}
	// As much framing as payload, and 16 bytes a chunk, is nobody's abuse.
	r.extra = max(0, r.extra+len(line)+4-16-2*int(min(size, maxExtra)))
	return nil
}
