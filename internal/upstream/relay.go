package upstream

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/mcp"
)

// Relay is a Channel's handler that takes requests as they are, without HTTP in
// between. It gives each an id of its own, so sessions need no more disguise.
type Relay interface {
	http.Handler
	// Relay sends a request, in a session where the era has them, and appends the
	// answer to dst, with the status that it would have over HTTP. event takes what
	// comes before the answer; its error ends the exchange and is returned. The end
	// of the context, or the deadline, cancels the request at the server.
	Relay(ctx context.Context, deadline time.Time, session string, body, dst []byte, event func(message []byte) error) (answer []byte, status int, err error)
}

// hand makes the exchange with a Relay.
func (x *exchange) hand(ctx context.Context, relay Relay) (*Answer, error) {
	session := ""
	if x.session != nil {
		session = x.session.id
	}
	x.told = nil
	body, status, err := relay.Relay(ctx, x.http.Deadline, session, x.r.Body, x.again[:0], x.hear)
	x.again = body
	switch {
	case err == nil:
	case x.told != nil:
		return nil, x.told
	case ctx.Err() != nil:
		return nil, ErrLost.Because(ctx.Err())
	case !time.Now().Before(x.http.Deadline):
		return nil, ErrTimeout.Because(err)
	case x.delivered:
		return nil, ErrLost.Because(err)
	default:
		return nil, ErrFailed.With("status", status).Because(err)
	}
	if status >= 400 {
		return x.refusal(status, body)
	}
	if err := mcp.ScanReply(body, &x.Envelope, mcp.Limits{}); err != nil {
		return nil, ErrNonsense.Because(err)
	}
	return x.answered(body, status), nil
}

// heed takes what comes before the answer.
func (x *exchange) heed(message []byte) error {
	if err := mcp.ScanReply(message, &x.Envelope, mcp.Limits{}); err != nil {
		x.told = ErrNonsense.Because(err)
	} else {
		x.told = x.deliver(message)
	}
	return x.told
}
