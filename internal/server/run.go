package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headgate/internal/server/lane"
)

// Listen opens the listeners, so that what fails (a taken port) fails before
// anything else starts. Run does it when it was not done.
func (s *Server) Listen(ctx context.Context) error {
	if s.public != nil {
		return nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; stop what listens there, or choose another --listen", s.cfg.Listen, err)
	}
	if s.cfg.Internal != "" {
		in, err := lc.Listen(ctx, "tcp", s.cfg.Internal)
		if err != nil {
			_ = ln.Close()
			return fmt.Errorf("listen on %s: %w; stop what listens there, or choose another --internal-listen", s.cfg.Internal, err)
		}
		s.internal = in
	}
	s.public = newCapped(ln, s.cfg.MaxConnections, s.metrics, s.cfg.TLS == nil)
	return nil
}

// Addr returns the public listener's address, and InternalAddr the other's;
// nil before Listen or when there is none.
func (s *Server) Addr() net.Addr { return addrOf(s.public) }

// InternalAddr returns the internal listener's address.
func (s *Server) InternalAddr() net.Addr { return addrOf(s.internal) }

func addrOf(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// Run serves until ctx ends, then lets requests in flight finish for
// Config.Drain and cuts off the rest.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	public := s.newHTTP(s)
	public.TLSConfig = s.cfg.TLS
	public.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}
	servers := []stopper{public}
	listener := s.public
	if s.cfg.TLS == nil && len(s.cfg.FastLane) > 0 && lane.Supported {
		fast := lane.New(s.public, lane.Config{Handler: s, Paths: s.cfg.FastLane, Log: s.cfg.Log, ConnContext: connContext,
			Context:     func(ctx context.Context) context.Context { return carry(ctx) },
			HeadTimeout: headTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout})
		servers, listener = append(servers, fast), fast.Cold()
	}
	failed := make(chan error, 2)
	go func() {
		if s.cfg.TLS != nil {
			failed <- public.ServeTLS(listener, "", "")
			return
		}
		failed <- public.Serve(listener)
	}()
	if s.internal != nil {
		internal := s.newHTTP(s.internals())
		servers = append(servers, internal)
		go func() { failed <- internal.Serve(s.internal) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.shutdown(context.WithoutCancel(ctx), servers))
}

// How long a client may take.
const (
	headTimeout = 10 * time.Second
	readTimeout = time.Minute // of head and body; reading on for a hang-up has none
	idleTimeout = 2 * time.Minute
)

// stopper is a part of the listener's side that has requests in flight.
type stopper interface {
	Shutdown(context.Context) error
	Close() error
}

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ConnContext:       connContext,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// shutdown stops the public listener first, so that metrics show the drain.
func (s *Server) shutdown(ctx context.Context, servers []stopper) error {
	s.stop.Do(func() { close(s.draining) })
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Drain)
	defer cancel()
	var errs []error
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			errs = append(errs, srv.Close())
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "requests cut off while stopping", slog.Duration("after", s.cfg.Drain))
		}
	}
	return errors.Join(errs...)
}

// health answers the probes. Their text says nothing of what is wrong: why it is
// not ready is in the log.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, r, nil, ErrMethod)
		return
	}
	if r.URL.Path == "/readyz" && !s.ready(r.Context()) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready\n"))
		return
	}
	text := "ok\n"
	if r.URL.Path == "/readyz" && s.cfg.Remark != nil {
		text += s.cfg.Remark() + "\n"
	}
	_, _ = w.Write([]byte(text))
}

func (s *Server) ready(ctx context.Context) bool {
	select {
	case <-s.draining:
		return false
	default:
	}
	if s.cfg.Ready == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := s.cfg.Ready(ctx)
	if err != nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "not ready", slog.String(keyError, err.Error()))
	}
	return err == nil
}

// internals is the internal listener's handler. It has no credentials, so its
// Host is judged too: a page could be rebound to it.
func (s *Server) internals() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	allow, _ := newAllowlist(Config{Listen: s.cfg.Internal, Hosts: s.cfg.Hosts})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allow.host(r.Host, r) || r.Header["Origin"] != nil {
			http.Error(w, ErrHost.Message, http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
