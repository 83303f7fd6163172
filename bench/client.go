package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// patience is how long an answer may take before it counts as lost.
const patience = 10 * time.Second

// client is one connection of a caller. It writes requests and reads answers
// with net/http's own parts, which are strict about framing, but without its
// pool and goroutines, which would be most of what is measured.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	body bytes.Buffer
}

func dial(addr string) (*client, error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: c, in: bufio.NewReader(c), out: bufio.NewWriterSize(c, 16<<10)}, nil
}

// exchange sends body with the request and returns status, headers and body of
// the response, which is valid until the next exchange.
func (c *client) exchange(req *http.Request, send []byte) (status int, head http.Header, body []byte, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, nil, err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(send)), int64(len(send))
	if err := errors.Join(req.Write(c.out), c.out.Flush()); err != nil {
		return 0, nil, nil, err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	c.body.Reset()
	if res.ContentLength < 0 && len(res.TransferEncoding) == 0 {
		return res.StatusCode, res.Header, nil, nil // no length at all: it would last as long as the connection
	}
	_, err = c.body.ReadFrom(res.Body)
	return res.StatusCode, res.Header, c.body.Bytes(), err
}

// target is something to call.
type target struct {
	name    string
	addr    string
	path    string
	query   string
	key     string // the API key, if it wants one
	tool    string // the name of the echo tool there
	plain   bool   // it is no MCP server: no session
	modern  bool   // its callers are of 2026-07-28: no session, more headers
	process *process

	upstream *process // behind it, if that is not the one of all
}

// Revisions callers speak.
const (
	legacyRevision = "2025-11-25"
	modernRevision = "2026-07-28"
)

// modernMeta is what each request of a modern client holds.
const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modernRevision + `","io.modelcontextprotocol/clientCapabilities":{},` +
	`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}`

// request is the request of all calls of a session that ask q; the body comes
// later.
func (t *target) request(session string, q question) *http.Request {
	req := &http.Request{
		Method: http.MethodPost,
		URL:    &url.URL{Scheme: "http", Host: t.addr, Path: t.path, RawQuery: t.query},
		Header: http.Header{
			"Content-Type":         {"application/json"},
			"Accept":               {"application/json, text/event-stream"},
			"Mcp-Protocol-Version": {legacyRevision},
		},
	}
	if t.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.key)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	if t.modern {
		req.Header.Set("Mcp-Protocol-Version", modernRevision)
		req.Header.Set("Mcp-Method", q.method)
		if q.name != "" {
			req.Header.Set("Mcp-Name", q.name)
		}
	}
	return req
}

// open connects and begins a session, as an MCP client does.
func (t *target) open() (*client, string, error) {
	c, err := dial(t.addr)
	if err != nil {
		return nil, "", err
	}
	session, err := t.begin(c)
	if err != nil {
		_ = c.conn.Close()
		return nil, "", fmt.Errorf("begin a session with %s: %w", t.name, err)
	}
	return c, session, nil
}

func (t *target) begin(c *client) (string, error) {
	if t.plain || t.modern {
		return "", nil
	}
	status, head, body, err := c.exchange(t.request("", question{}), []byte(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+legacyRevision+`","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	if err != nil {
		return "", err
	}
	if status != 200 || !bytes.Contains(body, []byte(`"protocolVersion"`)) {
		return "", fmt.Errorf("status %d: %.300s", status, body)
	}
	session := head.Get("Mcp-Session-Id")
	status, _, body, err = c.exchange(t.request(session, question{}), []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %.300s", status, body)
	}
	return session, err
}
