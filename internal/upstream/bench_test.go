package upstream_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

// BenchmarkExchange is what the hub adds to wire, whose own benchmark has the
// rest. In memory there is no kernel in it, so that small things show.
func BenchmarkExchange(b *testing.B) {
	u := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(b)
	defer u.Close()
	for _, c := range []struct {
		name     string
		revision mcp.Revision
		affinity string
		dial     func(context.Context, string, string) (net.Conn, error)
	}{
		{"modern", mcp.LatestModern, "", dial},
		{"legacy", mcp.LatestLegacy, "one", dial},
		{"legacy-shared", mcp.LatestLegacy, "", dial},
		{"memory", mcp.LatestLegacy, "one", func(context.Context, string, string) (net.Conn, error) { return &echo{}, nil }},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := upstream.NewHub(upstream.Options{Binder: shared{}, Dial: c.dial})
			defer h.Close(context.Background())
			r := call(serverAt(u.URL()), c.revision, "1", "echo", `{"text":"0123456789012345678901234567890123456789"}`)
			r.Affinity = c.affinity
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				a, err := h.Exchange(ctx, r, nil)
				if err != nil {
					b.Fatal(err)
				}
				a.Release()
			}
		})
	}
}

// echo is a connection to a legacy server that is not there.
type echo struct {
	net.Conn // nil: nothing else is called
	answer   []byte
}

var (
	hello  = []byte(httpAnswer(`{"jsonrpc":"2.0","id":"headgate-initialize","result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"m","version":"1"}}}`))
	called = []byte(httpAnswer(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"0123456789012345678901234567890123456789"}]}}`))
	noted  = []byte("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
)

func httpAnswer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 20 Nov 2026 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func (e *echo) Write(p []byte) (int, error) {
	switch {
	case bytes.Contains(p, []byte("tools/call")):
		e.answer = called
	case bytes.Contains(p, []byte(`"initialize"`)):
		e.answer = hello
	default:
		e.answer = noted
	}
	return len(p), nil
}

func (e *echo) Read(p []byte) (int, error) {
	n := copy(p, e.answer)
	e.answer = e.answer[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (e *echo) Close() error { return nil }
