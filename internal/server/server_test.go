package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/server"
	"headgate/internal/server/request"
	"headgate/internal/testkit"
)

// journal is a log that tests read as events.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) events(t *testing.T) []map[string]any {
	t.Helper()
	var events []map[string]any
	for line := range strings.Lines(j.text()) {
		var e map[string]any
		testkit.Must0(t, json.Unmarshal([]byte(line), &e))
		events = append(events, e)
	}
	return events
}

// say answers with what the edge found out.
func say(w http.ResponseWriter, r *http.Request) {
	i := request.From(r.Context())
	i.Route, i.Principal = "/say/{what}", "key_1"
	_, _ = io.WriteString(w, i.Addr.String()+" "+map[bool]string{true: "secure", false: "plain"}[i.Secure])
}

func newServer(t testing.TB, cfg server.Config, routes ...server.Route) (*server.Server, *journal) {
	t.Helper()
	j := &journal{}
	cfg.Log = slog.New(slog.NewJSONHandler(j, nil))
	if routes == nil {
		routes = []server.Route{{Prefix: "/say", Handler: http.HandlerFunc(say)}}
	}
	return testkit.Must(server.New(cfg, routes...))(t), j
}

// ask sends a request without a connection. Headers are "Name: value".
func ask(s http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:8080"+path, nil)
	r.RemoteAddr = "192.0.2.9:4000"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "Peer":
			r.RemoteAddr = value
		case "Local":
			local := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(value))
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		case "TLS":
			r.TLS = &tls.ConnectionState{}
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestHostAndOrigin is M01: each is judged against its own list, so a page that
// rebinds its name to our address, whose Host and Origin agree, is refused.
func TestHostAndOrigin(t *testing.T) {
	loopback := server.Config{Listen: "127.0.0.1:8080"}
	public := server.Config{
		Listen: "0.0.0.0:443", BaseDomains: []string{"gate.test"}, Hosts: []string{"other.test:444"}, Origins: []string{"https://console.test"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	for _, c := range []struct {
		name    string
		cfg     server.Config
		method  string
		headers []string
		want    int
	}{
		{"loopback, no origin", loopback, "POST", []string{"Host: localhost:8080"}, 200},
		{"loopback by address, no origin", loopback, "POST", []string{"Host: [::1]:8080"}, 200},
		{"loopback, its own page", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://127.0.0.1:8080"}, 200},
		{"loopback, a page of another local port", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://localhost:3000"}, 403},
		{"rebound: host and origin agree and are evil", loopback, "POST", []string{"Host: evil.test:8080", "Origin: http://evil.test:8080"}, 403},
		{"rebound, without an origin", loopback, "GET", []string{"Host: evil.test:8080"}, 403},
		{"good host, evil origin", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://evil.test"}, 403},
		{"good host, null origin", loopback, "POST", []string{"Host: localhost:8080", "Origin: null"}, 403},
		{"good host, two origins", loopback, "POST", []string{"Host: localhost:8080", "Origin: http://localhost:8080", "Origin: http://evil.test"}, 403},
		{"a cross-site post of a browser that hides its origin", loopback, "POST", []string{"Host: localhost:8080", "Sec-Fetch-Site: cross-site"}, 403},
		{"a link followed from another site", loopback, "GET", []string{"Host: localhost:8080", "Sec-Fetch-Site: cross-site"}, 200},
		{"no host", loopback, "GET", []string{"Host: "}, 403},
		{"a host with a path", loopback, "GET", []string{"Host: localhost/abc?"}, 403},
		{"a host that ends like ours", public, "GET", []string{"Host: evilgate.test"}, 403},
		{"the base domain", public, "GET", []string{"Host: gate.test", "TLS: 1"}, 200},
		{"the base domain in capitals, with a port", public, "GET", []string{"Host: GATE.test:443", "TLS: 1"}, 200},
		{"an organization's name", public, "GET", []string{"Host: acme.gate.test", "TLS: 1"}, 200},
		{"a name two levels down", public, "GET", []string{"Host: a.b.gate.test", "TLS: 1"}, 403},
		{"a trailing dot", public, "GET", []string{"Host: gate.test.", "TLS: 1"}, 403},
		{"localhost from outside", public, "GET", []string{"Host: localhost"}, 403},
		{"a further host on its port", public, "GET", []string{"Host: other.test:444", "TLS: 1"}, 200},
		{"a further host on another port", public, "GET", []string{"Host: other.test", "TLS: 1"}, 403},
		{"the address a probe connected to", public, "GET", []string{"Host: 10.1.2.3:443", "Local: 10.1.2.3:443"}, 200},
		{"another address", public, "GET", []string{"Host: 10.1.2.4:443", "Local: 10.1.2.3:443"}, 403},
		{"its own page", public, "POST", []string{"Host: acme.gate.test", "TLS: 1", "Origin: https://acme.gate.test"}, 200},
		{"its own page without TLS", public, "POST", []string{"Host: acme.gate.test", "TLS: 1", "Origin: http://acme.gate.test"}, 403},
		{"a listed page", public, "POST", []string{"Host: gate.test", "TLS: 1", "Origin: https://console.test"}, 200},
		{"a listed page on another port", public, "POST", []string{"Host: gate.test", "TLS: 1", "Origin: https://console.test:444"}, 403},
		{"a listed page on an evil host", public, "POST", []string{"Host: evil.test", "TLS: 1", "Origin: https://console.test"}, 403},
		{"proxied, the name the proxy was asked for", public, "POST", []string{"Peer: 10.0.0.1:1", "Host: backend:8080", "X-Forwarded-Host: gate.test", "X-Forwarded-Proto: https", "Origin: https://gate.test"}, 200},
		{"proxied, evil", public, "POST", []string{"Peer: 10.0.0.1:1", "Host: backend:8080", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Origin: https://evil.test"}, 403},
		{"not proxied, but claims to be", public, "POST", []string{"Host: evil.test", "X-Forwarded-Host: gate.test"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, c.cfg)
			if w := ask(s, c.method, "/say", c.headers...); w.Code != c.want {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.want)
			}
		})
	}
	t.Run("a route that judges origins itself still has its host judged", func(t *testing.T) {
		s, _ := newServer(t, loopback, server.Route{Prefix: "/app", Handler: http.HandlerFunc(say), OwnOrigin: func(*http.Request) bool { return true }})
		if w := ask(s, "POST", "/app", "Origin: https://tenant.test"); w.Code != 200 {
			t.Errorf("got %d", w.Code)
		}
		if w := ask(s, "POST", "/app", "Origin: https://tenant.test", "Host: evil.test"); w.Code != 403 {
			t.Errorf("got %d", w.Code)
		}
	})
}

// TestClientAddress is A17: no header from outside says who or where a caller is.
func TestClientAddress(t *testing.T) {
	proxied := server.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for _, c := range []struct {
		name, want string
		headers    []string
	}{
		{"a direct caller is its connection's", "192.0.2.9 plain", nil},
		{"a direct caller's claims are not believed", "192.0.2.9 plain", []string{"X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.5", "X-Real-IP: 203.0.113.5"}},
		{"a proxy's word is", "203.0.113.5 secure", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https"}},
		{"only its last untrusted entry", "203.0.113.5 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 198.51.100.1, 203.0.113.5, 10.0.0.7"}},
		{"over several headers", "203.0.113.5 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 198.51.100.1, 203.0.113.5", "X-Forwarded-For: 10.0.0.7"}},
		{"junk ends the walk", "10.0.0.7 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-For: 203.0.113.5, junk, 10.0.0.7"}},
		{"a proxy that says nothing is the caller", "10.0.0.1 plain", []string{"Peer: 10.0.0.1:1"}},
		{"IPv4 in IPv6 is IPv4", "203.0.113.5 plain", []string{"Peer: [::ffff:10.0.0.1]:1", "X-Forwarded-For: ::ffff:203.0.113.5"}},
		{"two protocols are none", "10.0.0.1 plain", []string{"Peer: 10.0.0.1:1", "X-Forwarded-Proto: https,http"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, proxied)
			testkit.Equal(t, ask(s, "GET", "/say", c.headers...).Body.String(), c.want)
		})
	}
	t.Run("no handler sees such a header, from anybody", func(t *testing.T) {
		names := []string{
			"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-User", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
			"X-User-Id", "X-Tenant-Id", "X-Remote-User", "Remote-User", "X-Auth-Request-Email", "X-Headgate-Internal-Principal", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override",
		}
		var seen http.Header
		s, _ := newServer(t, proxied, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })})
		headers := []string{"X-Headgate-Org-Id: org_1", "X-API-Key: k"}
		for _, n := range names {
			headers = append(headers, n+": localhost")
		}
		for _, peer := range []string{"192.0.2.9:1", "10.0.0.1:1"} {
			ask(s, "GET", "/", append(headers, "Peer: "+peer)...)
			testkit.Equal(t, seen, http.Header{"X-Headgate-Org-Id": {"org_1"}, "X-Api-Key": {"k"}})
		}
	})
}

func TestHeaders(t *testing.T) {
	s, _ := newServer(t, server.Config{}, server.Route{Prefix: "/say", Handler: http.HandlerFunc(say)},
		server.Route{Prefix: "/", OwnHeaders: true, Handler: http.HandlerFunc(say)})
	t.Run("every answer has them, refusals too", func(t *testing.T) {
		for _, host := range []string{"localhost", "evil.test"} {
			h := ask(s, "GET", "/say", "TLS: 1", "Host: "+host).Header()
			if !strings.HasPrefix(h.Get("X-Request-Id"), "req_") {
				t.Error("no request id")
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
				"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cache-Control": "no-store",
				"Strict-Transport-Security": "max-age=63072000; includeSubDomains",
			} {
				testkit.Equal(t, h.Get(name), want)
			}
		}
	})
	t.Run("without TLS there is no HSTS", func(t *testing.T) {
		if got := ask(s, "GET", "/say").Header().Get("Strict-Transport-Security"); got != "" {
			t.Error(got)
		}
	})
	t.Run("pages set their own policy", func(t *testing.T) {
		h := ask(s, "GET", "/page").Header()
		testkit.Equal(t, []string{h.Get("Content-Security-Policy"), h.Get("Cache-Control"), h.Get("X-Content-Type-Options")}, []string{"", "", "nosniff"})
	})
	t.Run("an answer that adds to one does not change the next", func(t *testing.T) {
		s, _ := newServer(t, server.Config{}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Cache-Control", "private")
			w.Header().Set("Referrer-Policy", "origin")
		})})
		ask(s, "GET", "/")
		h := ask(s, "GET", "/evil", "Host: evil.test").Header()
		testkit.Equal(t, []string{h.Get("Cache-Control"), h.Get("Referrer-Policy")}, []string{"no-store", "no-referrer"})
	})
}

// door refuses in its own words.
type door struct{ http.Handler }

func (door) Refuse(w http.ResponseWriter, _ *http.Request, err error) {
	w.WriteHeader(418)
	_, _ = io.WriteString(w, "door")
}

func TestRoutes(t *testing.T) {
	name := func(n string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, n) })
	}
	s, _ := newServer(t, server.Config{}, server.Route{Prefix: "/v1", Handler: door{name("v1")}}, server.Route{Prefix: "/api/mcp", Handler: name("account")},
		server.Route{Prefix: "/api", Handler: name("api")})
	for path, want := range map[string]string{"/v1": "v1", "/v1/": "v1", "/v1/a//b": "v1", "/api/mcp/x": "account", "/api/v1": "api", "/api/mcpx": "api"} {
		t.Run(path, func(t *testing.T) { testkit.Equal(t, ask(s, "GET", path).Body.String(), want) })
	}
	t.Run("nothing is redirected, folded or cleaned on the way", func(t *testing.T) {
		for _, path := range []string{"/", "/v1x", "//v1", "/V1", "/x/../v1", "/./v1"} {
			if w := ask(s, "GET", path); w.Code != 404 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
	t.Run("what the edge refuses is in the door's form", func(t *testing.T) {
		if w := ask(s, "GET", "/v1/x", "Host: evil.test"); w.Code != 418 || w.Body.String() != "door" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("TRACE and CONNECT are refused", func(t *testing.T) {
		if w := ask(s, "TRACE", "/api"); w.Code != 405 {
			t.Errorf("TRACE: %d", w.Code)
		}
		if w := ask(s, "CONNECT", "", "Host: localhost"); w.Code != 405 && w.Code != 404 {
			t.Errorf("CONNECT: %d", w.Code)
		}
	})
}

func TestEvent(t *testing.T) {
	t.Run("a request is one line, without its query", func(t *testing.T) {
		s, j := newServer(t, server.Config{})
		w := ask(s, "GET", "/say/secret-path?q=secret-query", "Authorization: Bearer secret-key")
		events := j.events(t)
		if len(events) != 1 || strings.Contains(j.text(), "secret") {
			t.Fatalf("log: %s", j.text())
		}
		e := events[0]
		if _, ok := e["duration"].(float64); !ok {
			t.Error("no duration")
		}
		delete(e, "duration")
		delete(e, "time")
		testkit.Equal(t, e, map[string]any{"level": "INFO", "msg": "request", "method": "GET", "route": "/say/{what}", "status": 200.0,
			"principal": "key_1", "request_id": w.Header().Get("X-Request-Id")})
	})
	t.Run("an invented method is not repeated", func(t *testing.T) {
		s, j := newServer(t, server.Config{})
		ask(s, "SECRET", "/say")
		if strings.Contains(j.text(), "SECRET") {
			t.Error(j.text())
		}
	})
	t.Run("a panic is a 500 with the request id, logged once", func(t *testing.T) {
		s, j := newServer(t, server.Config{}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret-reason") })})
		w := ask(s, "GET", "/")
		events := j.events(t)
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if len(events) != 1 || events[0]["level"] != "ERROR" || events[0]["error"] != "panic: secret-reason" || !strings.Contains(events[0]["stack"].(string), "server_test.go") {
			t.Errorf("log: %s", j.text())
		}
	})
	t.Run("a panic behind half an answer cuts the connection, logged once", func(t *testing.T) {
		s, j := newServer(t, server.Config{}, server.Route{Prefix: "/", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("late")
		})})
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("recovered %v", err)
				}
			}()
			ask(s, "GET", "/")
		}()
		if events := j.events(t); len(events) != 1 || events[0]["level"] != "ERROR" {
			t.Errorf("log: %s", j.text())
		}
	})
	t.Run("a quiet route tells only what went wrong", func(t *testing.T) {
		s, j := newServer(t, server.Config{}, server.Route{Prefix: "/mcp", Quiet: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/mcp/bad" {
				w.WriteHeader(400)
			}
		})})
		ask(s, "POST", "/mcp/good")
		ask(s, "POST", "/mcp/bad")
		if events := j.events(t); len(events) != 1 || events[0]["status"] != 400.0 {
			t.Errorf("log: %s", j.text())
		}
	})
	t.Run("probes that succeed are no events", func(t *testing.T) {
		s, j := newServer(t, server.Config{})
		ask(s, "GET", "/healthz")
		ask(s, "GET", "/readyz")
		if j.text() != "" {
			t.Error(j.text())
		}
	})
}

func TestHealth(t *testing.T) {
	ready := errors.New("first-run.json is not complete")
	s, j := newServer(t, server.Config{Ready: func(context.Context) error { return ready }}, server.Route{Prefix: "/", Handler: http.HandlerFunc(say)})
	if w := ask(s, "GET", "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("healthz %d", w.Code)
	}
	if w := ask(s, "GET", "/readyz"); w.Code != 503 || strings.Contains(w.Body.String(), "first-run") || w.Header().Get("Retry-After") == "" {
		t.Errorf("readyz %d %s", w.Code, w.Body)
	}
	if !strings.Contains(j.text(), "first-run") {
		t.Error("the log does not say why")
	}
	ready = nil
	if w := ask(s, "GET", "/readyz"); w.Code != 200 {
		t.Errorf("readyz %d", w.Code)
	}
	if w := ask(s, "POST", "/readyz"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST %d", w.Code)
	}
}

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
		for { // until the server has seen it
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
	if !strings.Contains(j.text(), `"status":101`) {
		t.Error(j.text())
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
