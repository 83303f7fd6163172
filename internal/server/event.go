package server

import (
	"log/slog"
	"net/http"
	"time"
)

// The keys of a request's event.
const (
	keyID        = "request_id"
	keyMethod    = "method"
	keyRoute     = "route"
	keyStatus    = "status"
	keyDuration  = "duration"
	keyPrincipal = "principal"
	keyCode      = "code"
	keyError     = "error"
	keyStack     = "stack"
)

// event writes the request's one line. It holds the route's pattern, never the
// path or the query: they may carry what must not be kept.
func (s *Server) event(x *exchange, r *http.Request, rt *route, took time.Duration) {
	info := &x.Info
	level := slog.LevelInfo
	switch {
	case info.Stack != nil || info.Code == "internal":
		level = slog.LevelError
	case x.status >= 500:
		level = slog.LevelWarn
	case rt != nil && rt.Quiet && x.status < 400:
		level = slog.LevelDebug
	}
	ctx := x.Context
	if !s.cfg.Log.Enabled(ctx, level) {
		return
	}
	route := info.Route
	if route == "" && rt != nil {
		route = rt.Prefix
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String(keyID, info.ID),
		slog.String(keyMethod, knownMethod(r.Method)),
		slog.String(keyRoute, route),
		slog.Int(keyStatus, x.status),
		slog.Duration(keyDuration, took))
	if info.Principal != "" {
		attrs = append(attrs, slog.String(keyPrincipal, info.Principal))
	}
	if info.Code != "" {
		attrs = append(attrs, slog.String(keyCode, info.Code))
	}
	if info.Err != nil {
		attrs = append(attrs, slog.String(keyError, info.Err.Error()))
	}
	if info.Stack != nil {
		attrs = append(attrs, slog.String(keyStack, string(info.Stack)))
	}
	s.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}

// knownMethod keeps a caller's invention out of the log.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "OTHER"
}
