package stdio

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/mcp"
)

// near is a caller in this process, who needs no HTTP in between.
type near struct {
	heed   func(message []byte) error
	answer []byte
	status int
	err    error
}

func (o *near) event(message []byte) error { return o.heed(message) }

func (o *near) reply(status int, message []byte) {
	o.status, o.answer = status, append(o.answer, message...)
}

func (o *near) fail(err error) { o.status, o.err = statusOfFault(err), err }

// Relay implements upstream.Relay.
func (d *handle) Relay(ctx context.Context, deadline time.Time, session string, body, dst []byte, event func(message []byte) error) ([]byte, int, error) {
	p := d.host.current(ctx, d)
	if p == nil {
		return dst, http.StatusServiceUnavailable, ErrClosed
	}
	x := newExchange(p, ctx)
	defer x.recycle()
	x.deadline, x.session, x.body = deadline, session, body
	x.near = near{heed: event, answer: dst}
	x.out = &x.near
	switch err := x.scan(); {
	case err != nil:
		x.near.fail(err)
	case x.env.Kind != mcp.Request, x.env.Method == mcp.MethodInitialize, x.env.Method == mcp.MethodSubscriptionsListen:
		x.refuse(http.StatusBadRequest, mcp.CodeInvalidRequest, "this is no request with one answer")
	case session == "":
		x.modern()
	default:
		x.legacy()
	}
	return x.near.answer, x.near.status, x.near.err
}
