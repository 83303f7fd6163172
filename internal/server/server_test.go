package server_test

import (
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
	s, _ = newServer(t, server.Config{Remark: func() string { return "stdio: off" }})
	if w := ask(s, "GET", "/readyz"); w.Code != 200 || w.Body.String() != "ok\nstdio: off\n" {
		t.Errorf("readyz with a remark %d %q", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/healthz"); w.Body.String() != "ok\n" {
		t.Errorf("healthz with a remark %q", w.Body)
	}
	if w := ask(s, "POST", "/readyz"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("POST %d", w.Code)
	}
}
