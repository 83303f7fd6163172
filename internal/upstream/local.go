package upstream

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"headgate/internal/upstream/wire"
)

// localDomain is where in-process handlers live; no name server knows it.
const localDomain = ".headgate.internal"

// local serves handlers of this process over pipes, so that they are servers
// like any other.
type local struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once

	mu       sync.RWMutex
	handlers map[string]http.Handler
	next     int
}

func newLocal() *local {
	l := &local{conns: make(chan net.Conn), done: make(chan struct{}), handlers: map[string]http.Handler{}}
	l.server = &http.Server{Handler: l, ErrorLog: log.New(discard{}, "", 0)}
	return l
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// serve gives a handler an address, until drop takes it away.
func (l *local) serve(handler http.Handler) (host string) {
	l.once.Do(func() { go func() { _ = l.server.Serve(l) }() })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	host = "s" + strconv.Itoa(l.next) + localDomain
	l.handlers[host] = handler
	return host
}

func (l *local) drop(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.handlers, host)
}

func (l *local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.RLock()
	h := l.handlers[r.Host]
	l.mu.RUnlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h.ServeHTTP(w, r)
}

// or dials local addresses itself and all others with next.
func (l *local) or(next wire.Dial) wire.Dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || !strings.HasSuffix(host, localDomain) {
			return next(ctx, network, addr)
		}
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-l.done:
		case <-ctx.Done():
		}
		ours.Close()
		theirs.Close()
		return nil, errors.New("the local server is closed")
	}
}

// Accept implements net.Listener.
func (l *local) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *local) Close() error { return nil }

// Addr implements net.Listener.
func (l *local) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (l *local) close() {
	close(l.done)
	_ = l.server.Close()
}
