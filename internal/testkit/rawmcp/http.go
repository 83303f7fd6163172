package rawmcp

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// maxRequest bounds a request; nobody sends one half that size on purpose.
const maxRequest = 16 << 20

// request is what a call needs to know. The body is valid until the next read.
type request struct {
	verb    string
	version string // MCP-Protocol-Version
	body    []byte
}

// reader reads requests off a connection with net/http's parser: what we accept
// is what any Go server does. The server around it is ours, because tools that
// misbehave want the connection, and because it costs a third.
type reader struct {
	in   *bufio.Reader
	body bytes.Buffer
}

// next returns the next request, or an error at the end of the connection.
func (r *reader) next() (request, error) {
	req, err := http.ReadRequest(r.in)
	if err != nil {
		return request{}, err
	}
	r.body.Reset()
	if _, err := r.body.ReadFrom(io.LimitReader(req.Body, maxRequest)); err != nil {
		return request{}, err
	}
	return request{req.Method, req.Header.Get("Mcp-Protocol-Version"), r.body.Bytes()}, nil
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
