package stdio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"headgate/internal/fault"
	"headgate/internal/mcp"
)

const maxBody = 17 << 20 // of a message to a child

var (
	jsonType   = []string{"application/json"}
	streamType = []string{"text/event-stream"}
)

// ServeHTTP implements http.Handler: Streamable HTTP, in the child's era.
func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		p.post(w, r)
	case http.MethodGet:
		p.stream(w, r)
	case http.MethodDelete:
		if !p.part(r.Header.Get(mcp.HeaderSessionID)) {
			w.WriteHeader(http.StatusNotFound)
		}
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// post takes one message.
func (p *program) post(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	x.program, x.w, x.r = p, w, r
	defer x.recycle()
	err := x.read()
	if err != nil {
		x.refuse(http.StatusBadRequest, mcp.RPCCode(err), "the message is not readable")
		return
	}
	switch {
	case x.env.ProtocolVersion != "" && mcp.EraOf(r.Header.Get(mcp.HeaderProtocolVersion), &x.env) == mcp.Modern:
		x.modern()
	case x.env.Method == mcp.MethodInitialize:
		x.initialize()
	default:
		x.legacy()
	}
}

// exchanges are recycled with their buffers.
var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) recycle() {
	if cap(x.body) > rawLine {
		x.body = nil
	}
	x.program, x.w, x.r, x.body, x.flowing = nil, nil, nil, x.body[:0], false
	exchanges.Put(x)
}

var errLarge = errors.New("the body is too large")

// read takes the whole body in and scans it.
func (x *exchange) read() error {
	if n := int(x.r.ContentLength); n > cap(x.body) && n <= maxBody {
		x.body = make([]byte, 0, n)
	}
	for {
		if len(x.body) > maxBody {
			return errLarge
		}
		if len(x.body) == cap(x.body) {
			x.body = append(x.body, 0)[:len(x.body)]
		}
		n, err := x.r.Body.Read(x.body[len(x.body):cap(x.body)])
		x.body = x.body[:len(x.body)+n]
		if err == io.EOF {
			return mcp.Scan(x.body, &x.env, mcp.Limits{Depth: mcp.DefaultReplyDepth})
		}
		if err != nil {
			return err
		}
	}
}

// stream is the GET stream of a legacy session. It outlives the child, which
// may sleep meanwhile.
func (p *program) stream(w http.ResponseWriter, r *http.Request) {
	s := p.session(r.Header.Get(mcp.HeaderSessionID))
	if s == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	messages, stop := s.open()
	defer s.close(stop)
	x := &exchange{program: p, w: w, r: r}
	x.flow()
	keepAlive := time.NewTicker(time.Minute)
	defer keepAlive.Stop()
	for {
		select {
		case m := <-messages:
			x.event(m)
		case <-keepAlive.C:
			s.touch(p.host.opts.Now())
		case <-stop:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// exchange is one message from a caller and what is answered to it.
type exchange struct {
	program *program
	w       http.ResponseWriter
	r       *http.Request
	body    []byte
	env     mcp.Envelope
	flowing bool // events have been sent
}

func (x *exchange) id() []byte { return x.env.ID.Of(x.body) }

// reply answers with one JSON message.
func (x *exchange) reply(status int, message []byte) {
	if x.flowing {
		x.event(message)
		return
	}
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(message))}
	x.w.WriteHeader(status)
	_, _ = x.w.Write(message) // a caller that has gone reads nothing
}

// result answers with a result that is known here.
func (x *exchange) result(result []byte) {
	x.reply(http.StatusOK, mcp.AppendResult(nil, x.id(), result))
}

// refuse answers with an error of ours.
func (x *exchange) refuse(status, code int, text string) {
	x.reply(status, mcp.AppendError(nil, x.id(), code, text, nil))
}

// fail says that the server behind us failed. Its fault is for the log and
// the status page; who calls learns that the server did not answer.
func (x *exchange) fail(err error) {
	if x.flowing || x.r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the caller sees a broken line, as it is one
	}
	status := http.StatusBadGateway
	f := fault.Of(err)
	if f.Kind == fault.Unavailable {
		status = http.StatusServiceUnavailable
	}
	if f.RetryAfter > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)+1))
	}
	x.w.WriteHeader(status)
}

// flow turns the answer into a stream of events.
func (x *exchange) flow() {
	if x.flowing {
		return
	}
	x.flowing = true
	x.w.Header()["Content-Type"] = streamType
	x.w.WriteHeader(http.StatusOK)
	x.flush()
}

func (x *exchange) flush() {
	_ = http.NewResponseController(x.w).Flush() // what cannot be flushed is sent at the end
}

// event sends one message in the stream. Messages are single lines.
func (x *exchange) event(message []byte) {
	x.flow()
	b := buffers.Get().(*[]byte)
	text := append(append(append((*b)[:0], "data: "...), message...), "\n\n"...)
	_, _ = x.w.Write(text) // a caller that has gone reads nothing
	release(b, text)
	x.flush()
}

func (x *exchange) events(list [][]byte) {
	for _, m := range list {
		x.event(m)
	}
}

// relay sends the request to the child and passes on what comes back. A child
// that was found dead before it had the whole message has done nothing with it,
// so the next one gets it.
func (x *exchange) relay(k *call) {
	p, ctx := x.program, x.r.Context()
	p.enter()
	defer p.leave()
	k.rawID = bytes.Clone(x.id())
	var err error
	for range 2 {
		var c *conn
		if c, err = p.connect(ctx); err != nil {
			break
		}
		if err = c.begin(ctx, k, x.body, &x.env); err == nil {
			r, err := x.await(c, k)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				x.fail(err)
				return
			case r != unsent:
				x.finish(k, r)
				return
			}
		} else if !errors.Is(err, errEnded) {
			break
		}
		err = errEnded
		select {
		case <-c.over:
		case <-ctx.Done():
			return
		}
	}
	x.fail(err)
}

// await passes on what comes before the answer, and returns that.
func (x *exchange) await(c *conn, k *call) (*reply, error) {
	for {
		select {
		case <-k.inbox.news:
			x.events(k.events())
		case r := <-k.answer:
			return r, nil
		case <-c.gone:
			select {
			case r := <-k.answer: // it came just before the end
				return r, nil
			default:
				return nil, c.ended()
			}
		case <-x.r.Context().Done():
			c.abandon(k, "the client does not wait any more")
			return nil, x.r.Context().Err()
		}
	}
}

// finish passes on the answer, after everything that came before it.
func (x *exchange) finish(k *call, r *reply) {
	if r.line == nil {
		x.fail(ErrSpeech)
		return
	}
	x.events(k.events())
	for _, m := range k.session.news() {
		x.event(m)
	}
	if x.program.lists.keep(x.body, &x.env, r) {
		x.program.remember()
	}
	b := buffers.Get().(*[]byte)
	message := r.append((*b)[:0], k.rawID)
	x.reply(statusOf(k, r), message)
	release(b, message)
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

// known returns what the child says of itself, starting it where that was
// never heard.
func (p *program) known(ctx context.Context) (*facts, error) {
	if f := p.facts.Load(); f != nil {
		return f, nil
	}
	p.enter()
	defer p.leave()
	c, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c.facts.Load(), nil
}
