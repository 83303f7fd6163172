package rawmcp

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Era is what revisions a server speaks.
type Era uint8

// The eras.
const (
	Both   Era = iota
	Legacy     // 2025-11-25 and older: initialize and sessions
	Modern     // 2026-07-28: server/discover, no session
)

// Options tune a server. The zero value is a server of both eras with the
// tools of the table alone.
type Options struct {
	Address string // 127.0.0.1:0 when empty
	Era     Era
	Tools   int // the least number of tools to list, filled up with tool_000 …
}

// Server is a running server.
type Server struct {
	era      Era
	listener net.Listener
	sessions atomic.Int64
	calls    atomic.Int64
	list     atomic.Pointer[[]byte] // the result of tools/list

	mu      sync.Mutex
	conns   map[net.Conn]bool // true for one whose client listens to GET
	closed  bool
	working sync.WaitGroup
}

// Listen starts a server.
func Listen(o Options) (*Server, error) {
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, err
	}
	s := &Server{era: o.Era, listener: l, conns: map[net.Conn]bool{}}
	s.SetTools(o.Tools)
	s.working.Go(s.accept)
	return s, nil
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the MCP endpoint.
func (s *Server) URL() string { return "http://" + s.Addr() + "/mcp" }

// Calls returns how many tools/call requests have arrived.
func (s *Server) Calls() int64 { return s.calls.Load() }

// Sessions returns how many initialize requests have been answered.
func (s *Server) Sessions() int64 { return s.sessions.Load() }

// SetTools changes the number of tools listed; tell clients with Notify.
func (s *Server) SetTools(n int) {
	list := List(n)
	s.list.Store(&list)
}

// Notify sends a notification without parameters, such as
// notifications/tools/list_changed, to every client that listens to GET, and
// returns how many there are.
func (s *Server) Notify(method string) int {
	message := event(nil, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q}`, method))
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c, listens := range s.conns {
		if listens {
			n++
			_, _ = c.Write(message) // a client that has gone is noticed by its reader
		}
	}
	return n
}

// Close ends the server and every connection, also in the middle of an answer.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.working.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			_ = c.Close()
		} else {
			s.conns[c] = false
			s.working.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	in := reader{in: bufio.NewReader(c)}
	var out []byte
	for {
		req, err := in.next()
		if err != nil {
			return
		}
		if out, err = s.handle(c, req, out[:0]); err != nil {
			return
		}
		if len(out) > 0 {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

// handle appends the answer to out, or writes to the connection by itself.
// An error ends the connection.
func (s *Server) handle(c net.Conn, req request, out []byte) ([]byte, error) {
	switch {
	case req.verb == "POST":
		return s.message(c, req, out)
	case s.era == Modern:
		return response(out, "405 Method Not Allowed", ""), nil
	case req.verb == "DELETE":
		return response(out, "200 OK", ""), nil
	}
	if _, err := c.Write([]byte(stream)); err != nil {
		return out, err
	}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	return out, gone(c)
}

// message answers a JSON-RPC message.
func (s *Server) message(c net.Conn, req request, out []byte) ([]byte, error) {
	var id, method, params []byte
	members(req.body, func(key, value []byte) bool {
		switch string(key) {
		case "id":
			id = value
		case "method":
			method = Text(value)
		case "params":
			params = value
		}
		return true
	})
	modern := req.version >= modernVersion
	switch {
	case len(method) == 0 && len(id) == 0:
		return failure(out, "400 Bad Request", []byte("null"), -32600, "not a message"), nil
	case len(id) == 0 || len(method) == 0:
		return response(out, "202 Accepted", ""), nil
	case modern && s.era == Legacy:
		return failure(out, "400 Bad Request", id, -32000, "Bad Request: Unsupported protocol version"), nil
	case !modern && s.era == Modern:
		return failure(out, "400 Bad Request", id, -32022, "unsupported protocol version", `{"supported":["`+modernVersion+`"]}`), nil
	}
	switch string(method) {
	case "tools/call":
		s.calls.Add(1)
		return callTool(c, call{id: id, params: params, modern: modern}, out)
	case "tools/list":
		return result(out, "", id, *s.list.Load()), nil
	case "initialize":
		session := "Mcp-Session-Id: s" + strconv.FormatInt(s.sessions.Add(1), 10) + "\r\n"
		return result(out, session, id, initialized(Text(Member(params, "protocolVersion")))), nil
	case "server/discover":
		if modern {
			return result(out, "", id, []byte(discovered)), nil
		}
	case "ping":
		return result(out, "", id, []byte("{}")), nil
	}
	return failure(out, map[bool]string{true: "404 Not Found", false: "200 OK"}[modern], id, -32601, "method not found"), nil
}

// gone waits until the client has closed its connection, or we have.
func gone(c net.Conn) error {
	for b := make([]byte, 256); ; {
		if _, err := c.Read(b); err != nil {
			return err
		}
	}
}

const modernVersion = "2026-07-28"

const serverInfo = `{"name":"rawmcp","version":"1"}`

const discovered = `{"resultType":"complete","supportedVersions":["` + modernVersion + `"],"capabilities":{"tools":{"listChanged":true}},` +
	`"ttlMs":60000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":` + serverInfo + `}}`

var legacyVersions = []string{"2025-11-25", "2025-06-18", "2025-03-26"}

// initialized is the result of initialize: the version asked for, when known.
func initialized(version []byte) []byte {
	v := string(version)
	if !slices.Contains(legacyVersions, v) {
		v = legacyVersions[0]
	}
	return []byte(`{"protocolVersion":"` + v + `","capabilities":{"tools":{"listChanged":true}},"serverInfo":` + serverInfo + `}`)
}
