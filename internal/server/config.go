package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config makes a Server. The zero value of a field is a safe choice.
type Config struct {
	Listen   string      // "127.0.0.1:8080" when empty
	Internal string      // metrics and pprof; "" turns them off
	TLS      *tls.Config // nil: plain HTTP

	BaseDomains    []string // "headgate.example" and every slug below it are our hosts
	Hosts          []string // further names, with or without a port
	Origins        []string // further pages' origins, "https://console.example"
	TrustedProxies []netip.Prefix

	// FastLane are the paths ("/mcp": it and below) whose plain POSTs and
	// GETs of event streams do not pass through net/http (see package lane). It has no effect with TLS.
	FastLane []string

	MaxConnections int           // half of the descriptor limit when 0
	Drain          time.Duration // for requests in flight when stopping; 20 s when 0

	Log      *slog.Logger
	Registry *prometheus.Registry
	Ready    func(context.Context) error // nil error: ready
	Remark   func() string               // a line that /readyz adds for whoever reads it; it changes no status
}

// Route mounts a handler at a path and everything below it. The longest prefix
// wins; "/" takes what no other does.
type Route struct {
	Prefix  string // "/v1"
	Handler http.Handler

	// OwnOrigin says that the handler judges a request's Origin itself, as
	// doors for other sites' pages do. Host is judged here all the same.
	OwnOrigin func(*http.Request) bool

	// OwnHeaders says that the handler is no API: it sets the
	// Content-Security-Policy and Cache-Control of its pages itself.
	OwnHeaders bool

	// Quiet makes events of requests that went well Debug: the Gateway's calls
	// have a log of their own.
	Quiet bool
}

// Server is one running process's listeners. Make it with New.
type Server struct {
	cfg      Config
	routes   []route
	allow    allowlist
	metrics  metrics
	draining chan struct{}
	stop     sync.Once

	public, internal net.Listener
}

type route struct {
	Route
	below string // "/v1/"
	seen  routeMetrics
}

// New checks the configuration and every route; it opens nothing yet. All
// mistakes are in the one error.
func New(cfg Config, routes ...Route) (*Server, error) {
	cfg.Listen = cmp.Or(cfg.Listen, "127.0.0.1:8080")
	cfg.Drain = cmp.Or(cfg.Drain, 20*time.Second)
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	s := &Server{cfg: cfg, draining: make(chan struct{})}
	var errs []error
	s.allow, errs = newAllowlist(cfg)
	for name, addr := range map[string]string{"listen": cfg.Listen, "internal": cfg.Internal} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is no host:port", name, addr))
		}
	}
	for _, p := range cfg.FastLane {
		if len(p) < 2 || p[0] != '/' || strings.HasSuffix(p, "/") {
			errs = append(errs, fmt.Errorf("fast lane: %q is no path such as /mcp", p))
		}
	}
	var err error
	if s.metrics, err = newMetrics(cfg.Registry); err != nil {
		errs = append(errs, err)
	}
	probe := http.HandlerFunc(s.health)
	routes = append(slices.Clone(routes), Route{Prefix: "/healthz", Handler: probe, Quiet: true}, Route{Prefix: "/readyz", Handler: probe, Quiet: true})
	for _, r := range routes {
		if !strings.HasPrefix(r.Prefix, "/") || r.Handler == nil {
			errs = append(errs, fmt.Errorf("route %q needs a path and a handler", r.Prefix))
		}
		below := strings.TrimSuffix(r.Prefix, "/") + "/"
		s.routes = append(s.routes, route{r, below, s.metrics.of(r.Prefix)})
	}
	slices.SortStableFunc(s.routes, func(a, b route) int { return cmp.Compare(len(b.below), len(a.below)) })
	return s, errors.Join(errs...)
}

// find returns the route of a path; nil when there is none. A handful of
// prefix comparisons is cheaper than a mux, and no path is rewritten or
// redirected on the way.
func (s *Server) find(path string) *route {
	for i := range s.routes {
		r := &s.routes[i]
		if path == r.Prefix || strings.HasPrefix(path, r.below) {
			return r
		}
	}
	return nil
}
