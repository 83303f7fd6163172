package egress

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	maxConns    = 64 // of one child, both ways together
	dialTimeout = 10 * time.Second
	idleTimeout = 5 * time.Minute
	maxHeader   = 16 << 10
	maxSaid     = 60  // lines of the log a minute: a child could fill the disk with them
	maxShown    = 260 // bytes of a name that a child made up
)

// DialFunc connects to a host by name. It must refuse special addresses.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Gate passes the connections of one child. Make one with New, give it
// listeners, and Close it when the child has ended.
type Gate struct {
	rules *Rules
	dial  DialFunc
	log   *slog.Logger
	slots chan struct{}
	ctx   context.Context
	stop  context.CancelFunc

	mu     sync.Mutex
	open   map[io.Closer]struct{}
	closed bool
	work   sync.WaitGroup

	said   int // lines of the log in the minute that began at saying
	saying time.Time
}

// New returns a gate. A nil dial refuses every connection.
func New(rules *Rules, dial DialFunc, log *slog.Logger) *Gate {
	if dial == nil {
		dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no way out is configured")
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Gate{
		rules: rules, dial: dial, log: log, slots: make(chan struct{}, maxConns),
		ctx: ctx, stop: stop, open: map[io.Closer]struct{}{},
	}
}

// Direct accepts connections to the addresses of Hosts until Close.
func (g *Gate) Direct(l net.Listener) {
	if !g.keep(l) {
		return
	}
	g.work.Go(func() {
		for {
			conn, err := g.accept(l)
			if err != nil {
				return
			}
			g.work.Go(func() {
				defer g.release(conn)
				g.direct(conn)
			})
		}
	})
}

func (g *Gate) direct(conn net.Conn) {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return
	}
	name := g.rules.named(local.Addr())
	if name == "" || !g.rules.Allows(name, local.Port()) {
		g.say("egress refused", local.String())
		return
	}
	out, err := g.connect(name, local.Port())
	if err != nil {
		return
	}
	defer g.drop(out)
	g.relay(conn, conn, out, name)
}

// Proxy serves HTTP proxy requests until Close.
func (g *Gate) Proxy(l net.Listener) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return g.dial(ctx, network, addr)
		},
		DisableCompression: true, MaxIdleConns: 8, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.URL.Host
			r.Out.Header.Del("Proxy-Authorization")
		},
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ErrorLog:     slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				g.tunnel(w, r)
			} else {
				g.forward(forward, w, r)
			}
		}),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: forward.ErrorLog,
	}
	if !g.keep(server) || !g.keep(idle{transport}) {
		l.Close()
		return
	}
	g.work.Go(func() { _ = server.Serve(&slotListener{l, g}) }) // ends with Close
}

func (g *Gate) forward(via http.Handler, w http.ResponseWriter, r *http.Request) {
	port, ok := portOf(r.URL.Port(), 80)
	if r.URL.Scheme != "http" || !ok || !g.rules.Allows(r.URL.Hostname(), port) {
		g.refuse(w, r.URL.Host)
		return
	}
	g.say("egress request", r.URL.Host)
	via.ServeHTTP(w, r)
}

func (g *Gate) tunnel(w http.ResponseWriter, r *http.Request) {
	name, text, err := net.SplitHostPort(r.Host)
	port, ok := portOf(text, 443)
	if err != nil || !ok || !g.rules.Allows(name, port) {
		g.refuse(w, r.Host)
		return
	}
	out, err := g.connect(name, port)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer g.drop(out)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if !g.keep(conn) {
		return
	}
	defer g.forget(conn)
	_ = conn.SetDeadline(time.Time{}) // the server's header deadline is over
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	g.relay(conn, buffered.Reader, out, name)
}

func (g *Gate) refuse(w http.ResponseWriter, host string) {
	g.say("egress refused", host)
	http.Error(w, "This host is not on the server's list of allowed hosts.", http.StatusForbidden)
}

// say logs what became of a connection, unless too much was said already.
func (g *Gate) say(what, host string, more ...any) {
	g.mu.Lock()
	if now := time.Now(); now.Sub(g.saying) > time.Minute {
		g.said, g.saying = 0, now
	}
	g.said++
	said := g.said
	g.mu.Unlock()
	switch {
	case said < maxSaid:
		g.log.Info(what, append([]any{"host", host[:min(len(host), maxShown)]}, more...)...)
	case said == maxSaid:
		g.log.Warn("more of its connections are not logged this minute")
	}
}

// idle closes connections to hosts that nobody uses.
type idle struct{ *http.Transport }

func (i idle) Close() error { i.CloseIdleConnections(); return nil }

func portOf(text string, otherwise uint16) (uint16, bool) {
	if text == "" {
		return otherwise, true
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err == nil
}

func (g *Gate) connect(name string, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	defer cancel()
	addr := net.JoinHostPort(name, strconv.Itoa(int(port)))
	out, err := g.dial(ctx, "tcp", addr)
	if err != nil {
		g.say("egress failed", addr, "error", err)
		return nil, err
	}
	if !g.keep(out) {
		return nil, net.ErrClosed
	}
	return out, nil
}
