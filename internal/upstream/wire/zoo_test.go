package wire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/fault"
	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

// upstream is a TCP server whose behaviour is a function of the connection.
type upstream struct {
	url      string
	conns    atomic.Int32
	requests atomic.Int32
	over     chan struct{} // closed when the test ends
}

// peer is the server's end of one connection.
type peer struct {
	net.Conn
	in *bufio.Reader
	up *upstream
}

// request reads one request and returns its body; ok is false at the end.
func (p *peer) request() (body string, ok bool) {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return "", false
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "", false
	}
	p.up.requests.Add(1)
	return string(b), true
}

func (p *peer) say(text string) { io.WriteString(p.Conn, text) }

// hold waits until the client has gone.
func (p *peer) hold() { io.Copy(io.Discard, p.in) }

// reset makes the end of the connection a RST.
func (p *peer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Conn.Close()
}

func serve(tb testing.TB, behave func(*peer)) *upstream {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	up := &upstream{url: "http://" + l.Addr().String() + "/mcp", over: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up.conns.Add(1)
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })() // even if the pool outlives the upstream
				behave(&peer{Conn: c, in: bufio.NewReader(c), up: up})
			})
		}
	})
	tb.Cleanup(func() { l.Close(); close(up.over); cancel(); all.Wait() })
	return up
}

// answering serves the same bytes to every request.
func answering(tb testing.TB, answer string) *upstream {
	return serve(tb, func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			p.say(answer)
		}
	})
}

// newPool returns a pool that must have nothing left when the test is over.
func newPool(tb testing.TB, o wire.Options) *wire.Pool {
	tb.Helper()
	checkLeaks(tb)
	p := wire.NewPool(netguard.New(netguard.Policy{Loopback: true}).DialContext, o)
	tb.Cleanup(p.Close)
	return p
}

// checkLeaks compares goroutines and descriptors before and after the test.
func checkLeaks(tb testing.TB) {
	tb.Helper()
	count := func() (goroutines, files int) {
		entries, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine(), len(entries)
	}
	g, f := count()
	tb.Cleanup(func() {
		var g2, f2 int
		for range 300 {
			if g2, f2 = count(); g2 <= g && f2 <= f {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stacks := make([]byte, 64<<10)
		tb.Errorf("left behind: goroutines %d -> %d, files %d -> %d\n%s", g, g2, f, f2, stacks[:runtime.Stack(stacks, true)])
	})
}

const maxTestBody = 1 << 20

// call does one request and reads its answer whole: the body, or the data of
// all events joined by "|".
func call(ctx context.Context, c wire.Client, r *wire.Request) (status int, kind wire.ContentKind, body string, err error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return 0, 0, "", err
	}
	defer resp.Release()
	if resp.Kind != wire.SSE {
		b, err := resp.ReadAll(maxTestBody)
		return resp.Status, resp.Kind, string(b), err
	}
	var data []string
	for {
		e, err := resp.NextEvent(maxTestBody)
		if err == io.EOF {
			return resp.Status, resp.Kind, strings.Join(data, "|"), nil
		}
		if err != nil {
			return resp.Status, resp.Kind, strings.Join(data, "|"), err
		}
		data = append(data, string(e.Data))
	}
}

func post(tb testing.TB, up *upstream, patience time.Duration) *wire.Request {
	return &wire.Request{Target: target(tb, up.url), Body: [][]byte{[]byte("{}")}, Deadline: time.Now().Add(patience)}
}

const (
	patience = 5 * time.Second
	hurry    = 80 * time.Millisecond
	okHead   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	sseHead  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	okAnswer = okHead + "Content-Length: 2\r\n\r\n{}"
	chunked  = "Transfer-Encoding: chunked\r\n\r\n"
)

// once is a behaviour: read one request, then act.
func once(act func(*peer)) func(*peer) {
	return func(p *peer) {
		if _, ok := p.request(); ok {
			act(p)
		}
	}
}

// forever repeats text until the client has gone.
func forever(start, text string, pause time.Duration) func(*peer) {
	return once(func(p *peer) {
		p.say(start)
		for {
			if _, err := io.WriteString(p.Conn, text); err != nil {
				return
			}
			time.Sleep(pause)
		}
	})
}

func TestZoo(t *testing.T) {
	block := strings.Repeat("x", 32<<10)
	for _, c := range []struct {
		name     string
		behave   func(*peer)
		patience time.Duration
		want     *fault.Error
	}{
		{"never answers", once((*peer).hold), hurry, wire.ErrTimeout},
		{"never reads", func(p *peer) { <-p.up.over }, hurry, wire.ErrTimeout},
		{"sends its head byte by byte", forever("HTTP/1.1 200 OK\r\nX: ", "x", 10*time.Millisecond), hurry, wire.ErrTimeout},
		{"sends a head and then nothing", once(func(p *peer) { p.say(okHead + "Content-Length: 2\r\n\r\n"); p.hold() }), hurry, wire.ErrTimeout},
		{"sends its body byte by byte", forever(okHead+"Content-Length: 9999\r\n\r\n", "x", 10*time.Millisecond), hurry, wire.ErrTimeout},
		{"sends comments for ever", forever(sseHead+"\r\n", ": alive\n\n", time.Millisecond), hurry, wire.ErrTimeout},
		{"sends events for ever", forever(sseHead+"\r\n", "data: x\n\n", time.Millisecond), hurry, wire.ErrTimeout},

		{"announces 1 GB", once(func(p *peer) { p.say(okHead + "Content-Length: 1073741824\r\n\r\n"); p.hold() }), patience, wire.ErrTooLarge},
		{"sends chunks without end", forever(okHead+chunked, fmt.Sprintf("%x\r\n%s\r\n", len(block), block), 0), patience, wire.ErrTooLarge},
		{"sends a body without length or end", forever(okHead+"\r\n", block, 0), patience, wire.ErrTooLarge},
		{"sends an event without end", forever(sseHead+"\r\ndata: ", block, 0), patience, wire.ErrTooLarge},
		{"sends data lines without end", forever(sseHead+"\r\n", "data: "+block+"\n", 0), patience, wire.ErrTooLarge},
		{"sends a head without end", forever("HTTP/1.1 200 OK\r\n", "X-Fill: "+block[:1000]+"\r\n", 0), patience, wire.ErrProtocol},
		{"sends a header line without end", forever("HTTP/1.1 200 OK\r\nX-Fill: ", block, 0), patience, wire.ErrProtocol},
		{"sends trailers without end", forever(okHead+chunked+"0\r\n", "X-Fill: "+block[:1000]+"\r\n", 0), patience, wire.ErrProtocol},
		{"sends interim answers without end", forever("", "HTTP/1.1 100 Continue\r\n\r\n", 0), patience, wire.ErrProtocol},
		{"sends tiny chunks with long extensions", forever(okHead+chunked, "1;"+block[:200]+"\r\nx\r\n", 0), patience, wire.ErrProtocol},

		{"closes before the answer", once(func(*peer) {}), patience, wire.ErrSent},
		{"resets before the answer", once((*peer).reset), patience, wire.ErrSent},
		{"closes inside the head", once(func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-") }), patience, wire.ErrSent},
		{"closes inside the body", once(func(p *peer) { p.say(okHead + "Content-Length: 9\r\n\r\n{}") }), patience, wire.ErrSent},
		{"resets inside the body", once(func(p *peer) { p.say(okHead + "Content-Length: 99999\r\n\r\n{}"); p.reset() }), patience, wire.ErrSent},
		{"closes inside a chunk", once(func(p *peer) { p.say(okHead + chunked + "9\r\n{}") }), patience, wire.ErrSent},
		{"closes between chunks", once(func(p *peer) { p.say(okHead + chunked + "2\r\n{}\r\n") }), patience, wire.ErrSent},
		{"closes inside the trailers", once(func(p *peer) { p.say(okHead + chunked + "0\r\nX: y\r\n") }), patience, wire.ErrSent},
		{"closes a chunked stream without its end", once(func(p *peer) { p.say(sseHead + chunked + "9\r\ndata: x\n\n\r\n") }), patience, wire.ErrSent},
	} {
		t.Run("an upstream that "+c.name, func(t *testing.T) {
			t.Parallel()
			up := serve(t, c.behave)
			p := wire.NewPool(netguard.New(netguard.Policy{Loopback: true}).DialContext, wire.Options{})
			t.Cleanup(p.Close)
			start := time.Now()
			status, _, body, err := call(t.Context(), p, post(t, up, c.patience))
			if !errors.Is(err, c.want) {
				t.Fatalf("got %d %.60q, %v; want %s", status, body, err, c.want.Code)
			}
			if took := time.Since(start); took > c.patience+2*time.Second {
				t.Errorf("it took %s", took)
			}
			if s := p.Stats(); s != (wire.Stats{}) {
				t.Errorf("connections are left: %+v", s)
			}
			if n := up.requests.Load(); n > 1 {
				t.Errorf("the request was sent %d times", n)
			}
		})
	}
}

func TestZooLeavesNothing(t *testing.T) {
	p := newPool(t, wire.Options{})
	var all sync.WaitGroup
	for _, behave := range []func(*peer){
		once((*peer).hold), once((*peer).reset), forever(sseHead+"\r\n", ": x\n", time.Millisecond),
		once(func(p *peer) { p.say(okHead + "Content-Length: 9\r\n\r\n{}"); p.hold() }),
	} {
		up := serve(t, behave)
		for range 25 {
			all.Go(func() {
				if _, _, _, err := call(t.Context(), p, post(t, up, hurry)); err == nil {
					t.Error("no error")
				}
			})
		}
	}
	all.Wait()
	if s := p.Stats(); s != (wire.Stats{}) {
		t.Errorf("connections are left: %+v", s)
	}
}
