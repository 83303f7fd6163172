package stdio

import (
	"errors"
	"io"
	"net/http"
	"strconv"
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
	x := newExchange(p, r.Context())
	defer x.recycle()
	x.web = web{w: w, r: r}
	x.out = &x.web
	x.session = r.Header.Get(mcp.HeaderSessionID)
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

var errLarge = errors.New("the body is too large")

// read takes the whole body in and scans it.
func (x *exchange) read() error {
	b := x.own[:0]
	if n := int(x.web.r.ContentLength); n > cap(b) && n <= maxBody {
		b = make([]byte, 0, n)
	}
	for {
		if len(b) > maxBody {
			return errLarge
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := x.web.r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			x.own, x.body = b, b
			return x.scan()
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
	o := web{w: w, r: r}
	o.flow()
	keepAlive := time.NewTicker(time.Minute)
	defer keepAlive.Stop()
	for {
		select {
		case m := <-messages:
			_ = o.event(m) // it has no error
		case <-keepAlive.C:
			s.touch(p.host.opts.Now())
		case <-stop:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// web is a caller over HTTP.
type web struct {
	w       http.ResponseWriter
	r       *http.Request
	flowing bool // events have been sent
}

// reply implements out.
func (o *web) reply(status int, message []byte) {
	if o.flowing {
		_ = o.event(message) // it has no error
		return
	}
	if message == nil {
		o.w.WriteHeader(status)
		return
	}
	h := o.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(message))}
	o.w.WriteHeader(status)
	_, _ = o.w.Write(message) // a caller that has gone reads nothing
}

// fail implements out. The fault is for the log and the status page; who calls
// learns that the server did not answer.
func (o *web) fail(err error) {
	if o.flowing || o.r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the caller sees a broken line, as it is one
	}
	if f := fault.Of(err); f.RetryAfter > 0 {
		o.w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)+1))
	}
	o.w.WriteHeader(statusOfFault(err))
}

// flow turns the answer into a stream of events.
func (o *web) flow() {
	if o.flowing {
		return
	}
	o.flowing = true
	o.w.Header()["Content-Type"] = streamType
	o.w.WriteHeader(http.StatusOK)
	o.flush()
}

func (o *web) flush() {
	_ = http.NewResponseController(o.w).Flush() // what cannot be flushed is sent at the end
}

// event implements out: one message in the stream. Messages are single lines.
func (o *web) event(message []byte) error {
	o.flow()
	b := buffers.Get().(*[]byte)
	text := append(append(append((*b)[:0], "data: "...), message...), "\n\n"...)
	_, _ = o.w.Write(text) // a caller that has gone reads nothing
	release(b, text)
	o.flush()
	return nil
}
