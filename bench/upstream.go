package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"headgate/internal/testkit/rawmcp"
)

// usual is an MCP server of 2025-11-25 behind net/http's own server, as most
// are that are written in Go, that does nothing but return a text: what
// everything else stands in front of. It costs what the server did that the
// bars were set with; docs/decisions/0019-yardstick.md says how one can tell.
type usual struct {
	calls, sessions atomic.Int64
	list            []byte    // the result of tools/list
	buffers         sync.Pool // of *exchange
	server          http.Server
	addr            string
}

// exchange is a request's body and what is answered.
type exchange struct{ in, out bytes.Buffer }

// listen starts a server that lists as many tools.
func listen(tools int) (*usual, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &usual{list: rawmcp.List(tools), addr: l.Addr().String()}
	s.buffers.New = func() any { return &exchange{} }
	s.server.Handler = s
	go func() { _ = s.server.Serve(l) }() // until Close
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *usual) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		x := s.buffers.Get().(*exchange)
		defer s.buffers.Put(x)
		x.in.Reset()
		x.out.Reset()
		if _, err := x.in.ReadFrom(io.LimitReader(r.Body, 16<<20)); err == nil {
			s.answer(w, x)
		}
	case http.MethodGet: // a listener, who never hears anything
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// answer answers one message.
func (s *usual) answer(w http.ResponseWriter, x *exchange) {
	body := x.in.Bytes()
	id := rawmcp.Member(body, "id")
	if id == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	event := false
	switch string(rawmcp.Text(rawmcp.Member(body, "method"))) {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", "s"+strconv.FormatInt(s.sessions.Add(1), 10))
		x.result(id, []byte(`{"protocolVersion":"`+legacyRevision+`","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"usual","version":"1"}}`))
	case "ping":
		x.result(id, []byte("{}"))
	case "tools/list":
		x.result(id, s.list)
	case "tools/call":
		s.calls.Add(1)
		params := rawmcp.Member(body, "params")
		if event = string(rawmcp.Text(rawmcp.Member(params, "name"))) == "echo_sse"; event {
			x.out.WriteString("event: message\ndata: ")
		}
		text := rawmcp.Text(rawmcp.Member(rawmcp.Member(params, "arguments"), "text"))
		x.result(id, []byte(`{"content":[{"type":"text","text":"`), text, []byte(`"}]}`))
	default:
		x.member(id, "error", []byte(`{"code":-32601,"message":"method not found"}`))
	}
	kind := "application/json"
	if event {
		kind = "text/event-stream"
		x.out.WriteString("\n\n")
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(x.out.Len()))
	_, _ = w.Write(x.out.Bytes()) // who has gone asks again, or counts it as lost
}

func (x *exchange) result(id []byte, parts ...[]byte) { x.member(id, "result", parts...) }

func (x *exchange) member(id []byte, name string, parts ...[]byte) {
	x.out.WriteString(`{"jsonrpc":"2.0","id":`)
	x.out.Write(id)
	x.out.WriteString(`,"` + name + `":`)
	for _, p := range parts {
		x.out.Write(p)
	}
	x.out.WriteByte('}')
}

// Close ends the server and every connection.
func (s *usual) Close() { _ = s.server.Close() }
