package wire_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

// tlsServer serves over TLS, with HTTP/2 on offer, and returns what to trust.
func tlsServer(tb testing.TB, h http.Handler) (*httptest.Server, *tls.Config, *atomic.Int32) {
	tb.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	conns := new(atomic.Int32)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Config.ErrorLog = quiet
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return srv, &tls.Config{RootCAs: roots}, conns
}

func TestTLS(t *testing.T) {
	srv, trust, conns := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", r.Proto)
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
	up := &upstream{url: srv.URL}
	t.Run("speaks HTTP/1.1 and uses the connection again", func(t *testing.T) {
		p := newPool(t, wire.Options{TLS: trust})
		for range 5 {
			resp, err := p.Do(t.Context(), post(t, up, patience))
			if err != nil {
				t.Fatal(err)
			}
			body, err := resp.ReadAll(0)
			if err != nil || string(body) != "{}" || resp.Header("Mcp-Session-Id") != "HTTP/1.1" {
				t.Fatalf("got %q over %s, %v", body, resp.Header("Mcp-Session-Id"), err)
			}
			resp.Release()
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("carries large messages", func(t *testing.T) {
		p := newPool(t, wire.Options{TLS: trust})
		r := post(t, up, patience)
		r.Body = [][]byte{bytes.Repeat([]byte("x"), 100_000), bytes.Repeat([]byte("y"), 200_000)}
		if got := must(t, p, r); got != string(bytes.Join(r.Body, nil)) {
			t.Errorf("got %d bytes", len(got))
		}
	})
	t.Run("refuses a certificate it has no reason to trust", func(t *testing.T) {
		for _, config := range []*tls.Config{nil, {InsecureSkipVerify: true}} {
			if _, _, _, err := call(t.Context(), newPool(t, wire.Options{TLS: config}), post(t, up, patience)); !errors.Is(err, wire.ErrDial) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("refuses a certificate for another name", func(t *testing.T) {
		p := newPool(t, wire.Options{TLS: trust})
		r := post(t, up, patience)
		r.Target = target(t, strings.Replace(srv.URL, "127.0.0.1", "127.0.0.2", 1))
		_, _, _, err := call(t.Context(), p, r)
		if !errors.Is(err, wire.ErrDial) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ends a handshake that does not", func(t *testing.T) {
		silent := serve(t, (*peer).hold)
		p := newPool(t, wire.Options{})
		r := post(t, silent, hurry)
		r.Target = target(t, strings.Replace(silent.url, "http:", "https:", 1))
		if _, _, _, err := call(t.Context(), p, r); !errors.Is(err, wire.ErrDial) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ends a wait for the answer", func(t *testing.T) {
		hanging, slowTrust, _ := tlsServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}))
		p := newPool(t, wire.Options{TLS: slowTrust})
		if _, _, _, err := call(t.Context(), p, post(t, &upstream{url: hanging.URL}, hurry)); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
}

// gathering holds writes back, to send several TLS records in one packet.
type gathering struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.hold {
		return g.held.Write(p)
	}
	return g.Conn.Write(p)
}

// tlsAnswering answers with several records sent together.
func tlsAnswering(tb testing.TB, certs *httptest.Server, records ...string) *upstream {
	up := serve(tb, func(p *peer) {
		g := &gathering{Conn: p.Conn}
		secure := tls.Server(g, &tls.Config{Certificates: certs.TLS.Certificates})
		in := &peer{Conn: secure, in: bufio.NewReader(secure), up: p.up}
		for {
			if _, ok := in.request(); !ok {
				return
			}
			g.hold = true
			for _, r := range records {
				in.say(r)
			}
			g.hold = false
			g.Conn.Write(g.held.Bytes())
			g.held.Reset()
		}
	})
	up.url = strings.Replace(up.url, "http:", "https:", 1)
	return up
}

func TestTLSRecords(t *testing.T) {
	certs, trust, _ := tlsServer(t, http.NotFoundHandler())
	for _, c := range []struct {
		name    string
		records []string
		body    string
		conns   int32
	}{
		{"an answer in several records leaves the connection usable", []string{okHead, "Content-Length: 2\r\n\r\n", "{}"}, "{}", 1},
		{"records after the answer do not become the next one", []string{okAnswer, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, "{}", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := tlsAnswering(t, certs, c.records...)
			p := newPool(t, wire.Options{TLS: trust})
			for range 3 {
				if got := must(t, p, post(t, up, patience)); got != c.body {
					t.Fatalf("got %q", got)
				}
			}
			if n := up.conns.Load(); n != c.conns {
				t.Errorf("%d connections, want %d", n, c.conns)
			}
		})
	}
	t.Run("a stream closed after its last event keeps the connection if its end has come", func(t *testing.T) {
		up := tlsAnswering(t, certs, sseHead+chunked+"9\r\ndata: 1\n\n\r\n", "0\r\n\r\n")
		p := newPool(t, wire.Options{TLS: trust})
		for range 3 {
			resp, err := p.Do(t.Context(), post(t, up, patience))
			if err != nil {
				t.Fatal(err)
			}
			if e, err := resp.NextEvent(0); err != nil || string(e.Data) != "1" {
				t.Fatalf("got %q, %v", e.Data, err)
			}
			resp.Release()
		}
		if n := up.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestTransport(t *testing.T) {
	srv, trust, conns := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Mcp-Session-Id", r.Proto+" "+r.Header.Get("X-A")+" "+r.Header.Get("Accept-Encoding")+" "+r.UserAgent())
			w.Write(body)
		case "/sse":
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			for range 3 {
				io.WriteString(w, "data: x\r\n\r\n")
				w.(http.Flusher).Flush()
			}
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
		case "/big":
			w.Write(make([]byte, 2*maxTestBody))
		case "/away":
			http.Redirect(w, r, "/echo", http.StatusTemporaryRedirect)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/hang":
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "{}")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	dial := netguard.New(netguard.Policy{Loopback: true}).DialContext
	c := wire.NewTransport(dial, wire.Options{TLS: trust})
	defer c.Close()
	ask := func(path string, d time.Duration) *wire.Request {
		return &wire.Request{Target: target(t, srv.URL+path, wire.Field{Name: "X-A", Value: "b"}), Body: [][]byte{[]byte("{"), []byte("}")}, Deadline: time.Now().Add(d)}
	}
	t.Run("speaks HTTP/2 and sends what Pool sends", func(t *testing.T) {
		for range 3 {
			resp, err := c.Do(t.Context(), ask("/echo", patience))
			if err != nil {
				t.Fatal(err)
			}
			body, err := resp.ReadAll(0)
			if want := "HTTP/2.0 b identity headgate"; err != nil || string(body) != "{}" || resp.Kind != wire.JSON || resp.Header("mcp-session-id") != want {
				t.Fatalf("got %q, %q, %v", body, resp.Header("mcp-session-id"), err)
			}
			resp.Release()
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	for _, want := range []struct {
		path   string
		status int
		kind   wire.ContentKind
		body   string
		err    error
	}{
		{"/sse", 200, wire.SSE, "x|x|x", nil},
		{"/away", 307, wire.None, "", nil},
		{"/none", 204, wire.None, "", nil},
		{"/gzip", 0, 0, "", wire.ErrProtocol},
		{"/big", 0, 0, "", wire.ErrTooLarge},
		{"/cut", 0, 0, "", wire.ErrSent},
		{"/hang", 0, 0, "", wire.ErrTimeout},
	} {
		t.Run("reads "+want.path+" as Pool does", func(t *testing.T) {
			d := patience
			if want.path == "/hang" {
				d = hurry
			}
			status, kind, body, err := call(t.Context(), c, ask(want.path, d))
			if !errors.Is(err, want.err) || err == nil && (status != want.status || kind != want.kind || body != want.body) {
				t.Fatalf("got %d, kind %d, %q, %v", status, kind, body, err)
			}
		})
	}
	t.Run("says when nothing was sent", func(t *testing.T) {
		closed := wire.NewTransport(netguard.New(netguard.Policy{}).DialContext, wire.Options{})
		if _, _, _, err := call(t.Context(), closed, ask("/echo", patience)); !errors.Is(err, wire.ErrDial) || !errors.Is(err, netguard.ErrBlocked) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("never sends a request twice", func(t *testing.T) {
		up := serve(t, func(p *peer) {
			if _, ok := p.request(); ok {
				p.say(okAnswer)
				p.request()
			}
		})
		h1 := wire.NewTransport(dial, wire.Options{})
		defer h1.Close()
		r := post(t, up, patience)
		r.Fields = []wire.Field{{Name: "Idempotency-Key", Value: "1"}} // net/http would take it as leave to repeat
		must(t, h1, r)
		if _, _, _, err := call(t.Context(), h1, r); !errors.Is(err, wire.ErrSent) || up.requests.Load() != 2 {
			t.Errorf("got %v after %d requests", err, up.requests.Load())
		}
	})
}
