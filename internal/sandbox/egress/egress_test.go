package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/sandbox/egress"
)

func parse(t *testing.T, hosts ...string) *egress.Rules {
	t.Helper()
	r, err := egress.Parse(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	r := parse(t, "API.example.com", "*.wild.com", "odd.com:8443")
	for _, c := range []struct {
		name    string
		port    uint16
		allowed bool
	}{
		{"api.example.com", 443, true}, {"api.example.com", 80, true}, {"API.EXAMPLE.COM.", 443, true},
		{"api.example.com", 22, false}, {"x.api.example.com", 443, false}, {"example.com", 443, false},
		{"evilapi.example.com", 443, false}, {"api.example.com.evil.com", 443, false},
		{"a.wild.com", 443, true}, {"a.b.wild.com", 443, true}, {"wild.com", 443, false}, {"evilwild.com", 443, false},
		{"odd.com", 8443, true}, {"odd.com", 443, false}, {"", 443, false},
	} {
		if got := r.Allows(c.name, c.port); got != c.allowed {
			t.Errorf("%s:%d: %v", c.name, c.port, got)
		}
	}
	t.Run("refuses what is no name", func(t *testing.T) {
		for _, text := range []string{
			"", "*", "*.", "127.0.0.1", "[::1]", "::1", "1.2.3.4:80", "a b.com", "http://a.com", "a.com/x", "a..com", "-a.com", "a-.com",
			"a.com:0", "a.com:x", "a.com:3128", "a.com:70000", "*.*.com", "a.*.com", strings.Repeat("a", 64) + ".com", "a.com\n127.0.0.1 b.com", "0x7f.1:x",
		} {
			if _, err := egress.Parse([]string{text}); err == nil {
				t.Errorf("%q was accepted", text)
			}
		}
	})
	t.Run("is bounded", func(t *testing.T) {
		var many, ports []string
		for i := range 65 {
			many = append(many, fmt.Sprintf("h%d.com", i))
			ports = append(ports, fmt.Sprintf("h.com:%d", 1000+i))
		}
		if _, err := egress.Parse(many); err == nil {
			t.Error("65 hosts were accepted")
		}
		if _, err := egress.Parse(ports[:9]); err == nil {
			t.Error("9 ports were accepted")
		}
	})
}

// upstream is a host that answers what it gets, and the dial that leads to it.
func upstream(t *testing.T) (net.Listener, egress.DialFunc) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}
}

func proxy(t *testing.T, dial egress.DialFunc, hosts ...string) (*egress.Gate, string) {
	t.Helper()
	g := egress.New(parse(t, hosts...), dial, slog.New(slog.DiscardHandler))
	t.Cleanup(g.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.Proxy(l)
	return g, l.Addr().String()
}

// connect asks for a tunnel and returns it with the status.
func connect(t *testing.T, at, host string) (net.Conn, *bufio.Reader, int) {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return conn, r, 0
	}
	return conn, r, resp.StatusCode
}

func TestTunnel(t *testing.T) {
	_, dial := upstream(t)
	g, at := proxy(t, dial, "api.example.com")
	t.Run("passes bytes both ways and the end of each", func(t *testing.T) {
		conn, r, status := connect(t, at, "api.example.com:443")
		if status != 200 {
			t.Fatalf("status %d", status)
		}
		fmt.Fprint(conn, "hello")
		_ = conn.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(r); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	})
	for _, host := range []string{"other.example.com:443", "api.example.com:22", "127.0.0.1:443", "169.254.169.254:80", "api.example.com", "api.example.com:443:1"} {
		t.Run("refuses "+host, func(t *testing.T) {
			if _, _, status := connect(t, at, host); status != 403 && status != 400 {
				t.Fatalf("status %d", status)
			}
		})
	}
	t.Run("holds a bounded number of connections, and others wait", func(t *testing.T) {
		var open []net.Conn
		for range 63 { // of 64, one of which waits for the next connection
			conn, _, status := connect(t, at, "api.example.com:443")
			if status != 200 {
				t.Fatalf("connection %d: status %d", len(open), status)
			}
			open = append(open, conn)
		}
		_, _, status := connect(t, at, "api.example.com:443")
		if status != 200 {
			t.Fatalf("the last slot: status %d", status)
		}
		waiting := make(chan int, 1)
		go func() {
			conn, err := net.Dial("tcp", at)
			if err != nil {
				waiting <- -1
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				waiting <- -1
				return
			}
			waiting <- resp.StatusCode
		}()
		select {
		case status := <-waiting:
			t.Fatalf("one too many got %d", status)
		case <-time.After(50 * time.Millisecond):
		}
		open[0].Close()
		if status := <-waiting; status != 200 {
			t.Fatalf("after a place became free: %d", status)
		}
	})
	t.Run("Close ends every connection and returns", func(t *testing.T) {
		done := make(chan struct{})
		go func() { g.Close(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatal("it hangs")
		}
		if _, err := net.DialTimeout("tcp", at, time.Second); err == nil {
			t.Fatal("it still listens")
		}
	})
}

func TestForward(t *testing.T) {
	var mu sync.Mutex
	var seen http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = r.Header.Clone()
		mu.Unlock()
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://127.0.0.1/", http.StatusFound)
			return
		}
		fmt.Fprint(w, r.Host, r.URL.RequestURI())
	}))
	defer server.Close()
	refusing := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "private.") {
			return nil, errors.New("a special address")
		}
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	_, at := proxy(t, refusing, "api.example.com", "private.example.com")
	get := func(t *testing.T, target string) (int, string) {
		t.Helper()
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: evil.example.com\r\nProxy-Authorization: secret\r\nConnection: close\r\n\r\n", target)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	t.Run("the URL decides the host, not the header", func(t *testing.T) {
		if status, body := get(t, "http://api.example.com/a?b"); status != 200 || body != "api.example.com/a?b" {
			t.Fatalf("got %d %q", status, body)
		}
		mu.Lock()
		defer mu.Unlock()
		if seen.Get("Proxy-Authorization") != "" || seen.Get("X-Forwarded-For") != "" {
			t.Fatalf("headers leak: %v", seen)
		}
	})
	t.Run("redirects are the child's to follow, through the list again", func(t *testing.T) {
		if status, _ := get(t, "http://api.example.com/away"); status != 302 {
			t.Fatalf("got %d", status)
		}
	})
	t.Run("a guard that refuses is a bad gateway that says nothing", func(t *testing.T) {
		if status, body := get(t, "http://private.example.com/"); status != 502 || body != "" {
			t.Fatalf("got %d %q", status, body)
		}
	})
	for _, target := range []string{"http://other.example.com/", "https://api.example.com/", "/", "http://127.0.0.1/", "http://api.example.com:8080/", "ftp://api.example.com/"} {
		t.Run("refuses "+target, func(t *testing.T) {
			if status, _ := get(t, target); status != 403 {
				t.Fatalf("got %d", status)
			}
		})
	}
}

func TestNoDialRefusesAll(t *testing.T) {
	_, at := proxy(t, nil, "api.example.com")
	if _, _, status := connect(t, at, "api.example.com:443"); status != 502 {
		t.Fatalf("status %d", status)
	}
}
