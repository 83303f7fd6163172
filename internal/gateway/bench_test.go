package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

// discard is a ResponseWriter that keeps the status alone.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkCall is a call from the door to the answer: credential, scan, price,
// server over TCP (in this process too). The HTTP server in front of it and,
// but for the first, the commit behind it are left out.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name, client string
		server       rawmcp.Era
		path         string
	}{
		{"stored", "modern", rawmcp.Both, "/mcp/raw"},
		{"modern", "modern", rawmcp.Both, "/mcp/raw"},
		{"modern merged", "modern", rawmcp.Both, "/mcp"},
		{"legacy", "legacy", rawmcp.Both, "/mcp/raw"},
		{"modern client legacy server", "modern", rawmcp.Legacy, "/mcp/raw"},
		{"legacy client modern server", "legacy", rawmcp.Modern, "/mcp/raw"},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := newHouse(b, func(o *houseOptions) { o.credits, o.blind = 1_000_000_000, c.name != "stored" })
			h.raw("raw", rawmcp.Options{Era: c.server})
			tool := map[bool]string{true: "raw_echo", false: "echo"}[c.path == "/mcp"]
			params := fmt.Sprintf(`"name":%q,"arguments":{"text":%q}`, tool, strings.Repeat("x", 64))
			var r *http.Request
			if c.client == "modern" {
				r = h.modernRequest(b.Context(), c.path, "tools/call", params)
			} else {
				s := h.initialize(c.path, "2025-11-25", `{}`)
				r = h.request(b.Context(), "POST", c.path, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+params+`}}`, s.headers()...)
			}
			h.repeat(b, r)
		})
	}
}

// repeat asks the Gateway the same again and again.
func (h *house) repeat(b *testing.B, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.ReportAllocs()
	w := &discard{header: http.Header{}}
	for b.Loop() {
		clear(w.header)
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.gateway.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

// echoing is a way to servers that costs nothing.
type echoing struct{ answer *upstream.Answer }

func (e *echoing) Exchange(context.Context, *upstream.Request, upstream.Sink) (*upstream.Answer, error) {
	return e.answer, nil
}

// BenchmarkDoor is what the door itself and call.Do take of a call.
func BenchmarkDoor(b *testing.B) {
	for _, client := range []string{"legacy", "modern"} {
		b.Run(client, func(b *testing.B) {
			h := newHouse(b, func(o *houseOptions) { o.credits, o.blind = 1_000_000_000, true })
			h.raw("raw", rawmcp.Options{})
			params := fmt.Sprintf(`"name":"raw_echo","arguments":{"text":%q}`, strings.Repeat("x", 64))
			var r *http.Request
			if client == "modern" {
				r = h.modernRequest(b.Context(), "/mcp", "tools/call", params)
			} else {
				s := h.initialize("/mcp", "2025-11-25", `{}`)
				r = h.request(b.Context(), "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{`+params+`}}`, s.headers()...)
			}
			answer, envelope := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`), mcp.Envelope{}
			testkit.Must0(b, mcp.ScanReply(answer, &envelope, mcp.Limits{}))
			h.calls.Upstream = &echoing{upstream.NewAnswer(answer, envelope, http.StatusOK, nil)}
			h.repeat(b, r.WithContext(request.With(r.Context(), request.Info{ID: id.New("req"), At: time.Now()})))
		})
	}
}

// BenchmarkList is a list of 200 tools from memory.
func BenchmarkList(b *testing.B) {
	h := newHouse(b)
	h.raw("raw", rawmcp.Options{Tools: 200})
	for _, path := range []string{"/mcp", "/mcp/raw"} {
		b.Run(path, func(b *testing.B) {
			r := h.modernRequest(b.Context(), path, "tools/list", "")
			body, _ := io.ReadAll(r.Body)
			b.ReportAllocs()
			w := &discard{header: http.Header{}}
			for b.Loop() {
				clear(w.header)
				r.Body = io.NopCloser(bytes.NewReader(body))
				h.gateway.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkSession is what a new legacy client costs.
func BenchmarkSession(b *testing.B) {
	h := newHouse(b)
	h.raw("raw", rawmcp.Options{})
	body := `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"t","version":"1"}}}`
	r := h.request(b.Context(), "POST", "/mcp", body)
	b.ReportAllocs()
	w := &discard{header: http.Header{}}
	for b.Loop() {
		clear(w.header)
		r.Body = io.NopCloser(strings.NewReader(body))
		h.gateway.ServeHTTP(w, r)
	}
}

// BenchmarkIdleStreams tells what an open stream of a client that hears nothing
// weighs, its connection included.
func BenchmarkIdleStreams(b *testing.B) {
	for _, era := range []rawmcp.Era{rawmcp.Legacy, rawmcp.Modern} {
		b.Run(map[rawmcp.Era]string{rawmcp.Legacy: "legacy", rawmcp.Modern: "modern"}[era], func(b *testing.B) {
			const n = 900
			h := newHouse(b)
			h.raw("raw", rawmcp.Options{Era: era})
			address := strings.TrimPrefix(h.url, "http://")
			open := func(request string) {
				c := testkit.Must(net.Dial("tcp", address))(b)
				b.Cleanup(func() { c.Close() })
				testkit.Must(c.Write([]byte(request)))(b)
				var head [16]byte
				testkit.Must(io.ReadFull(c, head[:]))(b)
				if !strings.Contains(string(head[:]), " 200 ") {
					b.Fatalf("%q", head)
				}
			}
			var before, after runtime.MemStats
			for range b.N { // once: -benchtime 1x
				runtime.GC()
				runtime.ReadMemStats(&before)
				for range n {
					if era == rawmcp.Legacy {
						open("GET /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + h.key + "\r\nAccept: text/event-stream\r\nMcp-Session-Id: " + h.sessionID("/mcp") + "\r\n\r\n")
						continue
					}
					body := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` + meta + `}}`
					open(fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\nContent-Length: %d\r\n\r\n%s",
						h.key, len(body), body))
				}
				time.Sleep(100 * time.Millisecond)
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/n/1024, "KiB/stream")
			}
		})
	}
}

// BenchmarkFanOut is a list of 20 servers of which one hangs, and the handshake
// of a client with them.
func BenchmarkFanOut(b *testing.B) {
	h := newHouse(b)
	for i := range 19 {
		h.raw(fmt.Sprintf("raw-%d", i), rawmcp.Options{})
	}
	hung := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(b) // connects, and says nothing
	defer hung.Close()
	h.serve("hung", "http://"+hung.Addr().String()+"/mcp")
	h.modern("/mcp", "tools/list", "") // waits its second
	for name, r := range map[string]*http.Request{
		"list":       h.modernRequest(b.Context(), "/mcp", "tools/list", ""),
		"initialize": h.request(b.Context(), "POST", "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`),
	} {
		b.Run(name, func(b *testing.B) {
			body, _ := io.ReadAll(r.Body)
			w := &discard{header: http.Header{}}
			for b.Loop() {
				clear(w.header)
				r.Body = io.NopCloser(bytes.NewReader(body))
				h.gateway.ServeHTTP(w, r)
			}
		})
	}
}
