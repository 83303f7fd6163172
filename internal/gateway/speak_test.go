package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
)

// meta is what every message of the modern era says of itself.
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// rpc is a JSON-RPC message as tests look at it.
type rpc struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    json.RawMessage
	}
}

func parse(t testing.TB, text string) rpc {
	t.Helper()
	var m rpc
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("no JSON: %v in %.300q", err, text)
	}
	return m
}

// code is the JSON-RPC error code of an answer, 0 for a result.
func (r reply) code(t testing.TB) int {
	t.Helper()
	if m := parse(t, r.body); m.Error != nil {
		return m.Error.Code
	}
	return 0
}

// result returns the result of an answer that must have one.
func (r reply) result(t testing.TB) string {
	t.Helper()
	m := parse(t, r.body)
	if r.status != 200 || m.Result == nil {
		t.Fatalf("no result: %d %.500s", r.status, r.body)
	}
	return string(m.Result)
}

// modern sends a request of 2026-07-28 with the headers that mirror it.
// params is the inside of the object, without _meta.
func (h *house) modern(path, method, params string, headers ...string) reply {
	h.t.Helper()
	return h.do(h.modernRequest(context.Background(), path, method, params, headers...))
}

func (h *house) modernRequest(ctx context.Context, path, method, params string, headers ...string) *http.Request {
	h.t.Helper()
	if params != "" {
		params += ","
	}
	if !strings.Contains(params, `"_meta"`) {
		params += meta
	} else {
		params = strings.TrimSuffix(params, ",")
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)
	all := []string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + method}
	if by := mcp.NamedBy(method); by != "" {
		var m struct{ Params map[string]json.RawMessage }
		testkit.Must0(h.t, json.Unmarshal([]byte(body), &m))
		var name string
		testkit.Must0(h.t, json.Unmarshal(m.Params[by], &name))
		all = append(all, "Mcp-Name: "+mcp.EncodeHeader(name))
	}
	return h.request(ctx, "POST", path, body, append(all, headers...)...)
}

// legacy is a session of an older revision at an endpoint.
type legacy struct {
	h    *house
	path string
	rev  string
	id   string // none over HTTP+SSE

	opened string // the result of initialize
}

// initialize opens a session; capabilities are the client's, raw JSON.
func (h *house) initialize(path, rev, capabilities string) *legacy {
	h.t.Helper()
	r := h.send("POST", path, fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"test","version":"1"}}}`, rev, capabilities))
	s := &legacy{h: h, path: path, rev: rev, opened: r.result(h.t), id: r.header.Get("Mcp-Session-Id")}
	if s.id == "" {
		h.t.Fatalf("no session id: %v", r.header)
	}
	if got := s.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); got.status != 202 {
		h.t.Fatalf("notifications/initialized: %d %s", got.status, got.body)
	}
	return s
}

// openPair opens the stream of a client of HTTP+SSE and initializes; what is
// posted goes to the URL that the stream has named.
func (h *house) openPair(path, rev, capabilities string) (*events, *legacy) {
	h.t.Helper()
	e := h.events(h.request(h.t.Context(), "GET", path, ""))
	s := &legacy{h: h, rev: rev, path: e.message()}
	if got := s.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"test","version":"1"}}}`, rev, capabilities)); got.status != 202 {
		h.t.Fatalf("initialize: %d %s", got.status, got.body)
	}
	s.opened = string(e.want().Result)
	if got := s.post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`); got.status != 202 {
		h.t.Fatalf("notifications/initialized: %d %s", got.status, got.body)
	}
	return e, s
}

func (s *legacy) headers(more ...string) []string {
	if s.id == "" {
		return more
	}
	h := []string{"Mcp-Session-Id: " + s.id}
	if s.rev >= "2025-06-18" {
		h = append(h, "MCP-Protocol-Version: "+s.rev)
	}
	return append(h, more...)
}

// post sends a message in the session.
func (s *legacy) post(body string, headers ...string) reply {
	s.h.t.Helper()
	return s.h.send("POST", s.path, body, s.headers(headers...)...)
}

// call sends a request; params is the whole object.
func (s *legacy) call(method, params string) reply {
	s.h.t.Helper()
	return s.post(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params))
}

// events is an answer read event by event.
type events struct {
	t    testing.TB
	resp *http.Response
	in   *bufio.Reader
	id   string // of the last event
}

// open sends a request and returns its answer as it comes.
func (h *house) events(r *http.Request) *events {
	h.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	testkit.Must0(h.t, err)
	return newEvents(h.t, resp)
}

func newEvents(t testing.TB, resp *http.Response) *events {
	t.Cleanup(func() { resp.Body.Close() })
	return &events{t: t, resp: resp, in: bufio.NewReader(resp.Body)}
}

// message returns the next message: an event's, or all of a JSON answer.
func (e *events) message() string {
	e.t.Helper()
	text := make(chan string, 1)
	go func() {
		defer close(text)
		if e.resp.Header.Get("Content-Type") == "application/json" {
			if b, err := io.ReadAll(e.in); err == nil {
				text <- string(b)
			}
			return
		}
		for {
			data, err := e.next()
			if err != nil {
				return
			}
			if data != "" { // a priming event
				text <- data
				return
			}
		}
	}()
	select {
	case m, ok := <-text:
		if !ok {
			e.t.Fatal("the stream has ended")
		}
		return m
	case <-time.After(patience):
		e.t.Fatal("nothing came")
		return ""
	}
}

func (s *legacy) events(body string, headers ...string) *events {
	s.h.t.Helper()
	return s.h.events(s.h.request(s.h.t.Context(), "POST", s.path, body, s.headers(headers...)...))
}

// listen opens the session's stream.
func (s *legacy) listen(headers ...string) *events {
	s.h.t.Helper()
	e := s.h.events(s.h.request(s.h.t.Context(), "GET", s.path, "", s.headers(headers...)...))
	if e.resp.StatusCode != 200 {
		s.h.t.Fatalf("GET: %d", e.resp.StatusCode)
	}
	return e
}

// next returns the data of the next event; io.EOF ends the stream.
func (e *events) next() (string, error) {
	var data []string
	for {
		line, err := e.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" && data != nil:
			return strings.Join(data, "\n"), nil
		case strings.HasPrefix(line, "data:"):
			data = append(data, strings.TrimPrefix(strings.TrimPrefix(line, "data:"), " "))
		case strings.HasPrefix(line, "id:"):
			e.id = strings.TrimSpace(strings.TrimPrefix(line, "id:"))
		}
	}
}

// want returns the next message, which must be there.
func (e *events) want() rpc {
	e.t.Helper()
	return parse(e.t, e.message())
}

// ended reads to the end and fails on a message.
func (e *events) ended() {
	e.t.Helper()
	if data, err := e.next(); err != io.EOF {
		e.t.Fatalf("not the end: %q %v", data, err)
	}
}
