package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/server"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
)

func TestConfig(t *testing.T) {
	t.Run("every mistake is told at once", func(t *testing.T) {
		_, err := server.New(server.Config{
			Listen: "8080", BaseDomains: []string{"a b"}, Hosts: []string{"http://x"}, Origins: []string{"https://x/", "*", "x.test"},
		}, server.Route{Prefix: "v1"})
		for _, part := range []string{`"8080"`, `"a b"`, `"http://x"`, `"https://x/"`, `"*"`, `"x.test"`, `"v1"`} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s is not in: %v", part, err)
			}
		}
	})
}

// running starts the server on loopback and returns how to stop it.
func running(t *testing.T, cfg server.Config, routes ...server.Route) (s *server.Server, j *journal, stop func() error) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, j = newServer(t, cfg, routes...)
	testkit.Must0(t, s.Listen(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return s, j, stop
}

func TestRun(t *testing.T) {
	t.Run("stopping lets requests finish, ends streams and takes no more", func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		s, _, stop := running(t, server.Config{}, server.Route{Prefix: "/slow", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "done")
		})}, server.Route{Prefix: "/stream", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-request.Draining(r.Context())
			_, _ = io.WriteString(w, "bye")
		})})
		get := func(path string) string {
			res, err := http.Get("http://" + s.Addr().String() + path)
			if err != nil {
				return err.Error()
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			return string(body)
		}
		var wg sync.WaitGroup
		var slow, stream string
		res := testkit.Must(http.Get("http://" + s.Addr().String() + "/stream"))(t) // headers are here: it runs
		wg.Go(func() { slow = get("/slow") })
		wg.Go(func() { b, _ := io.ReadAll(res.Body); _ = res.Body.Close(); stream = string(b) })
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		for refused := false; !refused; {
			c, err := net.DialTimeout("tcp", s.Addr().String(), time.Second)
			if refused = err != nil; !refused {
				_ = c.Close()
			}
		}
		close(leave)
		wg.Wait()
		testkit.Must0(t, <-stopped)
		testkit.Equal(t, []string{slow, stream}, []string{"done", "bye"})
	})
	t.Run("what does not finish in time is cut off", func(t *testing.T) {
		entered := make(chan struct{})
		s, j, stop := running(t, server.Config{Drain: 10 * time.Millisecond}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})})
		go func() { _, _ = http.Get("http://" + s.Addr().String() + "/") }()
		<-entered
		testkit.Must0(t, stop())
		if !strings.Contains(j.text(), "cut off") {
			t.Error("nobody said so")
		}
	})
	t.Run("a taken port is an error before anything starts", func(t *testing.T) {
		s, _, _ := running(t, server.Config{})
		other, _ := newServer(t, server.Config{Listen: s.Addr().String()})
		if err := other.Listen(t.Context()); err == nil {
			t.Error("it listens")
		}
	})
	t.Run("too many connections are told 503, and the next are served", func(t *testing.T) {
		s, _, _ := running(t, server.Config{MaxConnections: 2})
		dial := func() net.Conn {
			c := testkit.Must(net.Dial("tcp", s.Addr().String()))(t)
			testkit.Must0(t, c.SetDeadline(time.Now().Add(5*time.Second)))
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		status := func(c net.Conn) int { // 0: closed without an answer
			_, _ = io.WriteString(c, "GET /say HTTP/1.1\r\nHost: localhost\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return 0
			}
			_, _ = io.Copy(io.Discard, res.Body)
			return res.StatusCode
		}
		a, b := dial(), dial()
		testkit.Equal(t, []int{status(a), status(b)}, []int{200, 200})
		got := map[int]int{}
		for range 70 { // more than may linger, none closed by its client
			got[status(dial())]++
		}
		if got[503] < 64 || got[503]+got[0] != 70 {
			t.Errorf("answers by status: %v", got)
		}
		_ = a.Close()
		for tries := 0; ; tries++ { // until the server has seen it
			if tries == 1000 {
				t.Fatal("a closed connection still counts")
			}
			c := dial()
			got := status(c)
			if _ = c.Close(); got == 200 {
				break
			}
		}
		testkit.Equal(t, status(b), 200)
	})
	t.Run("a large answer passes in pieces", func(t *testing.T) {
		big := strings.Repeat("x", 3<<20)
		s, _, _ := running(t, server.Config{}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big) })})
		res := testkit.Must(http.Get("http://" + s.Addr().String() + "/"))(t)
		defer res.Body.Close()
		if got := testkit.Must(io.ReadAll(res.Body))(t); string(got) != big {
			t.Errorf("%d bytes", len(got))
		}
	})
	t.Run("metrics and pprof are on the internal listener alone", func(t *testing.T) {
		s, _, _ := running(t, server.Config{Internal: "127.0.0.1:0"})
		get := func(addr net.Addr, path, host string) (int, string) {
			r := testkit.Must(http.NewRequest("GET", "http://"+addr.String()+path, nil))(t)
			r.Host = host
			res := testkit.Must(http.DefaultClient.Do(r))(t)
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			return res.StatusCode, string(body)
		}
		get(s.Addr(), "/say", "localhost")
		if status, body := get(s.InternalAddr(), "/metrics", "localhost"); status != 200 || !strings.Contains(body, `headgate_http_requests_total{class="2xx",mount="/say"} 1`) {
			t.Errorf("%d %s", status, body)
		}
		if status, _ := get(s.InternalAddr(), "/debug/pprof/goroutine?debug=1", "localhost"); status != 200 {
			t.Errorf("pprof %d", status)
		}
		if status, _ := get(s.InternalAddr(), "/debug/pprof/cmdline", "localhost"); status == 200 {
			t.Error("the command line is shown")
		}
		if status, _ := get(s.InternalAddr(), "/metrics", "evil.test"); status != 403 {
			t.Errorf("rebound: %d", status)
		}
		for _, path := range []string{"/metrics", "/debug/pprof/"} {
			if status, _ := get(s.Addr(), path, "localhost"); status != 404 {
				t.Errorf("%s is public: %d", path, status)
			}
		}
	})
}

func TestTLS(t *testing.T) {
	lender := httptest.NewTLSServer(http.NotFoundHandler()) // of a certificate
	defer lender.Close()
	s, _, _ := running(t, server.Config{TLS: &tls.Config{Certificates: lender.TLS.Certificates}}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})})
	client := lender.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	res := testkit.Must(client.Get("https://" + s.Addr().String() + "/"))(t)
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "HTTP/2.0" || res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%s %v", got, res.Header)
	}
}

func TestHijack(t *testing.T) {
	s, j, stop := running(t, server.Config{}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
			_ = c.Close()
		}
	})})
	res := testkit.Must(http.Get("http://" + s.Addr().String() + "/"))(t)
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "hi" {
		t.Errorf("got %q", got)
	}
	testkit.Must0(t, stop())
	for end := time.Now().Add(5 * time.Second); !strings.Contains(j.text(), `"status":101`); runtime.Gosched() { // stopping waits for no hijacked connection
		if time.Now().After(end) {
			t.Fatal(j.text())
		}
	}
}

type nothing struct{ h http.Header }

func (n *nothing) Header() http.Header         { return n.h }
func (n *nothing) WriteHeader(int)             {}
func (n *nothing) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkEdge is what the server adds to every call of the Gateway, the log
// event included.
func BenchmarkEdge(b *testing.B) {
	s := testkit.Must(server.New(server.Config{Log: slog.New(slog.NewJSONHandler(io.Discard, nil))},
		server.Route{Prefix: "/v1", Handler: http.NotFoundHandler()}, server.Route{Prefix: "/mcp", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i := request.From(r.Context())
			i.Route, i.Principal = "/mcp/{server}", "key_01jz0000000000000000000000"
			_, _ = w.Write([]byte("{}"))
		})}))(b)
	r := httptest.NewRequest("POST", "http://localhost:8080/mcp/demo", nil)
	for _, h := range []string{"Authorization", "Content-Type", "Accept", "User-Agent", "Mcp-Protocol-Version", "Mcp-Session-Id", "Content-Length"} {
		r.Header.Set(h, "value")
	}
	w := &nothing{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		s.ServeHTTP(w, r)
	}
}
