package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/server/request"
)

// exchange is one request's response writer, its context and its Info, in one
// allocation.
type exchange struct {
	http.ResponseWriter
	request.Carrier
	id     [1]string // X-Request-Id's value, in place
	status int       // 0 until the answer begins
	taken  bool      // hijacked
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(b)
}

// Flush implements http.Flusher for writers of streams.
func (x *exchange) Flush() {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	_ = http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker; the event then says 101.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err == nil {
		x.taken, x.status = true, http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Header values shared by all answers. Handlers replace such a slice, they
// never write into it: Header.Set makes a new one.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	sameOrigin = []string{"same-origin"}
	noStore    = []string{"no-store"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	strictTLS  = []string{"max-age=63072000; includeSubDomains"}
)

// setHeaders sets what every answer has. own leaves a page's policy to its
// handler.
func (x *exchange) setHeaders(own bool) {
	h := x.Header()
	h["X-Request-Id"] = x.id[:]
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	h["Cross-Origin-Opener-Policy"] = sameOrigin
	if !own {
		h["Content-Security-Policy"] = noContent
		h["Cache-Control"] = noStore
	}
	if x.Info.Secure {
		h["Strict-Transport-Security"] = strictTLS
	}
}

// carry makes the exchange of a request that will have this context. The fast
// lane asks for it before it makes the request, which saves making it twice.
func carry(ctx context.Context) *exchange {
	x := &exchange{}
	x.Context = ctx
	return x
}

// ServeHTTP is the public listener's handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	x, ok := r.Context().(*exchange)
	if !ok {
		x = carry(r.Context())
		r = r.WithContext(x)
	}
	x.ResponseWriter, x.id[0] = w, id.At(now).Text("req")
	info := &x.Info
	info.ID, info.At, info.Draining = x.id[0], now, s.draining
	s.origin(r, info)
	rt := s.find(r.URL.Path)
	x.setHeaders(rt != nil && rt.OwnHeaders)
	defer s.finish(x, r, rt)
	if err := s.judge(r, rt, info.Secure); err != nil {
		refuse(x, r, rt, err)
		return
	}
	if rt == nil {
		refuse(x, r, nil, ErrRoute)
		return
	}
	rt.Handler.ServeHTTP(x, r)
}

// judge is what a request must pass before any door sees it.
func (s *Server) judge(r *http.Request, rt *route, secure bool) error {
	if !s.allow.host(r.Host, r) {
		return ErrHost
	}
	if rt == nil || rt.OwnOrigin == nil || !rt.OwnOrigin(r) {
		if !s.allow.origin(r, secure) {
			return ErrOrigin
		}
	}
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		return ErrMethod
	}
	return nil
}

// refuser is a door that words failures.
type refuser interface {
	Refuse(w http.ResponseWriter, r *http.Request, err error)
}

func refuse(w http.ResponseWriter, r *http.Request, rt *route, err error) {
	if rt != nil {
		if door, ok := rt.Handler.(refuser); ok {
			door.Refuse(w, r, err)
			return
		}
	}
	f := fault.Of(err)
	info := request.From(r.Context())
	info.Code = f.Code
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(f.Kind.Status())
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, "%s Request id: %s.\n", f.Message, info.ID)
	}
}

// finish ends a request: a panic that no door caught, the counters, the event.
func (s *Server) finish(x *exchange, r *http.Request, rt *route) {
	v := recover()
	if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // a sentinel, never wrapped
		x.Info.Err, x.Info.Stack = fmt.Errorf("panic: %v", v), debug.Stack()
		if x.status == 0 {
			refuse(x, r, rt, fault.Of(x.Info.Err))
			v = nil
		}
	}
	took := time.Since(x.Info.At)
	if rt != nil {
		rt.seen.count(x.status, took)
	}
	s.event(x, r, rt, took)
	if v != nil {
		panic(http.ErrAbortHandler) // the answer has begun: cut it off
	}
}

// origin finds out where the request came from, and takes away every header
// that claims to know.
func (s *Server) origin(r *http.Request, info *request.Info) {
	info.Addr, info.Secure = peerOf(r), r.TLS != nil
	if s.trusted(info.Addr) {
		info.Addr = s.client(info.Addr, r.Header["X-Forwarded-For"])
		info.Secure = info.Secure || single(r.Header["X-Forwarded-Proto"]) == "https"
		if host := single(r.Header["X-Forwarded-Host"]); host != "" {
			r.Host = host
		}
	}
	for name := range r.Header {
		if claims(name) {
			delete(r.Header, name)
		}
	}
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// client walks X-Forwarded-For from its trustworthy end. What a trusted proxy
// wrote is believed up to the first address that is not one of ours.
func (s *Server) client(peer netip.Addr, headers []string) netip.Addr {
	parts := strings.Split(strings.Join(headers, ","), ",")
	for i := len(parts) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(parts[i]))
		if err != nil {
			break
		}
		peer = a.Unmap()
		if !s.trusted(peer) {
			break
		}
	}
	return peer
}

func single(values []string) string {
	if len(values) != 1 || strings.IndexByte(values[0], ',') >= 0 {
		return ""
	}
	return values[0]
}

// claims reports whether a header names a client, a user or a route the way
// proxies tell the programs behind them. No door reads one; they are removed
// so that none ever does.
func claims(name string) bool {
	switch name {
	case "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip", "Remote-User":
		return true
	}
	rest, ok := strings.CutPrefix(name, "X-")
	if !ok {
		return false
	}
	if strings.HasPrefix(rest, "Forwarded") || strings.HasPrefix(rest, "Headgate-Internal") {
		return true
	}
	switch rest {
	case "Real-Ip", "Client-Ip", "Cluster-Client-Ip", "Original-Url", "Original-Host", "Rewrite-Url", "Remote-User",
		"Remote-Addr", "User-Id", "User-Email", "Tenant-Id", "Org-Id", "Auth-Request-User", "Auth-Request-Email",
		"Http-Method-Override", "Http-Method", "Method-Override":
		return true
	}
	return false
}
