package request

import (
	"context"
	"net/netip"
	"time"
)

// Info is one request. The server fills the first group before the handler
// runs; doors may fill the second while it runs.
type Info struct {
	ID       string          // "req_..."; the client sees it as X-Request-Id
	At       time.Time       // when its head was read, of requests that came over a listener
	Addr     netip.Addr      // the client's, behind trusted proxies
	Secure   bool            // the client speaks TLS, to us or to a trusted proxy
	Draining <-chan struct{} // closed when the server stops: streams should end

	Route     string // the pattern, "/v1/users/{id}"; never the URL
	Principal string // the id of the key or session, never the credential
	Code      string // the fault's code
	Err       error  // what went wrong on our side, for the log alone
	Stack     []byte // of a panic
}

type key struct{}

// Carrier is a context that holds an Info. The server allocates both at once;
// everybody else uses With.
type Carrier struct {
	context.Context
	Info Info
}

// Value returns the Info for this package's key and asks the parent otherwise.
func (c *Carrier) Value(k any) any {
	if k == (key{}) {
		return &c.Info
	}
	return c.Context.Value(k)
}

// With returns a context that holds the info.
func With(ctx context.Context, info Info) context.Context {
	return &Carrier{Context: ctx, Info: info}
}

// From returns the request's Info, or nil where no server has made one.
func From(ctx context.Context) *Info {
	i, _ := ctx.Value(key{}).(*Info)
	return i
}

// ID returns the request's id, or "" outside a request.
func ID(ctx context.Context) string {
	if i := From(ctx); i != nil {
		return i.ID
	}
	return ""
}

// ClientAddr returns the client's address; the zero Addr outside a request.
func ClientAddr(ctx context.Context) netip.Addr {
	if i := From(ctx); i != nil {
		return i.Addr
	}
	return netip.Addr{}
}

// At returns when the request's head was read; the present outside a request.
func At(ctx context.Context) time.Time {
	if i := From(ctx); i != nil && !i.At.IsZero() {
		return i.At
	}
	return time.Now()
}

// Draining returns a channel that is closed when the server stops, so that
// long answers can end; nil (never ready) outside a request.
func Draining(ctx context.Context) <-chan struct{} {
	if i := From(ctx); i != nil {
		return i.Draining
	}
	return nil
}
