package gateway

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
)

// exchange is one message of a client and the way its answer goes out. It is
// reused, buffers included.
type exchange struct {
	g    *Gateway
	r    *http.Request
	ep   endpoint
	s    *session // legacy only
	era  mcp.Era
	rev  mcp.Revision
	body []byte
	e    mcp.Envelope

	to     outlet
	web    web             // the outlet of a message that has a POST of its own
	asking *catalog.Server // whose requests the answer's stream may carry
	asked  bool            // and it did
	sent   []byte          // the message as the server gets it, when a name was rewritten
	out    []byte          // answers made here
	after  func()          // the long rest of the answer
}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request, ep endpoint) *exchange {
	x := g.buffers.Get().(*exchange)
	x.g, x.r, x.ep = g, r, ep
	x.web.use(g, w, r)
	x.to = &x.web
	return x
}

func (x *exchange) end() {
	x.web.end()
	g := x.g
	// Member by member: a late beat of web may be waiting for its lock.
	x.g, x.r, x.ep, x.s, x.era, x.rev = nil, nil, endpoint{}, nil, 0, ""
	x.to, x.asking, x.asked, x.after = nil, nil, false, nil
	x.body, x.sent, x.out = spare(x.body), spare(x.sent), spare(x.out)
	g.buffers.Put(x)
}

// detached returns a request for a message that is served beside the goroutine
// of its HTTP request, to which what is known of that belongs.
func detached(r *http.Request) *http.Request {
	ctx := r.Context()
	info := request.Info{ID: request.ID(ctx), Addr: request.ClientAddr(ctx), Draining: request.Draining(ctx)}
	d := r.WithContext(request.With(context.WithoutCancel(ctx), info))
	d.Header = r.Header.Clone() // whose server may use the map again
	return d
}

// spare returns a buffer for the next message, unless it grew beyond what is
// worth keeping for each of them.
func spare(b []byte) []byte {
	if cap(b) > 128<<10 {
		return nil
	}
	return b[:0]
}

// read reads the whole body, at most maxBody. Nothing is unpacked: a body that
// says it is packed would be one text to us and another to who believes it.
func (x *exchange) read() error {
	ct := x.header("Content-Type")
	if ct != "application/json" {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != "application/json" {
			return errMedia
		}
	}
	for _, coding := range x.r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return errPacked
		}
	}
	n := x.r.ContentLength
	if n > maxBody {
		return errTooLarge
	}
	if n >= 0 {
		if int64(cap(x.body)) < n {
			x.body = make([]byte, n)
		}
		x.body = x.body[:n]
		if _, err := io.ReadFull(x.r.Body, x.body); err != nil {
			return mcp.ErrUnreadable.Because(err)
		}
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	if err != nil {
		return mcp.ErrUnreadable.Because(err)
	}
	if len(b) > maxBody {
		return errTooLarge
	}
	x.body = b
	return nil
}

// id returns the raw id of the message, nil for none.
func (x *exchange) id() []byte {
	if x.e.ID.Empty() {
		return nil
	}
	return x.e.ID.Of(x.body)
}

// fail answers with a fault.
func (x *exchange) fail(err error) {
	f := note(x.r, err)
	x.out = appendFault(x.out[:0], x.id(), x.era, x.r, f)
	x.to.refuse(statusOf(f, x.era), x.out, f)
}

// result answers with a result built here.
func (x *exchange) result(result []byte) {
	x.out = mcp.AppendResult(x.out[:0], x.id(), result)
	x.to.answer(http.StatusOK, x.out)
}

// Event implements upstream.Sink: what a server says before its answer.
func (x *exchange) Event(message []byte, e *mcp.Envelope) error {
	switch {
	case e.Kind == mcp.Request:
		return x.question(message, e)
	case e.Method == mcp.NotifyCancelled && x.s != nil:
		if message = x.s.withdrawal(x.asking, message, e); message == nil {
			return nil
		}
	}
	x.to.event(message)
	return nil
}

// context returns the call's context: a modern client that hangs up cancels
// it, a legacy one must say so (mcp-protocol 1.1, Cancellation).
func (x *exchange) context() (context.Context, context.CancelFunc) {
	if x.era == mcp.Modern {
		return x.r.Context(), func() {} // it ends with the request
	}
	return context.WithCancel(context.WithoutCancel(x.r.Context()))
}
