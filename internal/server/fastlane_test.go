package server_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/server"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
)

const (
	host = "Host: localhost\r\n"
	two  = "Content-Length: 2\r\n"
	good = "POST /mcp HTTP/1.1\r\n" + host + two + "\r\n{}"
	wish = "Accept: text/event-stream\r\n"
	open = "GET /mcp HTTP/1.1\r\n" + host + wish + "\r\n"
)

// awkward are requests that two servers could read differently.
var awkward = []struct{ name, text string }{
	{"a plain call", good},
	{"two calls at once", good + good},
	{"a call, then a list of another kind", good + "GET /mcp HTTP/1.1\r\n" + host + "\r\n" + good},
	{"a call, then nonsense", good + "nonsense\r\n\r\n"},
	{"a call, then CRLF, then a call", good + "\r\n" + good},
	{"a call, then four line ends, then a call", good + "\r\n\r\n" + good},
	{"a call, then five line ends, then a call", good + "\r\n\r\n\n" + good},
	{"a call, then LF and space", good + "\n " + good},
	{"CRLF before the first request", "\r\n" + good},
	{"the same length twice", "POST /mcp HTTP/1.1\r\n" + host + two + two + "\r\n{}"},
	{"two lengths", "POST /mcp HTTP/1.1\r\n" + host + two + "Content-Length: 3\r\n\r\n{}x"},
	{"a list of lengths", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\n{}"},
	{"a signed length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: +2\r\n\r\n{}"},
	{"a negative length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n{}"},
	{"a padded length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0002\r\n\r\n{}"},
	{"a hexadecimal length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0x2\r\n\r\n{}"},
	{"an empty length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: \r\n\r\n{}"},
	{"a length with a space in it", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 1 0\r\n\r\n{}"},
	{"a length of 2⁶⁴+2", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551618\r\n\r\n{}"},
	{"no length", "POST /mcp HTTP/1.1\r\n" + host + "\r\n" + good},
	{"a length of nothing", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n" + good},
	{"chunks", "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + good},
	{"chunks and a length", "POST /mcp HTTP/1.1\r\n" + host + two + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + good},
	{"a length and chunks", "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + two + "\r\n0\r\n\r\n" + good},
	{"chunks of an unknown kind", "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n" + two + "\r\n{}"},
	{"chunks by a tab", "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding:\tchunked\r\n" + two + "\r\n0\r\n\r\n"},
	{"chunks by a name with a space", "POST /mcp HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n" + two + "\r\n0\r\n\r\n"},
	{"a trailer", "POST /mcp HTTP/1.1\r\n" + host + "Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n"},
	{"line ends of LF", "POST /mcp HTTP/1.1\nHost: localhost\nContent-Length: 2\n\n{}"},
	{"one line end of LF", "POST /mcp HTTP/1.1\r\nHost: localhost\nContent-Length: 2\r\n\r\n{}"},
	{"a head that ends in LF", "POST /mcp HTTP/1.1\r\n" + host + two + "\n{}"},
	{"a packed body", "POST /mcp HTTP/1.1\r\n" + host + two + "Content-Encoding: gzip\r\n\r\n\x1f\x8b"},
	{"a packed body, said twice", "POST /mcp HTTP/1.1\r\n" + host + two + "Content-Encoding: gzip\r\nContent-Encoding: br\r\n\r\n\x1f\x8b"},
	{"a CR in a value", "POST /mcp HTTP/1.1\r\n" + host + two + "X-A: 1\r2\r\n\r\n{}"},
	{"a folded value", "POST /mcp HTTP/1.1\r\n" + host + "X-A: 1\r\n 2\r\n" + two + "\r\n{}"},
	{"a folded length", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length:\r\n 2\r\n\r\n{}"},
	{"a NUL in a value", "POST /mcp HTTP/1.1\r\n" + host + "X-A: 1\x002\r\n" + two + "\r\n{}"},
	{"a NUL in the target", "POST /mcp\x00 HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"a DEL in a value", "POST /mcp HTTP/1.1\r\n" + host + "X-A: 1\x7f2\r\n" + two + "\r\n{}"},
	{"UTF-8 in a value", "POST /mcp HTTP/1.1\r\n" + host + "X-A: é\r\n" + two + "\r\n{}"},
	{"no Host", "POST /mcp HTTP/1.1\r\n" + two + "\r\n{}"},
	{"an empty Host", "POST /mcp HTTP/1.1\r\nHost:\r\n" + two + "\r\n{}"},
	{"two Hosts", "POST /mcp HTTP/1.1\r\n" + host + "Host: evil.test\r\n" + two + "\r\n{}"},
	{"a foreign Host", "POST /mcp HTTP/1.1\r\nHost: evil.test\r\n" + two + "\r\n{}" + good},
	{"a Host with a user", "POST /mcp HTTP/1.1\r\nHost: localhost@evil.test\r\n" + two + "\r\n{}"},
	{"a foreign Origin", "POST /mcp HTTP/1.1\r\n" + host + "Origin: https://evil.test\r\n" + two + "\r\n{}" + good},
	{"two credentials", "POST /mcp HTTP/1.1\r\n" + host + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" + two + "\r\n{}"},
	{"a header that names a client", "POST /mcp HTTP/1.1\r\n" + host + "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n" + two + "\r\n{}"},
	{"Expect", "POST /mcp HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n" + two + "\r\n{}" + good},
	{"another Expect", "POST /mcp HTTP/1.1\r\n" + host + "Expect: nothing\r\n" + two + "\r\n{}"},
	{"an Upgrade", "POST /mcp HTTP/1.1\r\n" + host + "Connection: upgrade\r\nUpgrade: websocket\r\n" + two + "\r\n{}"},
	{"Connection: close", "POST /mcp HTTP/1.1\r\n" + host + "Connection: close\r\n" + two + "\r\n{}" + good},
	{"Connection: keep-alive", "POST /mcp HTTP/1.1\r\n" + host + "Connection: Keep-Alive\r\n" + two + "\r\n{}" + good},
	{"Connection: a list", "POST /mcp HTTP/1.1\r\n" + host + "Connection: keep-alive, X-A\r\nX-A: 1\r\n" + two + "\r\n{}" + good},
	{"Pragma", "POST /mcp HTTP/1.1\r\n" + host + "Pragma: no-cache\r\n" + two + "\r\n{}"},
	{"X-A : 1", "POST /mcp HTTP/1.1\r\n" + host + "X-A : 1\r\n" + two + "\r\n{}"},
	{"a line without a colon", "POST /mcp HTTP/1.1\r\n" + host + "X-A\r\n" + two + "\r\n{}"},
	{"a name with an underscore", "POST /mcp HTTP/1.1\r\n" + host + "Content_Length: 3\r\n" + two + "\r\n{}"},
	{"names in odd cases", "POST /mcp HTTP/1.1\r\nhOST: localhost\r\ncontent-LENGTH: 2\r\nmcp-name:x\r\n\r\n{}"},
	{"an absolute target", "POST http://localhost/mcp HTTP/1.1\r\nHost: evil.test\r\n" + two + "\r\n{}"},
	{"an absolute target elsewhere", "POST http://evil.test/mcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"a method in lower case", "post /mcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"an invented method", "POSTS /mcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"an escape", "POST /%6dcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"an escaped slash", "POST /mcp%2fx HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"a bad escape", "POST /mcp/%zz HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"dot segments", "POST /mcp/../mcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"empty segments", "POST /mcp//a HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"a query", "POST /mcp?a=%62 HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"a fragment", "POST /mcp#a HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"two spaces", "POST  /mcp HTTP/1.1\r\n" + host + two + "\r\n{}"},
	{"HTTP/1.0", "POST /mcp HTTP/1.0\r\n" + host + two + "\r\n{}" + good},
	{"HTTP/1.0 that stays", "POST /mcp HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n" + two + "\r\n{}" + good},
	{"HTTP/0.9", "POST /mcp\r\n"},
	{"HTTP/2.0", "POST /mcp HTTP/2.0\r\n" + host + two + "\r\n{}"},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"half a request line", "POST /mc"},
	{"half a head", "POST /mcp HTTP/1.1\r\n" + host},
	{"half a body", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 20\r\n\r\n{}"},
	{"no body", "POST /mcp HTTP/1.1\r\n" + host + "Content-Length: 20\r\n\r\n"},
	{"more body than said", "POST /mcp HTTP/1.1\r\n" + host + two + "\r\n{}{}"},
	{"a head of 31 KiB", "POST /mcp HTTP/1.1\r\n" + host + two + "X-A: " + strings.Repeat("a", 31<<10) + "\r\n\r\n{}" + good},
	{"a head of 40 KiB", "POST /mcp HTTP/1.1\r\n" + host + two + "X-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n{}" + good},
	{"a line of 40 KiB without an end", "POST /mcp/" + strings.Repeat("a", 40<<10)},
	{"a stream", open},
	{"two streams at once", open + open},
	{"a stream, then a call, then a stream", open + good + open},
	{"a stream, then CRLF, then a call", open + "\r\n" + good},
	{"a stream, then LF, then a stream", open + "\n" + open},
	{"a stream, then a call, then CRLF, then a stream", open + good + "\r\n" + open},
	{"a stream, then three bytes", open + "POS"},
	{"a stream, then half a head", open + "GET /mcp HTTP/1.1\r\n" + host},
	{"a stream, then nonsense", open + "nonsense\r\n\r\n"},
	{"a stream, then a list of another kind", open + "GET /mcp HTTP/1.1\r\n" + host + "\r\n" + good},
	{"CRLF before a stream", "\r\n" + open},
	{"a GET of any kind", "GET /mcp HTTP/1.1\r\n" + host + "Accept: */*\r\n\r\n" + good},
	{"a stream among other kinds", "GET /mcp HTTP/1.1\r\n" + host + "Accept: application/json, text/event-stream;q=0.5\r\nLast-Event-ID: 7\r\n\r\n" + good},
	{"a stream in other letters", "GET /mcp HTTP/1.1\r\n" + host + "aCCEPT: Text/Event-Stream\r\n\r\n" + good},
	{"a stream with two wishes", "GET /mcp HTTP/1.1\r\n" + host + wish + "Accept: */*\r\n\r\n" + good},
	{"a stream with a length of nothing", "GET /mcp HTTP/1.1\r\n" + host + wish + "Content-Length: 0\r\n\r\n" + good},
	{"a stream with a body", "GET /mcp HTTP/1.1\r\n" + host + wish + two + "\r\n{}" + good},
	{"a stream with a body that nobody announced", open + "{}"},
	{"a stream with two lengths", "GET /mcp HTTP/1.1\r\n" + host + wish + "Content-Length: 0\r\n" + two + "\r\n{}"},
	{"a stream with chunks", "GET /mcp HTTP/1.1\r\n" + host + wish + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + good},
	{"a stream with chunks and a length", "GET /mcp HTTP/1.1\r\n" + host + wish + two + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + good},
	{"a stream with chunks by a name with a space", "GET /mcp HTTP/1.1\r\n" + host + wish + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
	{"a stream with Expect", "GET /mcp HTTP/1.1\r\n" + host + wish + "Expect: 100-continue\r\n\r\n" + good},
	{"a stream with an Upgrade", "GET /mcp HTTP/1.1\r\n" + host + wish + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
	{"a stream with HTTP2-Settings", "GET /mcp HTTP/1.1\r\n" + host + wish + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"},
	{"a stream with Connection: close", "GET /mcp HTTP/1.1\r\n" + host + wish + "Connection: close\r\n\r\n" + good},
	{"a stream with Connection: keep-alive", "GET /mcp HTTP/1.1\r\n" + host + wish + "Connection: keep-alive\r\n\r\n" + good},
	{"a stream with Pragma", "GET /mcp HTTP/1.1\r\n" + host + wish + "Pragma: no-cache\r\n\r\n" + good},
	{"a stream with a range and a condition", "GET /mcp HTTP/1.1\r\n" + host + wish + "Range: bytes=0-1\r\nIf-None-Match: *\r\n\r\n" + good},
	{"a stream without Host", "GET /mcp HTTP/1.1\r\n" + wish + "\r\n" + good},
	{"a stream with two Hosts", "GET /mcp HTTP/1.1\r\n" + host + host + wish + "\r\n" + good},
	{"a stream of a foreign Host", "GET /mcp HTTP/1.1\r\nHost: evil.test\r\n" + wish + "\r\n" + good},
	{"a stream of a foreign Origin", "GET /mcp HTTP/1.1\r\n" + host + wish + "Origin: https://evil.test\r\n\r\n" + good},
	{"a stream with a folded value", "GET /mcp HTTP/1.1\r\n" + host + "Accept:\r\n text/event-stream\r\n\r\n" + good},
	{"a stream with a CR in a value", "GET /mcp HTTP/1.1\r\n" + host + wish + "X-A: 1\r2\r\n\r\n" + good},
	{"a stream with line ends of LF", "GET /mcp HTTP/1.1\nHost: localhost\nAccept: text/event-stream\n\n" + good},
	{"a stream of a query", "GET /mcp?a=%62 HTTP/1.1\r\n" + host + wish + "\r\n" + good},
	{"a stream of an escape", "GET /%6dcp HTTP/1.1\r\n" + host + wish + "\r\n" + good},
	{"a stream of dot segments", "GET /mcp/../mcp HTTP/1.1\r\n" + host + wish + "\r\n" + good},
	{"a stream of an absolute target", "GET http://localhost/mcp HTTP/1.1\r\nHost: evil.test\r\n" + wish + "\r\n" + good},
	{"a stream of HTTP/1.0", "GET /mcp HTTP/1.0\r\n" + host + wish + "\r\n" + good},
	{"a stream of HTTP/0.9", "GET /mcp\r\n"},
	{"a stream by a method in lower case", "get /mcp HTTP/1.1\r\n" + host + wish + "\r\n"},
	{"half a stream's head", "GET /mcp HTTP/1.1\r\n" + host + wish},
	{"a stream with a head of 31 KiB", "GET /mcp HTTP/1.1\r\n" + host + wish + "X-A: " + strings.Repeat("a", 31<<10) + "\r\n\r\n" + good},
	{"a stream with a head of 40 KiB", "GET /mcp HTTP/1.1\r\n" + host + wish + "X-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n" + good},
	{"a hundred headers", "POST /mcp HTTP/1.1\r\n" + host + two + strings.Repeat("X-A: 1\r\n", 100) + "\r\n{}" + good},
}

// seen is a request as the handler saw it.
func seen(r *http.Request, body []byte, err error) string {
	info := request.From(r.Context())
	return fmt.Sprintf("%s %s path %s host %s %v length %d close %v coding %v none %v from %v: %q %v", r.Method, r.RequestURI, r.URL.Path, r.Host, r.Header,
		r.ContentLength, r.Close, r.TransferEncoding, r.Body == http.NoBody, info.Addr, body, err)
}

// conversation sends a text in pieces of a size, ends, and returns what was
// seen of it on both sides.
func conversation(t *testing.T, addr, text string, size int) string {
	t.Helper()
	c := testkit.Must(net.Dial("tcp", addr))(t).(*net.TCPConn)
	defer c.Close()
	testkit.Must0(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	var sending sync.WaitGroup
	sending.Go(func() {
		for part := range slices.Chunk([]byte(text), cmp.Or(size, len(text))) {
			if _, err := c.Write(part); err != nil {
				return // the server has closed: its answer tells why
			}
		}
		_ = c.CloseWrite()
	})
	defer sending.Wait()
	var said strings.Builder
	for in := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				said.WriteString("and waits\n")
			}
			return said.String()
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil // it closed while we were still writing
		}
		if id := res.Header.Get("X-Request-Id"); id != "" {
			body = []byte(strings.ReplaceAll(string(body), id, "req"))
			res.Header.Set("X-Request-Id", "req")
		}
		res.Header.Del("Date")
		fmt.Fprintf(&said, "%s %v length %d last %v: %q %v\n", res.Status, res.Header, res.ContentLength, res.Close, body, err)
	}
}

// TestFastLane sends the same to a server with a fast lane and to one without.
func TestFastLane(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, seen(r, body, err))
	})
	route := server.Route{Prefix: "/mcp", Handler: handler}
	slow, _, _ := running(t, server.Config{}, route)
	fast, _, _ := running(t, server.Config{FastLane: []string{"/mcp"}}, route)
	for _, a := range awkward {
		for _, after := range []string{"", good, open} {
			for _, size := range []int{0, 1} {
				name := a.name + map[string]string{"": "", good: ", after a call", open: ", after a stream"}[after] + map[int]string{0: "", 1: ", byte by byte"}[size]
				t.Run(name, func(t *testing.T) {
					want := conversation(t, slow.Addr().String(), after+a.text, size)
					if strings.Contains(want, "unexpected EOF") { // net/http closes without saying so
						i := strings.LastIndex(want, "last false")
						want = want[:i] + strings.Replace(want[i:], "last false", "last true", 1)
					}
					testkit.Equal(t, conversation(t, fast.Addr().String(), after+a.text, size), want)
				})
			}
		}
	}
	t.Run("both know who asks", func(t *testing.T) {
		for _, s := range []*server.Server{slow, fast} {
			if said := conversation(t, s.Addr().String(), good, 0); !strings.Contains(said, "from 127.0.0.1:") {
				t.Error(said)
			}
		}
	})
	t.Run("the lane is in use", func(t *testing.T) {
		var kind string
		s, j, stop := running(t, server.Config{FastLane: []string{"/mcp"}}, server.Route{Prefix: "/mcp", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kind = fmt.Sprintf("%T", w.(interface{ Unwrap() http.ResponseWriter }).Unwrap())
		})})
		said := conversation(t, s.Addr().String(), good, 0)
		testkit.Must0(t, stop())
		if kind != "*lane.response" || !strings.Contains(said, "200 OK") || len(j.events(t)) != 1 {
			t.Errorf("%s served: %s\n%s", kind, said, j.text())
		}
	})
	t.Run("stopping ends its streams, waits for its requests and closes the rest", func(t *testing.T) {
		entered := make(chan struct{}, 2)
		leave := make(chan struct{})
		s, _, stop := running(t, server.Config{FastLane: []string{"/mcp"}}, server.Route{Prefix: "/mcp", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			entered <- struct{}{}
			if r.URL.Path == "/mcp/stream" {
				w.(http.Flusher).Flush()
				<-request.Draining(r.Context())
			} else {
				<-leave
			}
			_, _ = io.WriteString(w, "bye")
		})})
		said := make(chan string, 2)
		for _, path := range []string{"/mcp", "/mcp/stream"} {
			go func() {
				res, err := http.Post("http://"+s.Addr().String()+path, "application/json", strings.NewReader("{}"))
				if err != nil {
					said <- err.Error()
					return
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				said <- path + " " + string(body)
			}()
			<-entered
		}
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		testkit.Equal(t, <-said, "/mcp/stream bye")
		close(leave)
		testkit.Equal(t, <-said, "/mcp bye")
		testkit.Must0(t, <-stopped)
	})
	t.Run("its connections count like others", func(t *testing.T) {
		s, _, _ := running(t, server.Config{FastLane: []string{"/mcp"}, MaxConnections: 1}, route)
		c := testkit.Must(net.Dial("tcp", s.Addr().String()))(t)
		defer c.Close()
		_, _ = io.WriteString(c, good)
		testkit.Must(http.ReadResponse(bufio.NewReader(c), nil))(t)
		if said := conversation(t, s.Addr().String(), good, 0); !strings.HasPrefix(said, "503 ") {
			t.Error(said)
		}
	})
	t.Run("a path that is none is refused at start", func(t *testing.T) {
		for _, p := range []string{"", "/", "mcp", "/mcp/"} {
			if _, err := server.New(server.Config{FastLane: []string{p}}); err == nil {
				t.Errorf("%q is taken", p)
			}
		}
	})
}
