package stdio

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// exchange is one message from a caller and what is answered to it.
type exchange struct {
	program  *program
	ctx      context.Context
	deadline time.Time // zero without one
	session  string    // the caller's (legacy)
	body     []byte
	env      mcp.Envelope
	out      out

	web   web    // a caller over HTTP, and
	near  near   // one in this process: where out is
	own   []byte // memory of a body over HTTP
	timer *time.Timer
}

// out is where an answer goes.
type out interface {
	// event passes on one message that comes before the answer. An error ends the
	// exchange.
	event(message []byte) error
	reply(status int, message []byte)
	fail(err error)
}

// exchanges are recycled with their buffers.
var exchanges = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &exchange{timer: t}
}}

func newExchange(p *program, ctx context.Context) *exchange {
	x := exchanges.Get().(*exchange)
	x.program, x.ctx = p, ctx
	return x
}

func (x *exchange) recycle() {
	if cap(x.own) > rawLine {
		x.own = nil
	}
	*x = exchange{env: x.env, own: x.own[:0], timer: x.timer}
	exchanges.Put(x)
}

func (x *exchange) scan() error {
	return mcp.Scan(x.body, &x.env, mcp.Limits{Depth: mcp.DefaultReplyDepth})
}

func (x *exchange) id() []byte { return x.env.ID.Of(x.body) }

// result answers with a result that is known here.
func (x *exchange) result(result []byte) {
	x.out.reply(http.StatusOK, mcp.AppendResult(nil, x.id(), result))
}

// refuse answers with an error of ours.
func (x *exchange) refuse(status, code int, text string) {
	x.out.reply(status, mcp.AppendError(nil, x.id(), code, text, nil))
}

func (x *exchange) events(list [][]byte) error {
	for _, m := range list {
		if err := x.out.event(m); err != nil {
			return err
		}
	}
	return nil
}

// relay sends the request to the child and passes on what comes back. A child
// that was found dead before it had the whole message has done nothing with it,
// so the next one gets it.
func (x *exchange) relay(k *call) {
	p := x.program
	p.enter()
	defer p.leave()
	k.rawID = bytes.Clone(x.id())
	var err error
	for range 2 {
		var c *conn
		if c, err = x.child(); err != nil {
			break
		}
		if err = c.begin(x.ctx, x.deadline, k, x.body, &x.env); err == nil {
			var r *reply
			if r, err = x.await(c, k); err == nil && r != unsent {
				err = x.finish(k, r)
			}
			if err != nil || r != unsent {
				break
			}
			err = errEnded
		}
		if !errors.Is(err, errEnded) || wait(x.ctx, x.deadline, c.over) != nil {
			break
		}
	}
	if err != nil {
		x.out.fail(err)
	}
}

// child returns the child, started if need be.
func (x *exchange) child() (*conn, error) {
	if c := x.program.running(); c != nil {
		return c, nil
	}
	ctx, cancel := until(x.ctx, x.deadline)
	defer cancel()
	return x.program.connect(ctx)
}

// until is a context with a deadline, if there is one.
func until(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// await passes on what comes before the answer, and returns that.
func (x *exchange) await(c *conn, k *call) (*reply, error) {
	var late <-chan time.Time
	if !x.deadline.IsZero() {
		x.timer.Reset(time.Until(x.deadline))
		defer x.timer.Stop()
		late = x.timer.C
	}
	for {
		select {
		case <-k.inbox.news:
			if err := x.events(k.events()); err != nil {
				c.abandon(k, "the client does not take what comes")
				return nil, err
			}
		case r := <-k.answer:
			return r, nil
		case <-c.gone:
			select {
			case r := <-k.answer: // it came just before the end
				return r, nil
			default:
				return nil, c.ended()
			}
		case <-late:
			c.abandon(k, "the request took too long")
			c.unanswered(k)
			return nil, context.DeadlineExceeded
		case <-x.ctx.Done():
			c.abandon(k, "the client does not wait any more")
			c.unanswered(k)
			return nil, x.ctx.Err()
		}
	}
}

// finish passes on the answer, after everything that came before it.
func (x *exchange) finish(k *call, r *reply) error {
	if r.line == nil {
		return ErrSpeech
	}
	if err := x.events(k.events()); err != nil {
		return err
	}
	for _, m := range k.session.news() {
		if err := x.out.event(m); err != nil {
			return err
		}
	}
	if x.program.lists.keep(x.body, &x.env, r) {
		x.program.remember()
	}
	b := buffers.Get().(*[]byte)
	message := r.append((*b)[:0], k.rawID)
	x.out.reply(statusOf(k, r), message)
	release(b, message)
	return nil
}

// statusOf is the HTTP status the modern era has for an error; over stdio there
// is none.
func statusOf(k *call, r *reply) int {
	if k.session != nil || r.kind != mcp.ErrorResponse {
		return http.StatusOK
	}
	switch r.code {
	case mcp.CodeMethodNotFound:
		return http.StatusNotFound
	case mcp.CodeHeaderMismatch, mcp.CodeMissingCapability, mcp.CodeUnsupportedVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// statusOfFault is the HTTP status of what went wrong between us and the child.
func statusOfFault(err error) int {
	if fault.Of(err).Kind == fault.Unavailable {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// known returns what the child says of itself, starting it where that was
// never heard.
func (x *exchange) known() (*facts, error) {
	if f := x.program.facts.Load(); f != nil {
		return f, nil
	}
	x.program.enter()
	defer x.program.leave()
	c, err := x.child()
	if err != nil {
		return nil, err
	}
	return c.facts.Load(), nil
}
