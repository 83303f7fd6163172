package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/sandbox/egress"
)

// A name that leads to an address inside is refused by the guard behind the
// gate, whichever way the child asks, and whatever the name server says later.
func TestNamesThatLeadInside(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	var reached atomic.Int32
	go func() {
		for {
			conn, err := inside.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	answers := map[string][]string{
		"loopback.test": {"127.0.0.1"}, "metadata.test": {"169.254.169.254"}, "private.test": {"10.0.0.1"}, "mapped.test": {"::ffff:127.0.0.1"},
		"nat64.test": {"64:ff9b::7f00:1"}, "both.test": {"93.184.216.34", "127.0.0.1"}, "zero.test": {"0.0.0.0"}, "localhost": {"127.0.0.1"},
	}
	var hosts []string
	for name := range answers {
		hosts = append(hosts, name+":"+port)
	}
	guard := netguard.NewWithResolver(netguard.Policy{}, func(_ context.Context, _, host string) (addrs []netip.Addr, err error) {
		for _, a := range answers[strings.TrimSuffix(host, ".")] {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs, nil
	})
	_, at := proxy(t, guard.DialContext, hosts...)
	for name := range answers {
		t.Run(name, func(t *testing.T) {
			for _, spelling := range []string{name, name + ".", strings.ToUpper(name)} {
				if _, _, status := connect(t, at, spelling+":"+port); status != 502 {
					t.Errorf("CONNECT %s: status %d", spelling, status)
				}
				if status, _ := ask(t, at, "GET http://"+spelling+":"+port+"/ HTTP/1.1\r\nHost: x\r\n\r\n"); status != 502 {
					t.Errorf("GET %s: status %d", spelling, status)
				}
			}
		})
	}
	if n := reached.Load(); n > 0 {
		t.Fatalf("%d connections arrived inside", n)
	}
}

// ask sends a request as it is and reads the first answer.
func ask(t *testing.T, at, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// What two parsers could read differently does not pass to a host.
func TestSmuggling(t *testing.T) {
	var mu sync.Mutex
	var got []string
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Method+" "+r.Host+r.URL.Path)
		mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	_, at := proxy(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}, "api.example.com")
	const hidden = "GET http://other.example.com/hidden HTTP/1.1\r\nHost: other.example.com\r\n\r\n"
	for name, request := range map[string]string{
		"a length and chunks":        "POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":                "POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n" + hidden,
		"an odd encoding":            "POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before the colon":   "POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Length : 100\r\n\r\n" + hidden,
		"a user in the URL":          "GET http://api.example.com@other.example.com/hidden HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"a line break in the path":   "GET http://api.example.com/%0d%0aHost:other.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"a second host":              "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nHost: other.example.com\r\n\r\n",
		"a request behind a CONNECT": "CONNECT other.example.com:80 HTTP/1.1\r\nHost: api.example.com:80\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			ask(t, at, request)
			mu.Lock()
			defer mu.Unlock()
			for _, line := range got {
				if strings.Contains(line, "hidden") || strings.Contains(line, "other") && !strings.Contains(line, " api.example.com/") {
					t.Error(line)
				}
			}
		})
	}
}

// A child that asks for thousands of hosts does not fill the disk with our log.
func TestLogIsBounded(t *testing.T) {
	var mu sync.Mutex
	var text bytes.Buffer
	g := egress.New(parse(t, "api.example.com"), nil, slog.New(slog.NewTextHandler(&locked{&mu, &text}, nil)))
	defer g.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.Proxy(l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := range 500 {
		fmt.Fprintf(conn, "GET http://%s%d.test/ HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("long", 1000), i)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if lines := strings.Count(text.String(), "\n"); lines < 10 || lines > 120 || text.Len() > 120*512 { // of two minutes at most
		t.Fatalf("%d lines, %d bytes", lines, text.Len())
	}
}

type locked struct {
	mu *sync.Mutex
	to io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

// Nothing stays connected to a host for a child that has gone.
func TestCloseLeavesNoConnection(t *testing.T) {
	var open atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		},
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	g, at := proxy(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}, "api.example.com")
	if status, _ := ask(t, at, "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n"); status != 200 {
		t.Fatalf("status %d", status)
	}
	if open.Load() != 1 {
		t.Fatalf("%d connections", open.Load())
	}
	g.Close()
	for end := time.Now().Add(20 * time.Second); open.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection stays open")
		}
	}
}
