package wire

import (
	"bytes"
	"io"
	"strings"
	"sync/atomic"
)

// DefaultMaxBody is the most ReadAll and NextEvent accept when not told otherwise.
const DefaultMaxBody = 16 << 20

// source is the connection an answer comes from.
type source interface {
	io.Reader
	// glance reads what is there already, without waiting.
	glance(p []byte) int
	// fault turns an error of Read into one of the package's.
	fault(err error) error
	// finish gives the connection back; reuse says that the next answer may come on it.
	finish(reuse bool)
}

// framing is how the end of a body is known.
type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// Response is an answer whose head has been read. It is for one goroutine.
//
// Its buffer holds the head, decoded bytes of the body that nobody has taken,
// and bytes as they came from the connection, in this order:
//
//	[0:body] head  [d0:d1] decoded  [r0:r1] raw
type Response struct {
	Status int
	Kind   ContentKind

	head    head
	rc      *recycler
	src     source        // nil once the connection was given back
	hint    *atomic.Int32 // where to leave the class of buffer that was needed; may be nil
	spoiled bool          // the connection is of no further use, whatever the answer says
	buf     *buffer
	body    int
	d0, d1  int
	r0, r1  int
	framing framing
	left    int64 // of the body, or of the present chunk
	chunk   chunkState
	extra   int // bytes of chunk framing beyond the usual
	done    bool
	err     error // what every further read returns
	sse     events
}

// Header returns a field of the answer: Content-Type, Mcp-Session-Id,
// Retry-After, WWW-Authenticate (several joined by a comma) or Allow, and ""
// for any other and for one that did not come.
func (r *Response) Header(name string) string {
	switch strings.ToLower(name) {
	case "content-type":
		return r.field(contentType)
	case "mcp-session-id":
		return r.field(sessionID)
	case "retry-after":
		return r.field(retryAfter)
	case "allow":
		return r.field(allow)
	case "www-authenticate":
		var all []string
		for i := authenticate; i < lastField; i++ {
			if r.head.fields[i] != (span{}) {
				all = append(all, r.field(i))
			}
		}
		return strings.Join(all, ", ")
	}
	return ""
}

func (r *Response) field(i int) string {
	s := r.head.fields[i]
	return string(r.buf.b[s.from:s.to])
}

// ReadAll returns the rest of the body, at most max bytes (DefaultMaxBody when
// max is not positive; ErrTooLarge beyond). The bytes are good until Release.
func (r *Response) ReadAll(max int) ([]byte, error) {
	if max <= 0 {
		max = DefaultMaxBody
	}
	if r.err != nil && r.err != io.EOF {
		return nil, r.err
	}
	if r.framing == byLength && r.left > int64(max-(r.d1-r.d0)) {
		return nil, r.fail(ErrTooLarge)
	}
	for !r.done {
		if r.framing == byLength {
			r.reserve()
		}
		if err := r.more(); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if r.d1-r.d0 > max {
			return nil, r.fail(ErrTooLarge)
		}
	}
	r.giveBack()
	return r.buf.b[r.d0:r.d1], nil
}

// Close gives the connection back: to the pool when the answer was read to its
// end, or the little that is missing has come; else it is closed. What was
// read stays readable. Closing twice is closing once.
func (r *Response) Close() {
	if r.src == nil {
		return
	}
	if !r.done && r.err == nil && !r.ended() {
		r.done, r.err = false, errClosed
	}
	r.giveBack()
}

// ended looks for the end of the body in what has come. A stream's last event
// is mostly followed at once by the stream's end, which nobody reads for;
// without this look each stream would cost a connection. Nothing is moved, so
// that the last event stays readable.
func (r *Response) ended() bool {
	if r.framing == byClose || r.decode() != nil {
		return false
	}
	if !r.done && r.r1 < len(r.buf.b) {
		r.r1 += r.src.glance(r.buf.b[r.r1:])
		return r.decode() == nil && r.done
	}
	return r.done
}

// Release closes the response and recycles it with its buffer: neither it nor
// any bytes it returned may be used afterwards. Call it once, or never.
func (r *Response) Release() {
	r.Close()
	rc := r.rc
	rc.free(r.buf)
	*r = Response{sse: r.sse.recycled()}
	rc.responses.Put(r)
}

func (r *Response) giveBack() {
	if r.src == nil {
		return
	}
	src := r.src
	r.src = nil
	if class := int32(classOf(r.r1)); r.hint != nil && class >= 0 && r.hint.Load() != class {
		r.hint.Store(class)
	}
	src.finish(r.done && r.framing != byClose && !r.head.close && r.r0 == r.r1 && !r.spoiled)
}

// fail ends the exchange with err.
func (r *Response) fail(err error) error {
	r.err = err
	r.giveBack()
	return err
}

// readHead reads up to the body of the final answer.
func (r *Response) readHead() error {
	for range maxInterim {
		r.head = head{}
		if err := r.nextHead(); err != nil {
			return r.fail(err)
		}
		if r.head.status >= 200 {
			r.startBody()
			return nil
		}
		if r.head.status == 101 {
			return r.fail(protocol("a switch of protocols nobody asked for"))
		}
	}
	return r.fail(protocol("too many interim answers"))
}

func (r *Response) nextHead() error {
	for first := true; ; first = false {
		line, at, err := r.headLine()
		switch {
		case err != nil:
			return err
		case first:
			err = r.head.statusLine(line)
		case len(line) == 0:
			return r.head.finish()
		default:
			err = r.head.field(line, at)
		}
		if err != nil {
			return err
		}
	}
}

// headLine returns the next line of the head, and where in the buffer it is.
func (r *Response) headLine() (line []byte, at int, err error) {
	scanned := r.r0
	for {
		if i := bytes.IndexByte(r.buf.b[scanned:r.r1], '\n'); i >= 0 {
			at, end := r.r0, scanned+i
			if end == at || r.buf.b[end-1] != '\r' {
				return nil, 0, protocol("a line that does not end in CR LF")
			}
			if end >= maxHead {
				return nil, 0, protocol("the head is too long")
			}
			r.r0 = end + 1
			return r.buf.b[at : end-1], at, nil
		}
		scanned = r.r1
		if r.r1 >= maxHead {
			return nil, 0, protocol("the head is too long")
		}
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = ErrSent.Because(errNoAnswer)
			}
			return nil, 0, err
		}
	}
}

func (r *Response) startBody() {
	r.Status, r.Kind = r.head.status, r.head.kind
	r.body, r.d0, r.d1 = r.r0, r.r0, r.r0
	switch {
	case r.Status == 204 || r.Status == 304:
		r.done = true
	case r.head.chunked:
		r.framing = byChunks
	case r.head.sized:
		r.framing, r.left = byLength, r.head.length
		r.done = r.left == 0
	default:
		r.framing = byClose
	}
	if r.done {
		r.giveBack()
	}
}
