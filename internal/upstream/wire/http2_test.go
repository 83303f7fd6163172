package wire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

// h2 is a server of HTTP/2 whose answer to each request is a function of it.
type h2 struct {
	url      string
	trust    *tls.Config
	requests atomic.Int32
	conns    atomic.Int32
}

// h2conn is one connection to it.
type h2conn struct {
	*http2.Framer
	net.Conn
}

// answer sends a whole answer on a stream.
func (c *h2conn) answer(stream uint32, body string) {
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = enc.WriteField(hpack.HeaderField{Name: "content-type", Value: "application/json"})
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
	_ = c.WriteData(stream, true, []byte(body))
}

// serveH2 serves until the test ends. behave gets each request's stream and
// which request in the whole it is; false ends the connection.
func serveH2(t *testing.T, behave func(c *h2conn, stream uint32, n int32) bool) *h2 {
	t.Helper()
	certs, trust, _ := tlsServer(t, http.NotFoundHandler())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	s := &h2{url: "https://" + l.Addr().String() + "/mcp", trust: trust}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })() // the client may keep one more than it used
				_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				h := &h2conn{http2.NewFramer(c, c), c}
				_ = h.WriteSettings()
				for {
					f, err := h.ReadFrame()
					if err != nil {
						return
					}
					switch f := f.(type) {
					case *http2.SettingsFrame:
						if !f.IsAck() {
							_ = h.WriteSettingsAck()
						}
					case *http2.HeadersFrame:
						if !behave(h, f.StreamID, s.requests.Add(1)) {
							return
						}
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); all.Wait() })
	return s
}

// TestHTTP2Ends shows how calls end when a server of HTTP/2 ends a connection in
// the middle of them: with their answer or an error, and none is sent twice.
func TestHTTP2Ends(t *testing.T) {
	calling := func(t *testing.T, s *h2) func() (string, error) {
		c := wire.NewTransport(netguard.New(netguard.Policy{Loopback: true}).DialContext, wire.Options{TLS: s.trust})
		t.Cleanup(c.Close)
		return func() (string, error) {
			_, _, body, err := call(t.Context(), c, &wire.Request{Target: target(t, s.url), Body: [][]byte{[]byte("{}")}, Deadline: time.Now().Add(patience)})
			return body, err
		}
	}
	t.Run("a GOAWAY that names the call last lets it end, and the next one goes elsewhere", func(t *testing.T) {
		s := serveH2(t, func(c *h2conn, stream uint32, n int32) bool {
			if n == 1 {
				_ = c.WriteGoAway(stream, http2.ErrCodeNo, nil)
			}
			c.answer(stream, "{}")
			return true
		})
		do := calling(t, s)
		for range 3 {
			if body, err := do(); body != "{}" || err != nil {
				t.Fatalf("%q %v", body, err)
			}
		}
		if s.requests.Load() != 3 || s.conns.Load() != 2 {
			t.Errorf("%d requests over %d connections", s.requests.Load(), s.conns.Load())
		}
	})
	for name, behave := range map[string]func(c *h2conn, stream uint32, n int32) bool{
		"a GOAWAY that does not name it": func(c *h2conn, _ uint32, _ int32) bool { _ = c.WriteGoAway(0, http2.ErrCodeNo, nil); return false },
		"a GOAWAY over too many requests": func(c *h2conn, stream uint32, _ int32) bool {
			_ = c.WriteGoAway(stream, http2.ErrCodeEnhanceYourCalm, []byte("calm"))
			return false
		},
		"a reset": func(c *h2conn, stream uint32, _ int32) bool {
			_ = c.WriteRSTStream(stream, http2.ErrCodeInternal)
			return true
		},
		"a reset that says that nothing was done": func(c *h2conn, stream uint32, _ int32) bool {
			_ = c.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
			return true
		},
		"a flood of resets": func(c *h2conn, stream uint32, _ int32) bool {
			for range 10_000 {
				if c.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
					return false
				}
			}
			return true
		},
		"half an answer and a GOAWAY": func(c *h2conn, stream uint32, _ int32) bool {
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndHeaders: true}) // :status 200
			_ = c.WriteData(stream, false, []byte("{"))
			_ = c.WriteGoAway(stream, http2.ErrCodeNo, nil)
			return false
		},
	} {
		t.Run(name+" ends it with an error", func(t *testing.T) {
			s := serveH2(t, behave)
			do := calling(t, s)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if body, err := do(); !errors.Is(err, wire.ErrSent) {
						t.Errorf("%q %v", body, err)
					}
				})
			}
			wg.Wait()
			if n := s.requests.Load(); n > 20 {
				t.Errorf("%d requests of 20 calls", n)
			}
		})
	}
}
