package lane_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/server/lane"
	"headgate/internal/testkit"
)

// patient bounds whatever a test waits for.
const patient = 10 * time.Second

// house is a lane in front of a net/http server.
type house struct {
	lane   *lane.Lane
	http   *http.Server
	addr   string
	writes atomic.Int64 // to clients
	log    lockedBuffer
}

// open starts a house whose end leaves nothing behind.
func open(t testing.TB, h http.HandlerFunc, change ...func(*lane.Config)) *house {
	t.Helper()
	houses.Add(1)
	s := &house{http: &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}}
	ln := &counting{Listener: testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t), writes: &s.writes}
	cfg := lane.Config{Handler: h, Paths: []string{"/mcp"}, Log: slog.New(slog.NewJSONHandler(&s.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	s.addr, s.lane = ln.Addr().String(), lane.New(ln, cfg)
	served := make(chan struct{})
	go func() { defer close(served); _ = s.http.Serve(s.lane.Cold()) }()
	t.Cleanup(func() {
		_ = s.http.Close()
		_ = s.lane.Close()
		<-served
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		if err := s.lane.Shutdown(ctx); err != nil {
			t.Errorf("a connection stays: %v", err)
		}
		if houses.Add(-1) > 0 {
			return // the last one looks
		}
		soon(t, "a goroutine of the lane stays", func() bool {
			var all bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
			return !strings.Contains(all.String(), "lane.(*Lane)") && !strings.Contains(all.String(), "lane.(*conn)")
		})
	})
	return s
}

var houses atomic.Int64 // that are open

// soon waits for what must become true.
func soon(t testing.TB, otherwise string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

// counting counts the writes of its connections.
type counting struct {
	net.Listener
	writes *atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &counted{c.(*net.TCPConn), l.writes}, nil
}

type counted struct {
	*net.TCPConn
	writes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

func (c *counted) WriteBuffers(b *net.Buffers) (int64, error) {
	c.writes.Add(1)
	return b.WriteTo(c.TCPConn)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// client is one raw connection.
type client struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func (s *house) dial(t testing.TB) *client {
	t.Helper()
	return dial(t, s.addr)
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c := testkit.Must(net.Dial("tcp", addr))(t).(*net.TCPConn)
	testkit.Must0(t, c.SetDeadline(time.Now().Add(patient)))
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer whole.
func (c *client) answer() (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s, then %v", body, err)
	}
	return res, string(body)
}

// call sends a plain request and returns the answer's body.
func (c *client) call(body string, headers ...string) string {
	c.t.Helper()
	c.say(post(body, headers...))
	_, text := c.answer()
	return text
}

// ended reports that the server has closed the connection without a word.
func (c *client) ended() bool {
	n, err := c.in.Read(make([]byte, 1))
	return n == 0 && err != nil && !isTimeout(err)
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

func post(body string, headers ...string) string {
	var more strings.Builder
	for _, h := range headers {
		more.WriteString(h + "\r\n")
	}
	return fmt.Sprintf("POST /mcp HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", more.String(), len(body), body)
}

// server says which of the two serves.
func server(w http.ResponseWriter) string {
	if strings.Contains(fmt.Sprintf("%T", w), "lane.") {
		return "lane"
	}
	return "net/http"
}

// tell answers with who serves and what was asked.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s: %s %s %s", server(w), r.Method, r.URL.Path, body)
	if err != nil {
		fmt.Fprintf(w, " %v", err)
	}
}
