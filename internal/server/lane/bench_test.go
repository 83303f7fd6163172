//go:build unix

package lane_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/server/lane"
	"headgate/internal/testkit"
)

// echo reads the whole body and answers as the Gateway does.
func echo(w http.ResponseWriter, r *http.Request) {
	body := bodies.Get().(*[4096]byte)
	defer bodies.Put(body)
	n, _ := io.ReadFull(r.Body, body[:min(int(r.ContentLength), len(body))])
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(n)}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body[:n])
}

var (
	jsonType = []string{"application/json"}
	bodies   = sync.Pool{New: func() any { return new([4096]byte) }}
)

const benchHead = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer mcp_sk_000000000000000000000000000000000000\r\n" +
	"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nUser-Agent: bench/1\r\n" +
	"Mcp-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: 0123456789abcdef0123456789abcdef\r\nContent-Length: "

// BenchmarkConn is what the lane itself takes: requests on a connection that
// costs nothing. Their lengths take turns, as those of calls do.
func BenchmarkConn(b *testing.B) {
	var requests [2][]byte
	for i, n := range [...]int{150, 1150} {
		requests[i] = []byte(benchHead + strconv.Itoa(n) + "\r\n\r\n" + strings.Repeat("x", n))
	}
	b.ReportAllocs()
	ln := &handed{conns: make(chan net.Conn, 1), end: make(chan struct{})}
	l := lane.New(ln, lane.Config{Handler: http.HandlerFunc(echo), Paths: []string{"/mcp"}})
	defer l.Close()
	c := &scripted{left: b.N, requests: requests[:], done: make(chan struct{})}
	b.ResetTimer()
	ln.conns <- c
	<-c.done
	if c.answers != b.N {
		b.Fatal(c.answers)
	}
}

// handed is a listener of connections that are handed to it.
type handed struct {
	conns chan net.Conn
	end   chan struct{}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.end:
		return nil, net.ErrClosed
	}
}
func (h *handed) Close() error { close(h.end); return nil }
func (*handed) Addr() net.Addr { return &net.TCPAddr{} }

// scripted is a connection of a client that asks again once it is answered.
type scripted struct {
	net.Conn
	requests      [][]byte
	left, answers int
	done          chan struct{}
}

func (s *scripted) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	return copy(p, s.requests[s.left%len(s.requests)]), nil
}
func (s *scripted) Write(p []byte) (int, error) { s.answers++; return len(p), nil }
func (s *scripted) Close() error                { close(s.done); return nil }
func (*scripted) LocalAddr() net.Addr           { return &net.TCPAddr{} }
func (*scripted) RemoteAddr() net.Addr          { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// BenchmarkServe compares the lane with net/http, and both with a server that
// reads and writes the same bytes and understands nothing: what the kernel and
// the load cost. One operation is one request on one of eight connections.
func BenchmarkServe(b *testing.B) {
	body := strings.Repeat("x", 150)
	request := benchHead + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	handler := http.HandlerFunc(echo)
	b.Run("bytes", func(b *testing.B) {
		ln := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(b)
		defer ln.Close()
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 150\r\n\r\n" + body)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, 4096)
					for {
						if _, err := c.Read(buf); err != nil {
							return
						}
						if _, err := c.Write(answer); err != nil {
							return
						}
					}
				}()
			}
		}()
		load(b, ln.Addr().String(), request)
	})
	b.Run("lane", func(b *testing.B) {
		ln := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(b)
		l := lane.New(ln, lane.Config{Handler: handler, Paths: []string{"/mcp"}})
		defer l.Close()
		load(b, ln.Addr().String(), request)
	})
	b.Run("net-http", func(b *testing.B) {
		ln := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(b)
		s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
		go func() { _ = s.Serve(ln) }()
		defer s.Close()
		load(b, ln.Addr().String(), request)
	})
}

// load sends the request again and again and reads answers of the same length.
func load(b *testing.B, addr, request string) {
	b.SetParallelism(4)
	b.ReportAllocs()
	before := processor()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		text, buf, size := []byte(request), make([]byte, 4096), 0
		for pb.Next() {
			if _, err := c.Write(text); err != nil {
				b.Error(err)
				return
			}
			for got := 0; ; {
				n, err := c.Read(buf[got:])
				if got += n; err != nil {
					b.Error(err)
					return
				}
				if size == 0 && strings.HasSuffix(string(buf[:got]), "xx") {
					size = got
				}
				if got == size {
					break
				}
			}
		}
	})
	b.ReportMetric(float64(processor()-before)/float64(b.N)/1e3, "cpu-µs/op")
}

// processor is the processor time this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
