package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// insideAhead is how much of an answer a handler may write before it is read.
const insideAhead = 256 << 10

// NewInsideTarget prepares requests to a handler of this process. They go over
// no connection: what the handler writes is read like any other answer.
func NewInsideTarget(h http.Handler) *Target {
	u := &url.URL{Scheme: "http", Host: "inside", Path: "/mcp"}
	return &Target{url: u, key: "inside", host: u.Host, inside: h}
}

// Inside returns the handler of a target in this process, else nil.
func (t *Target) Inside() http.Handler { return t.inside }

// inside is an exchange with a handler of this process: the handler writes at
// one end, the response reads at the other.
type inside struct {
	ctx    context.Context // of the handler; ends when nobody reads any more
	cancel context.CancelFunc
	caller context.Context
	header http.Header
	wrote  bool // the head

	ready, room chan struct{} // of one
	mu          sync.Mutex
	text        []byte // written and not read, from at
	at          int
	over        error // io.EOF, or how the handler ended; nil while it runs
}

// enter runs a handler and returns its answer once the head of it is there.
func (p *Pool) enter(ctx context.Context, r *Request) (*Response, error) {
	x := &inside{caller: ctx, header: make(http.Header, 4), ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	var end context.CancelFunc
	x.caller, end = withDeadline(ctx, r.Deadline)
	x.ctx, x.cancel = context.WithCancel(x.caller)
	stop := x.cancel
	x.cancel = func() { stop(); end() }
	req := x.request(r)
	go x.run(r.Target.inside, req)
	hint := &r.Target.hint
	resp := p.rc.response(x, classes[hint.Load()])
	resp.hint = hint
	if err := resp.readHead(); err != nil {
		resp.Release()
		return nil, err
	}
	return resp, nil
}

var (
	insideAccept = []string{acceptBoth}
	insideType   = []string{bodyType}
)

// request makes what a server would have read. The body is copied: a handler
// may still look at it when the caller has gone.
func (x *inside) request(r *Request) *http.Request {
	head := make(http.Header, 3+len(r.Target.static)+len(r.Fields))
	head["Accept"] = insideAccept
	if r.Accept != "" {
		head["Accept"] = []string{r.Accept}
	}
	for _, f := range r.Fields {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		head[name] = append(head[name], f.Value)
	}
	req := &http.Request{Method: r.method(), URL: r.Target.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: head, Host: r.Target.host, Body: http.NoBody, RequestURI: r.Target.url.Path}
	if req.Method == http.MethodPost {
		body := bytes.Join(r.Body, nil)
		head["Content-Type"] = insideType
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return req.WithContext(x.ctx)
}

// run lets the handler answer. One that panics has broken off.
func (x *inside) run(h http.Handler, req *http.Request) {
	defer func() {
		var err error = io.EOF
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler panicked: %v", v)
		} else if !x.wrote {
			x.header.Set("Content-Length", "0")
			x.WriteHeader(http.StatusOK)
		}
		x.mu.Lock()
		x.over = err
		x.mu.Unlock()
		signal(x.ready)
	}()
	h.ServeHTTP(x, req)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Header implements http.ResponseWriter.
func (x *inside) Header() http.Header { return x.header }

// WriteHeader implements http.ResponseWriter.
func (x *inside) WriteHeader(status int) {
	if x.wrote {
		return
	}
	x.wrote = true
	x.mu.Lock()
	b := append(x.text, "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(status), 10), "\r\n"...)
	for _, name := range []string{"Content-Type", "Content-Length", "Mcp-Session-Id", "Retry-After", "Allow", "Www-Authenticate", "Content-Encoding"} {
		for _, value := range x.header[name] {
			b = append(append(append(b, name...), ": "...), oneLine.Replace(value)...)
			b = append(b, "\r\n"...)
		}
	}
	x.text = append(b, "\r\n"...)
	x.mu.Unlock()
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

var errUnread = errors.New("nobody reads the answer any more")

// Write implements http.ResponseWriter. It waits while much is unread.
func (x *inside) Write(b []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	for {
		x.mu.Lock()
		if len(x.text)-x.at < insideAhead {
			x.text = append(x.text, b...)
			x.mu.Unlock()
			return len(b), x.ctx.Err()
		}
		x.mu.Unlock()
		signal(x.ready)
		select {
		case <-x.room:
		case <-x.ctx.Done():
			return 0, errUnread
		}
	}
}

// Flush implements http.Flusher.
func (x *inside) Flush() {
	x.WriteHeader(http.StatusOK)
	signal(x.ready)
}

// Read implements source.
func (x *inside) Read(p []byte) (int, error) {
	for {
		n, over := x.take(p)
		if n > 0 || over != nil {
			return n, over
		}
		select {
		case <-x.ready:
		case <-x.caller.Done():
			return 0, x.caller.Err()
		}
	}
}

// take reads what is there. The end of the handler counts only behind it.
func (x *inside) take(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := copy(p, x.text[x.at:])
	if x.at += n; x.at == len(x.text) {
		x.text, x.at = x.text[:0], 0
	}
	if n == 0 {
		return 0, x.over
	}
	signal(x.room)
	return n, nil
}

// glance implements source.
func (x *inside) glance(p []byte) int {
	n, _ := x.take(p)
	return n
}

// fault implements source: the handler has had the request, always.
func (x *inside) fault(err error) error {
	switch cause := x.caller.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return ErrTimeout.Because(cause)
	case cause != nil:
		return ErrSent.Because(cause)
	}
	return ErrSent.Because(err)
}

// finish implements source.
func (x *inside) finish(bool) { x.cancel() }
