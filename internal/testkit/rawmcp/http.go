package rawmcp

import (
	"bytes"
	"errors"
	"net"
	"strconv"
)

// maxRequest bounds a request; nobody sends one half that size on purpose.
const maxRequest = 16 << 20

var errRequest = errors.New("not a request we can read")

// request is what a call needs to know. Its slices are valid until the next read.
type request struct {
	verb    string
	session []byte // Mcp-Session-Id
	version []byte // MCP-Protocol-Version
	body    []byte
}

// reader reads requests off a connection, through one buffer it keeps.
type reader struct {
	conn net.Conn
	buf  []byte
	used int // bytes of the request handed out last
}

// next returns the next request, or an error at the end of the connection.
func (r *reader) next() (request, error) {
	r.buf = r.buf[:copy(r.buf, r.buf[r.used:])]
	r.used = 0
	head := -1
	for {
		if head = bytes.Index(r.buf, []byte("\r\n\r\n")); head >= 0 {
			break
		}
		if err := r.fill(4096); err != nil {
			return request{}, err
		}
	}
	head += 4
	req, length, err := parse(r.buf[:head])
	if err != nil || length > maxRequest {
		return request{}, errRequest
	}
	for len(r.buf) < head+length {
		if err := r.fill(head + length - len(r.buf)); err != nil {
			return request{}, err
		}
		req, _, _ = parse(r.buf[:head]) // fill may have moved the buffer under the head
	}
	req.body = r.buf[head : head+length]
	r.used = head + length
	return req, nil
}

// fill reads once, with room for at least n bytes.
func (r *reader) fill(n int) error {
	if len(r.buf)+n > cap(r.buf) {
		if len(r.buf) > maxRequest {
			return errRequest
		}
		r.buf = append(make([]byte, 0, 2*cap(r.buf)+n), r.buf...)
	}
	n, err := r.conn.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	return err
}

// parse reads the head of a request, its closing empty line included.
func parse(head []byte) (req request, length int, err error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	switch verb, _, _ := bytes.Cut(line, []byte(" ")); string(verb) {
	case "POST":
		req.verb = "POST"
	case "GET":
		req.verb = "GET"
	case "DELETE":
		req.verb = "DELETE"
	default:
		return req, 0, errRequest
	}
	for len(rest) > 2 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return req, 0, errRequest
		}
		value := bytes.TrimSpace(line[colon+1:])
		switch name := line[:colon]; {
		case named(name, "Content-Length"):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return req, 0, errRequest
			}
		case named(name, "Transfer-Encoding"):
			return req, 0, errRequest
		case named(name, "Mcp-Session-Id"):
			req.session = value
		case named(name, "Mcp-Protocol-Version"):
			req.version = value
		}
	}
	return req, length, nil
}

// named compares a header's name. Most differ in length.
func named(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// response appends a response with a length. head is further header lines.
func response(out []byte, status, head string, body ...[]byte) []byte {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	out = append(out, "HTTP/1.1 "...)
	out = append(out, status...)
	out = append(out, "\r\n"...)
	out = append(out, head...)
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(n), 10)
	out = append(out, "\r\n\r\n"...)
	for _, b := range body {
		out = append(out, b...)
	}
	return out
}

// stream is the head of an answer of unknown length.
const stream = "HTTP/1.1 200 OK\r\n" + sse + "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"

const (
	jsonType = "Content-Type: application/json\r\n"
	sse      = "Content-Type: text/event-stream\r\n"
	lastPart = "0\r\n\r\n"
)

// event appends a message as an event in a chunk of its own.
func event(out []byte, message ...[]byte) []byte {
	n := len("event: message\ndata: \n\n")
	for _, m := range message {
		n += len(m)
	}
	out = strconv.AppendInt(out, int64(n), 16)
	out = append(out, "\r\nevent: message\ndata: "...)
	for _, m := range message {
		out = append(out, m...)
	}
	return append(out, "\n\n\r\n"...)
}
